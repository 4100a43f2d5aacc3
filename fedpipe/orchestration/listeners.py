"""Who else wants each round's report, such as the command line's progress bar.

A flow's parameters are JSON, so a sink cannot be one: whoever calls a flow in this process names
its sinks here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fedpipe.types import RoundSink

_listeners: ContextVar[tuple[RoundSink, ...]] = ContextVar("listeners", default=())


@contextmanager
def listening(*sinks: RoundSink) -> Iterator[None]:
    """Give `sinks` the report of each round that a flow called within the block runs."""
    token = _listeners.set((*_listeners.get(), *sinks))
    try:
        yield
    finally:
        _listeners.reset(token)


def current_listeners() -> tuple[RoundSink, ...]:
    """Return the sinks of the blocks that this code runs in."""
    return _listeners.get()
