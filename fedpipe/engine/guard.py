"""Turns a TFF worker that is lost or hangs into one quick exception, by watching every gRPC call of a round.

TFF itself waits for a silent worker for ever and retries a lost one without end. Here each call goes through a guard: the whole
round gets one deadline and a dead worker fails the next call at once. (gRPC's interceptors could do the same, and cost as much
again as the call.)

The exceptions subclass `grpc.RpcError` because of what TFF does with errors: its clean-up swallows that class, so the fault
itself comes through; its retry takes `grpc.Call` alone, which these are not. `runtime.py` turns them into `WorkerError`.
"""

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import grpc

if TYPE_CHECKING:
    from fedpipe.engine.machine import Machine


_BROKEN = re.compile(r"stream removed|rst_stream", re.IGNORECASE)


class WorkerFault(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    """The worker cannot finish the round; another one could. The text says what happened, without "where"."""


class WorkerLost(WorkerFault):
    """The worker ended, or the connection to it did."""


class RoundTimeout(WorkerFault):
    """The worker did not finish the round in time."""


class Watched(Protocol):
    """What a guard asks of a worker on this machine."""

    def alive(self) -> bool:
        """Return whether it still runs."""

    def how_it_ended(self) -> str:
        """Return how it ended, if it did."""


class Guard:
    """Watches the calls to one worker; in the place of its gRPC channel for TFF's stub, of which it has what the stub uses.

    Attributes:
        deadline: end of the current round in `time.monotonic()` seconds, or None between rounds: no limit.
    """

    def __init__(self, worker: Watched, channel: grpc.Channel) -> None:
        """Watch the calls through `channel` to `worker`, which is ready."""
        self.deadline: float | None = None
        self._worker, self._channel = worker, channel

    def subscribe(
        self, callback: Callable[[Any], None], try_to_connect: bool | None = None
    ) -> None:
        """Never call back; the first call connects.

        gRPC's watch is a thread that wakes five times a second and makes closing the channel take 0.2 s; the guard knows of a
        loss before the watch does.
        """

    def unary_unary(self, method: str, *serializers: Any, **named: Any) -> Callable[[Any], Any]:
        """Return what makes one kind of call, as `grpc.Channel.unary_unary`; each with what is left of the round's time.

        A call raises:
            WorkerLost: the worker is not there, before or during the call.
            RoundTimeout: the deadline has passed, before or during the call.

        Every other status is raised as gRPC has it: a computation that fails is the caller's own error.
        """
        call = self._channel.unary_unary(method, *serializers, **named)

        def guarded(request: Any) -> Any:
            if not self._worker.alive():
                raise WorkerLost(f"the TFF worker ended {self._worker.how_it_ended()}")
            left = None if self.deadline is None else self.deadline - time.monotonic()
            if left is not None and left <= 0:
                raise RoundTimeout("the round's time was over")
            try:
                return call(request, timeout=left)
            except grpc.RpcError as err:
                match err.code():
                    case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
                        raise WorkerLost(
                            f"the connection to the TFF worker broke ({err.details()})"
                        ) from err
                    case grpc.StatusCode.DEADLINE_EXCEEDED:
                        raise RoundTimeout(
                            f"the TFF worker did not answer {method.rsplit('/', 1)[-1]}"
                        ) from err
                raise

        return guarded


class MachineGuard:
    """Watches the calls to a machine, as `Guard` those to a worker; each with what is left of the round's time."""

    def __init__(self, machine: "Machine", channel: grpc.Channel) -> None:
        """Watch the calls through `channel` to `machine`."""
        self.deadline: float | None = None
        self._machine, self._channel = machine, channel

    def subscribe(
        self, callback: Callable[[Any], None], try_to_connect: bool | None = None
    ) -> None:
        """Never call back, as `Guard.subscribe`."""

    def unary_unary(self, method: str, *serializers: Any, **named: Any) -> Callable[[Any], Any]:
        """Return what makes one kind of call, as `Guard.unary_unary`."""
        call = self._channel.unary_unary(method, *serializers, **named)

        def guarded(request: Any) -> Any:
            left = None if self.deadline is None else self.deadline - time.monotonic()
            if left is not None and left <= 0:
                raise RoundTimeout("the round's time was over")
            try:
                return call(request, timeout=left)
            except ValueError as err:  # a closed channel: the machine was given up meanwhile
                raise WorkerLost(self._machine.reason or str(err)) from err
            except grpc.RpcError as err:
                match err.code():
                    case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
                        raise WorkerLost(
                            self._machine.reason or f"its connection broke ({err.details()})"
                        ) from err
                    # What gRPC calls a connection that breaks in the middle of an answer.
                    case grpc.StatusCode.UNKNOWN | grpc.StatusCode.INTERNAL if _BROKEN.search(
                        err.details() or ""
                    ):
                        raise WorkerLost(
                            self._machine.reason or f"its connection broke ({err.details()})"
                        ) from err
                    case grpc.StatusCode.DEADLINE_EXCEEDED:
                        raise RoundTimeout(
                            f"it did not answer {method.rsplit('/', 1)[-1]}"
                        ) from err
                raise

        return guarded
