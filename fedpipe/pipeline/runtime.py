"""A TFF runtime for a step: one that was started early, while imports went on, or a new one.

A worker takes a second to be ready and TensorFlow five to import. Whoever is about to train starts
the worker first (`early_runtime`), imports, and the step finds it here. The runtime is a process of
its own, so this is the one piece of process-wide state that the steps keep.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config.schema import RuntimeConfig

if TYPE_CHECKING:
    from fedpipe.engine.in_process import InProcess
    from fedpipe.engine.runtime import Runtime

_lock = threading.Lock()
_early: "tuple[RuntimeConfig, Runtime] | None" = None


@contextmanager
def early_runtime(config: RuntimeConfig, log_path: Path) -> Iterator[None]:
    """Start a runtime now, for the next `borrow_runtime` with the same settings; it is closed at
    the end of the block.
    """
    global _early
    from fedpipe.engine.runtime import Runtime

    if config.debug:
        yield
        return
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with Runtime(config, log_path) as runtime:
        runtime.start()
        with _lock:
            _early = (config, runtime)
        try:
            yield
        finally:
            with _lock:
                _early = None


@contextmanager
def borrow_runtime(config: RuntimeConfig, log_path: Path) -> "Iterator[Runtime | InProcess]":
    """Give the runtime that was started early with these settings, once; else start one that ends
    with the block.

    With `runtime.debug` nothing is started: calls run in this process.
    """
    global _early
    from fedpipe.engine.runtime import Runtime

    if config.debug:
        from fedpipe.engine.in_process import InProcess

        yield InProcess()
        return
    with _lock:
        ready = _early[1] if _early is not None and _early[0] == config else None
        _early = None if ready is not None else _early
    if ready is not None:
        yield ready
        return
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with Runtime(config, log_path) as runtime:
        runtime.start()
        yield runtime
