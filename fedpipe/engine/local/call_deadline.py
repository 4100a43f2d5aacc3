"""Turns a TFF worker that is lost or hangs into one quick exception, by watching every gRPC call of
a round.

TFF itself waits for a silent worker for ever and retries a lost one without end. Here each call
goes through a guard: the whole round gets one deadline and a dead worker fails the next call at
once. (gRPC's interceptors could do the same, and cost as much again as the call.)

The exceptions subclass `grpc.RpcError` because of what TFF does with errors: its clean-up swallows
that class, so the fault itself comes through; its retry takes `grpc.Call` alone, which these are
not. `runtime.py` turns them into `WorkerError`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import grpc

from fedpipe.algorithms.base import ComputationError


class WorkerFaultError(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    """The worker cannot finish the round; another one could. The text says what happened, without
    "where".
    """


class WorkerLostError(WorkerFaultError):
    """The worker ended, or the connection to it did."""


class RoundTimeoutError(WorkerFaultError):
    """The worker did not finish the round in time."""


class FailedComputationError(ComputationError, grpc.RpcError):  # type: ignore[misc]
    """The computation failed on a worker that lives; another worker would not help."""


@contextlib.contextmanager
def raising_failed_computations() -> Iterator[None]:
    """Raise FailedComputationError for a status that a worker gave a call."""
    try:
        yield
    except grpc.RpcError as err:
        if isinstance(err, grpc.Call):
            raise FailedComputationError(err.details()) from err
        raise


def seconds_left(deadline: float | None) -> float | None:
    """Return the seconds until a deadline in `time.monotonic()` seconds; None is no limit."""
    if deadline is None:
        return None
    return deadline - time.monotonic()


class Watched(Protocol):
    """The methods of a worker on this machine that a guard calls."""

    def alive(self) -> bool:
        """Return whether it still runs."""

    def how_it_ended(self) -> str:
        """Return how it ended, if it did."""


class CallGuard(Protocol):
    """Takes the place of a gRPC channel for TFF's stub, with one deadline for all calls of a round.

    Attributes:
        deadline: end of the current round in `time.monotonic()` seconds; None between rounds.
    """

    deadline: float | None

    def unary_unary(self, method: str, *serializers: Any, **named: Any) -> Callable[[Any], Any]:
        """Return what makes one kind of call, as `grpc.Channel.unary_unary`."""


class Guard:
    """Watches the calls to one worker; in the place of its gRPC channel for TFF's stub, of which it
    has what the stub uses.

    Attributes:
        deadline: end of the current round in `time.monotonic()` seconds, or None between rounds: no
            limit.
    """

    def __init__(self, worker: Watched, channel: grpc.Channel) -> None:
        """Watch the calls through `channel` to `worker`, which is ready."""
        self.deadline: float | None = None
        self._worker = worker
        self._channel = channel

    def subscribe(
        self, callback: Callable[[Any], None], try_to_connect: bool | None = None
    ) -> None:
        """Never call back; the first call connects.

        gRPC's watch is a thread that wakes five times a second and makes closing the channel take
        0.2 s; the guard knows of a loss before the watch does.
        """

    def unary_unary(self, method: str, *serializers: Any, **named: Any) -> Callable[[Any], Any]:
        """Return what makes one kind of call, as `grpc.Channel.unary_unary`; each with what is left
        of the round's time.

        A call raises:
            WorkerLostError: the worker is not there, before or during the call.
            RoundTimeoutError: the deadline has passed, before or during the call.

        Every other status is raised as gRPC has it; `raising_failed_computations` turns it into
        the caller's own error.
        """
        call = self._channel.unary_unary(method, *serializers, **named)

        def guarded(request: Any) -> Any:
            if not self._worker.alive():
                raise WorkerLostError(f"the TFF worker ended {self._worker.how_it_ended()}")
            left = seconds_left(self.deadline)
            if left is not None and left <= 0:
                raise RoundTimeoutError("the time of the round has passed")
            try:
                return call(request, timeout=left)
            except grpc.RpcError as err:
                match err.code():
                    case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
                        raise WorkerLostError(
                            f"the connection to the TFF worker broke ({err.details()})"
                        ) from err
                    case grpc.StatusCode.DEADLINE_EXCEEDED:
                        raise RoundTimeoutError(
                            f"the TFF worker did not answer {method.rsplit('/', 1)[-1]}"
                        ) from err
                raise

        return guarded
