"""The TFF execution context on fedpipe's own workers, of TFF's public classes; how a call travels
is in `wire`.

Differences from TFF's contexts: a call is three messages where TFF sends six, because a computation
stays with the worker that has it and an argument travels in one piece; executors are closed when
they leave the cache, so a worker's memory stays flat when cohort sizes vary; calls block the thread
that makes them, without an event loop, so a caller may or may not have one; calls to several
workers really run at once; their partial results are merged in the workers' order, not in the order
of arrival, so that the same run gives the same bits.
"""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any

import grpc
import tensorflow_federated as tff

from fedpipe.engine.local.call_deadline import Guard, raising_failed_computations
from fedpipe.engine.local.spread import compile_mergeable, share_out, takes_clients_gives_server
from fedpipe.engine.local.wire import RemoteCalls, count_clients

MESSAGE_BYTES = 2_000_000_000  # protobuf's own limit is 2 GiB
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    (
        "grpc.enable_http_proxy",
        0,
    ),  # with http_proxy set, gRPC would send even 127.0.0.1 there and hang
    (
        "grpc.use_local_subchannel_pool",
        1,
    ),  # a new worker's channel must not inherit the back-off of the lost one's
)
OPEN_EXECUTORS = 4
COMPILED_COMPUTATIONS = 64

_compile_lock = threading.Lock()
_compiled: OrderedDict[int, tuple[Any, Any]] = OrderedDict()


def open_channel(target: str) -> grpc.Channel:
    """Return a channel to the worker at `target`."""
    return grpc.insecure_channel(target, CHANNEL_OPTIONS)


def open_secure_channel(address: str, credentials: Any) -> grpc.Channel:
    """Return a channel to the worker of another machine, `host:port`, over TLS."""
    return grpc.secure_channel(address, credentials, CHANNEL_OPTIONS)


def compile_native(computation: Any) -> Any:
    """Return the computation in the form that a worker runs; compiled once, for all workers and
    their successors.

    Found again by identity: to hash or compare a TFF computation is to serialize it.
    """
    with _compile_lock:
        if id(computation) not in _compiled:
            _compiled[id(computation)] = (
                computation,
                tff.backends.native.desugar_and_transform_to_native(computation),
            )
            if len(_compiled) > COMPILED_COMPUTATIONS:
                _compiled.popitem(last=False)
        return _compiled[id(computation)][1]


class Lane:
    """One worker's side of the context: its executors, one per number of clients; the
    `OPEN_EXECUTORS` last used stay open.
    """

    def __init__(self, guard: Guard) -> None:
        """Call through `guard`."""
        self._guard = guard
        self.executors: OrderedDict[int, RemoteCalls] = OrderedDict()

    @property
    def deadline(self) -> float | None:
        """Return the end of the current round, in `time.monotonic()` seconds."""
        return self._guard.deadline

    def calls(self, clients: int) -> RemoteCalls:
        """Return the calls on the worker for a number of clients."""
        return self._executor(clients)

    def call(self, computation: Any, argument: Any) -> Any:
        """Return the result of one computation on the worker."""
        compiled = compile_native(computation)
        signature = computation.type_signature
        clients = count_clients(argument, signature.parameter)
        try:
            return self._executor(clients).call(
                compiled, signature.parameter, signature.result, argument
            )
        except Exception:
            if clients in self.executors:
                self.executors.pop(clients).close()
            raise

    def submit(self, computation: Any, argument: Any) -> "Future[Any]":
        """Start one computation on the worker, in a thread of its own."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(self.call(computation, argument))
            except BaseException as error:  # it is raised where the result is asked for
                future.set_exception(error)

        # A daemon: a round that a SIGINT gave up must not hold the interpreter.
        threading.Thread(target=run, name="fedpipe-worker-call", daemon=True).start()
        return future

    def _executor(self, clients: int) -> RemoteCalls:
        if clients not in self.executors:
            self.executors[clients] = RemoteCalls(self._guard, clients)
            if len(self.executors) > OPEN_EXECUTORS:
                self.executors.popitem(last=False)[1].close()
        self.executors.move_to_end(clients)
        return self.executors[clients]


class WorkersContext(tff.framework.SyncContext):  # type: ignore[misc]  # TFF ships no types
    """Runs TFF computations on one worker, or spreads a computation's clients over several."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        """Use one worker per guard."""
        self.lanes = tuple(Lane(guard) for guard in guards)

    def invoke(self, comp: Any, arg: Any) -> Any:
        """Return `comp(arg)`, as `tff.framework.SyncContext` has it."""
        with raising_failed_computations():
            if len(self.lanes) > 1 and takes_clients_gives_server(comp.type_signature):
                return self._invoke_spread(compile_mergeable(comp), arg)
            return self.lanes[0].call(comp, arg)

    def _invoke_spread(self, form: Any, arg: Any) -> Any:
        """Run each worker's share of the clients, merge the shares' results in order, finish on the
        first worker.
        """
        shares = share_out(arg, form.up_to_merge.type_signature.parameter, len(self.lanes))
        calls = [
            lane.submit(form.up_to_merge, share)
            for lane, share in zip(self.lanes, shares, strict=False)
        ]
        for call in wait(calls, return_when=FIRST_EXCEPTION).done:
            call.result()
        first = self.lanes[0].call
        pair: Callable[..., Any] = tff.structure.Struct.unnamed
        merged = functools.reduce(
            lambda left, right: first(form.merge, pair(left, right)),
            (call.result() for call in calls),
        )
        return first(form.after_merge, pair(shares[0], merged))
