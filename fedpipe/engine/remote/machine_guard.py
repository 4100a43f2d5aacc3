"""Turns a remote worker that is lost or hangs into one quick exception, by watching every gRPC call
of a round.
"""

import re
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from fedpipe.engine.local.call_deadline import RoundTimeoutError, WorkerLostError, seconds_left

_BROKEN = re.compile(r"stream removed|rst_stream", re.IGNORECASE)


class LosableMachine(Protocol):
    """A machine that may be lost while a call to it runs.

    Attributes:
        reason: why it was lost; empty while it is connected.
    """

    reason: str


class MachineGuard:
    """Watches the calls to a machine, as `Guard` those to a worker; each with what is left of the
    round's time.
    """

    def __init__(self, machine: LosableMachine, channel: grpc.Channel) -> None:
        """Watch the calls through `channel` to `machine`."""
        self.deadline: float | None = None
        self._machine = machine
        self._channel = channel

    def subscribe(
        self, callback: Callable[[Any], None], try_to_connect: bool | None = None
    ) -> None:
        """Never call back, as `Guard.subscribe`."""

    def unary_unary(self, method: str, *serializers: Any, **named: Any) -> Callable[[Any], Any]:
        """Return what makes one kind of call, as `Guard.unary_unary`."""
        call = self._channel.unary_unary(method, *serializers, **named)

        def guarded(request: Any) -> Any:
            left = seconds_left(self.deadline)
            if left is not None and left <= 0:
                raise RoundTimeoutError("the time of the round has passed")
            try:
                return call(request, timeout=left)
            except ValueError as err:  # a closed channel: the machine was given up meanwhile
                raise WorkerLostError(self._machine.reason or str(err)) from err
            except grpc.RpcError as err:
                match err.code():
                    case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
                        raise WorkerLostError(
                            self._machine.reason or f"its connection broke ({err.details()})"
                        ) from err
                    # What gRPC calls a connection that breaks in the middle of an answer.
                    case grpc.StatusCode.UNKNOWN | grpc.StatusCode.INTERNAL if _BROKEN.search(
                        err.details() or ""
                    ):
                        raise WorkerLostError(
                            self._machine.reason or f"its connection broke ({err.details()})"
                        ) from err
                    case grpc.StatusCode.DEADLINE_EXCEEDED:
                        raise RoundTimeoutError(
                            f"it did not answer {method.rsplit('/', 1)[-1]}"
                        ) from err
                raise

        return guarded
