"""Calls a function outside of a running event loop, such as that of a notebook.

Prefect and TFF start event loops of their own, which fails in a thread that has one. There the
function runs in one thread that lives as long as the process: the programs that a run starts end
with the thread that started them.
"""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class StopRequest:
    """Asks a call in another thread to stop at the next round."""

    def __init__(self) -> None:
        """Start without a request."""
        self._event = threading.Event()

    def set(self) -> None:
        """Ask."""
        self._event.set()

    def raise_if_set(self) -> None:
        """Raise KeyboardInterrupt if the call is asked to stop."""
        if self._event.is_set():
            raise KeyboardInterrupt


_tasks: "queue.SimpleQueue[Callable[[], None]]" = queue.SimpleQueue()
_start = threading.Lock()
_threads: list[threading.Thread] = []


def lasts(thread: threading.Thread) -> bool:
    """Return whether a thread lives as long as the process: the main one, or that of this
    module."""
    return thread is threading.main_thread() or thread in _threads


def outside_event_loop(call: Callable[[], Result], stop: StopRequest) -> Result:
    """Return `call()`, called in this thread if no event loop runs in it, else in one without.

    Ctrl-C, or a notebook's stop button, sets `stop` and waits for the call to notice it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    future: Future[Any] = Future()
    context = contextvars.copy_context()

    def run_it() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as err:
            future.set_exception(err)

    _start_thread()
    _tasks.put(run_it)
    while True:
        try:
            return future.result()  # type: ignore[no-any-return]
        except KeyboardInterrupt:
            if future.done():
                raise
            stop.set()


def _start_thread() -> None:
    with _start:
        if not _threads:
            thread = threading.Thread(target=_work, name="fedpipe-runs", daemon=True)
            thread.start()
            _threads.append(thread)


def _work() -> None:
    while True:
        _tasks.get()()
