"""What the caller of the sweep's flow in this process tells it, and learns of it.

In a module of its own: Prefect sends the flow's function, with what its module holds, to a Dask
cluster, and a `ContextVar` cannot be sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from fedpipe.sweep.trials import SweepWatcher, TrialPool


@dataclass
class SweepFlow:
    """What the caller of the flow learns of it, `flow_run_id`, once Prefect has given it; and what
    the caller tells it: the pool.
    """

    values: dict[str, Any] = field(default_factory=dict)
    pool: TrialPool | None = None


_watching: ContextVar[tuple[SweepFlow, SweepWatcher | None] | None] = ContextVar(
    "watching", default=None
)


@contextmanager
def watching(run: SweepFlow, watcher: SweepWatcher | None) -> Iterator[None]:
    """Tell `run` and `watcher` of the sweep that is run within the block."""
    token = _watching.set((run, watcher))
    try:
        yield
    finally:
        _watching.reset(token)


def current_sweep() -> tuple[SweepFlow, SweepWatcher | None]:
    """Return what `watching` was told, for the sweep that this thread runs."""
    return _watching.get() or (SweepFlow(), None)
