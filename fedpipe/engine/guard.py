"""Turns a TFF worker that is lost or hangs into one quick exception, by watching every gRPC call of a round.

TFF itself waits for a silent worker for ever and retries a lost one without end. A gRPC interceptor sees each call, so here
the whole round gets one deadline and a dead worker fails the next call at once.

The exceptions subclass `grpc.RpcError` because of what TFF does with errors: its clean-up swallows that class, so the fault
itself comes through; its retry takes `grpc.Call` alone, which these are not. `runtime.py` turns them into `WorkerError`.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from fedpipe.engine.worker import Worker


class WorkerFault(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    """The worker cannot finish the round; another one could. The text says what happened, without "where"."""


class WorkerLost(WorkerFault):
    """The worker ended, or the connection to it did."""


class RoundTimeout(WorkerFault):
    """The worker did not finish the round in time."""


class _CallDetails(NamedTuple):
    """What gRPC asks of an interceptor's changed call details; grpc's own class holds none of these fields."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class Guard(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Watches the calls to one worker.

    Attributes:
        deadline: end of the current round in `time.monotonic()` seconds, or None between rounds: no limit.
    """

    def __init__(self, worker: Worker) -> None:
        """Watch the calls to `worker`, which is ready."""
        self.deadline: float | None = None
        self._worker = worker

    def intercept_unary_unary(self, continuation: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        """Make one call with what is left of the round's time.

        Raises:
            WorkerLost: the worker is not there, before or during the call.
            RoundTimeout: the deadline has passed, before or during the call.

        Every other status stays with the call: a computation that fails is the caller's own error.
        """
        if not self._worker.alive():
            raise WorkerLost(f"the TFF worker ended {self._worker.how_it_ended()}")
        left = None if self.deadline is None else self.deadline - time.monotonic()
        if left is not None and left <= 0:
            raise RoundTimeout("the round's time was over")
        limited = _CallDetails(details.method, left, details.metadata, details.credentials, details.wait_for_ready, details.compression)
        call = continuation(limited, request)
        match call.code():
            case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
                raise WorkerLost(f"the connection to the TFF worker broke ({call.details()})")
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                raise RoundTimeout(f"the TFF worker did not answer {details.method.rsplit('/', 1)[-1]}")
        return call
