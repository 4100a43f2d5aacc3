"""Hands a round's shares out to machines, and gathers their results in the shares' order. Knows
neither TFF nor a network.

A share is a number; the result has the same bits on every machine. There is one queue, so a
fast machine takes more. The shares of a machine that is lost go back to the front of the queue. A
share that takes much longer than others did is also given to a machine that has nothing to do, and
the first result counts: whether the other hangs or is slow need not be known.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Result = TypeVar("Result")

LEAST_PATIENCE_SECONDS = 5.0
FIRST_PATIENCE_SECONDS = 20.0
"""Seconds that a share may take in any case; more in the first round, in which workers compile the
computation.
"""
PATIENCE = 4.0
"""Times as long as the longest share so far that a share may take before a second machine gets it
too.
"""


class NoMachineLeftError(Exception):
    """No machine is left, and not all shares are done."""


class DeadlineError(Exception):
    """The deadline has passed before all shares were done."""


class Shares(Generic[Result]):
    """The shares of one round."""

    def __init__(
        self, count: int, longest_seconds: float = 0.0, least_patience: float | None = None
    ) -> None:
        """Take how many there are, and how long the longest of earlier rounds took; 0 if there were
        none.
        """
        if least_patience is None:
            least_patience = LEAST_PATIENCE_SECONDS if longest_seconds else FIRST_PATIENCE_SECONDS
        self._changed = threading.Condition()
        self._waiting = deque(range(count))
        self._count = count
        self._least = least_patience
        self._running: dict[int, dict[str, float]] = {}
        self._results: dict[int, Result | None] = {}
        self._machines: set[str] = set()
        self._error: BaseException | None = None
        self.longest_seconds = longest_seconds
        self.lost: dict[str, str] = {}
        self.done_by: dict[str, int] = {}

    def join(self, machine: str) -> None:
        """Let a machine take part."""
        with self._changed:
            self._machines.add(machine)
            self._changed.notify_all()

    def take(self, machine: str) -> int | None:
        """Return a share for a machine that has nothing to do; waits while there is none. None: it
        is not needed any more.
        """
        with self._changed:
            while (
                machine in self._machines
                and self._error is None
                and len(self._results) < self._count
            ):
                share = self._next(machine)
                if share is not None:
                    self._running.setdefault(share, {})[machine] = time.monotonic()
                    return share
                self._changed.wait(0.1 if self._running else 1.0)
            return None

    def finish(self, machine: str, share: int, result: Result) -> None:
        """Take the result of a share; the first counts."""
        with self._changed:
            since = self._running.get(share, {}).pop(machine, None)
            if share not in self._results:
                self._results[share] = result
                self.done_by[machine] = self.done_by.get(machine, 0) + 1
            if since is not None:
                self.longest_seconds = max(self.longest_seconds, time.monotonic() - since)
            self._changed.notify_all()

    def drop(self, machine: str, reason: str) -> None:
        """Give a machine up; what it had goes back to the queue. The first reason stays."""
        with self._changed:
            if machine not in self._machines:
                return
            self._machines.remove(machine)
            self.lost[machine] = reason
            for share, runners in sorted(self._running.items(), reverse=True):
                if (
                    runners.pop(machine, None) is not None
                    and not runners
                    and share not in self._results
                ):
                    self._waiting.appendleft(share)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """End the round with an error that another machine would raise too."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def in_order(self, deadline: float | None) -> Iterator[Result]:
        """Yield the results in the shares' order, each as soon as it and those before it are there.

        Args:
            deadline: in `time.monotonic()` seconds; None is none.

        Raises:
            NoMachineLeftError, DeadlineError: see there.
            BaseException: the error of `fail`.
        """
        for share in range(self._count):
            with self._changed:
                while share not in self._results:
                    if self._error is not None:
                        raise self._error
                    if not self._machines:
                        raise NoMachineLeftError
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise DeadlineError
                    self._changed.wait(1.0 if left is None else min(left, 1.0))
                result = self._results[share]
                self._results[share] = None  # large, and nobody asks again
            yield result  # type: ignore[misc]  # not None: this is its one reader

    def late(self) -> dict[str, float]:
        """Return the machines that still compute a share that is done, and for how many seconds."""
        with self._changed:
            now = time.monotonic()
            ages: dict[str, float] = {}
            for runners in self._running.values():
                for machine, since in runners.items():
                    ages[machine] = max(now - since, ages.get(machine, 0.0))
            return ages

    def _next(self, machine: str) -> int | None:
        if self._waiting:
            return self._waiting.popleft()
        now = time.monotonic()
        patience = max(self._least, PATIENCE * self.longest_seconds)
        slow = [
            (max(runners.values()), share)
            for share, runners in self._running.items()
            if runners
            and machine not in runners
            and share not in self._results
            and now - max(runners.values()) > patience
        ]
        if slow:
            return min(slow)[1]
        return None
