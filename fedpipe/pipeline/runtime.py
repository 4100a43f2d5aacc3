"""The TFF runtime of a run: one that was started while imports went on, or a new one.

A worker takes a second to be ready and TensorFlow five to import, so `fedpipe run` starts the
worker first, imports, and hands it over in the run's context.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config.schema import RuntimeConfig
from fedpipe.runs.context import WORKER_LOG_NAME, RunContext

if TYPE_CHECKING:
    from fedpipe.engine.in_process import InProcess
    from fedpipe.engine.runtime import Runtime


@contextmanager
def started_runtime(config: RuntimeConfig, folder: Path) -> "Iterator[Runtime | InProcess]":
    """Start a runtime that ends with the block; its log is in `folder`.

    With `runtime.debug` nothing is started: calls run in this process.
    """
    if config.debug:
        from fedpipe.engine.in_process import InProcess

        yield InProcess()
        return
    from fedpipe.engine.runtime import Runtime

    folder.mkdir(parents=True, exist_ok=True)
    with Runtime(config, folder / WORKER_LOG_NAME) as runtime:
        runtime.start()
        yield runtime


@contextmanager
def runtime_of(run: RunContext) -> "Iterator[Runtime | InProcess]":
    """Give the runtime that was started for the run, or start one that ends with the block."""
    if run.runtime is not None:
        yield run.runtime
        return
    with started_runtime(run.config.runtime, run.folder) as runtime:
        yield runtime
