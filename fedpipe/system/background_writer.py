"""Writes files on a thread of its own, one after the other."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class BackgroundWriter:
    """Runs one write at a time beside the caller, who is told of its error by the next call."""

    def __init__(self, name: str) -> None:
        """Name the thread; it starts with the first write."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._pending: Future[None] | None = None

    def submit(self, write: Callable[..., None], *arguments: Any) -> None:
        """Start a write after the one before it is done. Raises what that one raised."""
        self.flush()
        self._pending = self._thread.submit(write, *arguments)

    def flush(self) -> None:
        """Wait for the last write. Raises what it raised, once."""
        pending = self._pending
        self._pending = None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()
