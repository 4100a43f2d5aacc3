"""A call outside of a running event loop: in this thread, or in one that lasts."""

import asyncio
import signal
import threading
import time
from contextvars import ContextVar

import pytest

from fedpipe.system.lasting_thread import StopRequest, lasts, outside_event_loop

word: ContextVar[str] = ContextVar("word")


def test_without_a_loop_it_is_called_in_this_thread() -> None:
    assert outside_event_loop(threading.current_thread, StopRequest()) is threading.current_thread()


def test_within_a_loop_it_is_called_in_one_thread_that_lasts_and_has_none() -> None:
    def no_loop() -> tuple[threading.Thread, str]:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return threading.current_thread(), word.get()

    async def main() -> list[tuple[threading.Thread, str]]:
        word.set("of the caller")
        return [outside_event_loop(no_loop, StopRequest()) for _ in range(2)]

    (first, text), (second, _) = asyncio.run(main())
    assert first is second is not threading.current_thread()
    assert lasts(first)
    assert lasts(threading.main_thread())
    assert not lasts(threading.Thread())
    assert text == "of the caller"


def test_errors_are_those_of_the_call() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def main() -> None:
        outside_event_loop(fail, StopRequest())

    with pytest.raises(ValueError, match="no"):
        asyncio.run(main())


def test_an_interrupt_asks_the_call_to_stop_and_waits_for_it() -> None:
    stop = StopRequest()
    rounds: list[int] = []

    def work() -> None:
        for number in range(500):
            rounds.append(number)
            time.sleep(0.01)
            stop.raise_if_set()

    async def main() -> None:
        outside_event_loop(work, stop)

    main_thread = threading.main_thread().ident
    assert main_thread is not None
    timer = threading.Timer(0.2, signal.pthread_kill, (main_thread, signal.SIGINT))
    loop = asyncio.new_event_loop()  # `asyncio.run` would turn SIGINT into a cancellation
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(main())
    finally:
        signal.signal(signal.SIGINT, before)
    assert 0 < len(rounds) < 400
