"""The TFF execution context on fedpipe's own workers.

Built from TFF's public classes. What is not public is imported here and nowhere else in the engine: the conversion of
arguments and results that TFF's own contexts use, and the switch of its tracing.

Differences from TFF's contexts: a call is three messages (argument, call, result) where TFF sends six, because a computation
stays with the worker that has it and an argument travels in one piece; nothing is traced, which TFF does for every step of
every call, to a log that nobody reads (both together: a quarter of a round of ten small clients); executors are closed when
they leave the cache, so a worker's memory stays flat when cohort sizes vary; each worker has an event loop in a thread of its
own, so that several workers really run at once (TFF's executor blocks its loop) and a caller may or may not have a loop itself;
partial results are merged in the workers' order, not in the order of arrival, so that the same run gives the same bits.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import tensorflow_federated as tff
import tree
from tensorflow_federated.python.common_libs import tracing
from tensorflow_federated.python.core.environments.tensorflow_frontend import tensorflow_computation
from tensorflow_federated.python.core.impl.executors import cardinalities_utils

from fedpipe.engine.spread import compile_mergeable, share_out, takes_clients_gives_server

MESSAGE_BYTES = 2_000_000_000  # protobuf's own limit is 2 GiB
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),  # with http_proxy set, gRPC would send even 127.0.0.1 there and hang
    ("grpc.use_local_subchannel_pool", 1),  # a new worker's channel must not inherit the back-off of the lost one's
)
OPEN_EXECUTORS = 4
COMPILED_COMPUTATIONS = 64

tracing.set_tracing_providers([])
_compile_lock = threading.Lock()
_compiled: OrderedDict[int, tuple[Any, Any]] = OrderedDict()


class UnwatchedChannel:
    """What TFF's stub uses of a gRPC channel, without the watch on its state: the guard knows of a loss before the watch does.

    gRPC's watch is a thread that wakes five times a second and makes closing the channel take 0.2 s.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        """Make calls through `channel`."""
        self.unary_unary = channel.unary_unary

    def subscribe(self, callback: Callable[[Any], None], try_to_connect: bool | None = None) -> None:
        """Never call back; the first call connects."""


def open_channel(target: str, *interceptors: grpc.UnaryUnaryClientInterceptor) -> tuple[grpc.Channel, grpc.Channel]:
    """Return a channel to `target`, and the same channel as seen through the interceptors. Close the first one."""
    channel = grpc.insecure_channel(target, CHANNEL_OPTIONS)
    return channel, grpc.intercept_channel(channel, *interceptors)


def compile_native(computation: Any) -> Any:
    """Return the computation in the form that a worker runs; compiled once, for all workers and their successors.

    Found again by identity: to hash or compare a TFF computation is to serialize it.
    """
    with _compile_lock:
        if id(computation) not in _compiled:
            _compiled[id(computation)] = (computation, tff.backends.native.desugar_and_transform_to_native(computation))
            if len(_compiled) > COMPILED_COMPUTATIONS:
                _compiled.popitem(last=False)
        return _compiled[id(computation)][1]


class WorkerStub(tff.framework.RemoteExecutorGrpcStub):  # type: ignore[misc]  # TFF ships no types
    """TFF's stub, whose clean-up cannot fail: values are also disposed of at the interpreter's end, when the worker is gone."""

    def __init__(self, channel: grpc.Channel) -> None:
        """Call through `channel`."""
        super().__init__(UnwatchedChannel(channel))

    def dispose(self, request: Any) -> None:
        """Free values of the worker. A worker that is lost has none; the round's next call says that it is lost."""
        with contextlib.suppress(grpc.RpcError):
            super().dispose(request)


class KeepingExecutor(tff.framework.RemoteExecutor):  # type: ignore[misc]  # TFF ships no types
    """A remote executor that sends each compiled computation once."""

    def __init__(self, stub: Any) -> None:
        """Take the `tff.framework.RemoteExecutorStub` of the worker."""
        super().__init__(stub, stream_structs=False)
        self._sent: dict[int, tuple[Any, Any]] = {}

    async def send_computation(self, computation: Any) -> Any:
        """Return the worker's value of a compiled computation."""
        if id(computation) not in self._sent:
            if len(self._sent) >= COMPILED_COMPUTATIONS:
                self._sent.clear()
            self._sent[id(computation)] = (computation, await self.create_value(computation, computation.type_signature))
        return self._sent[id(computation)][1]

    def close(self) -> None:
        """Close, and forget what the worker had."""
        self._sent.clear()
        super().close()


class ExecutorCache:
    """Makes a worker's executors, one per number of clients, and keeps the `OPEN_EXECUTORS` last used ones open."""

    def __init__(self, stub: Any) -> None:
        """Take the `tff.framework.RemoteExecutorStub` of the worker."""
        self._stub = stub
        self._executors: OrderedDict[int, KeepingExecutor] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of open executors."""
        return len(self._executors)

    def create_executor(self, cardinalities: Any) -> KeepingExecutor:
        """Return an open executor for the cardinalities; no clients where they name none."""
        clients = cardinalities.get(tff.CLIENTS, 0)
        if clients not in self._executors:
            executor = KeepingExecutor(self._stub)
            executor.set_cardinalities({tff.CLIENTS: clients})
            self._executors[clients] = executor
            while len(self._executors) > OPEN_EXECUTORS:
                self._executors.popitem(last=False)[1].close()
        self._executors.move_to_end(clients)
        return self._executors[clients]

    def clean_up_executor(self, cardinalities: Any) -> None:
        """Close the executor for the cardinalities, after an error in it."""
        executor = self._executors.pop(cardinalities.get(tff.CLIENTS, 0), None)
        if executor is not None:
            executor.close()


def _unwrapped(value: Any) -> Any:
    """Return TFF's own struct as Python's containers; None, which leaves the rest as it is, for anything else."""
    return tff.structure.to_odict_or_tuple(value) if isinstance(value, tff.structure.Struct) else None


class Lane:
    """One worker's side of the context: its executors, and the thread in which calls to it are made and block."""

    def __init__(self, channel: grpc.Channel) -> None:
        """Call through `channel`; the thread starts."""
        self.executors = ExecutorCache(WorkerStub(channel))
        self._loop = asyncio.new_event_loop()
        # A daemon: a round that a SIGINT gave up must not hold the interpreter.
        threading.Thread(target=self._run, name="fedpipe-worker-calls", daemon=True).start()

    def submit(self, computation: Any, argument: Any) -> "concurrent.futures.Future[Any]":
        """Start one computation on the worker."""
        return asyncio.run_coroutine_threadsafe(self._invoke(computation, argument), self._loop)

    async def _invoke(self, computation: Any, argument: Any) -> Any:
        compiled = compile_native(computation)
        parameter, result_type = computation.type_signature.parameter, computation.type_signature.result
        argument = tensorflow_computation.transform_args(tree.traverse(_unwrapped, argument))
        cardinalities = {} if parameter is None else cardinalities_utils.infer_cardinalities(argument, parameter)
        executor = self.executors.create_executor(cardinalities)
        try:
            function = await executor.send_computation(compiled)
            value = None if parameter is None else await executor.create_value(argument, parameter)
            result = await (await executor.create_call(function, value)).compute()
        except Exception:
            self.executors.clean_up_executor(cardinalities)
            raise
        return tensorflow_computation.transform_result(tff.types.type_to_py_container(result, result_type))

    def stop(self) -> None:
        """End the thread, after the call that it may be in. Does not wait for it."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()


class WorkersContext(tff.framework.SyncContext):  # type: ignore[misc]  # TFF ships no types
    """Runs TFF computations on one worker, or spreads a computation's clients over several."""

    def __init__(self, channels: Sequence[grpc.Channel]) -> None:
        """Use one worker per channel."""
        self.lanes = tuple(Lane(channel) for channel in channels)

    def invoke(self, comp: Any, arg: Any) -> Any:
        """Return `comp(arg)`, as `tff.framework.SyncContext` has it."""
        if len(self.lanes) > 1 and takes_clients_gives_server(comp.type_signature):
            return self._invoke_spread(compile_mergeable(comp), arg)
        return self.lanes[0].submit(comp, arg).result()

    def stop(self) -> None:
        """End the threads. Does not close the channels."""
        for lane in self.lanes:
            lane.stop()

    def _invoke_spread(self, form: Any, arg: Any) -> Any:
        """Run each worker's share of the clients, merge the shares' results in order, finish on the first worker."""
        shares = share_out(arg, form.up_to_merge.type_signature.parameter, len(self.lanes))
        calls = [lane.submit(form.up_to_merge, share) for lane, share in zip(self.lanes, shares, strict=False)]
        for call in concurrent.futures.wait(calls, return_when=concurrent.futures.FIRST_EXCEPTION).done:
            call.result()
        first = self.lanes[0].submit
        pair: Callable[..., Any] = tff.structure.Struct.unnamed
        merged = functools.reduce(lambda left, right: first(form.merge, pair(left, right)).result(), (call.result() for call in calls))
        return first(form.after_merge, pair(shares[0], merged)).result()
