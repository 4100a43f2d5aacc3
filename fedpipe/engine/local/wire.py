"""One call of a TFF computation on a worker: three messages (argument, call, result) of TFF's
executor protocol.

TFF's `RemoteExecutor` speaks the same protocol, as coroutines that trace and check every element of
every value: in a round of ten small clients that takes as long as half of their arithmetic. Here a
value becomes a message by its type, without detours, and a computation is sent once. Whatever is
not a tensor, a struct or a federated value of these goes the way of
`tff.framework.serialize_value`.

This is the one file of the engine that imports what TFF does not make public: the protocol's
messages, and the switch of tracing.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import array_pb2, computation_pb2, executor_pb2
from tensorflow_federated.python.common_libs import tracing
from tensorflow_federated.python.core.impl.types import dtype_utils, type_serialization

from fedpipe.engine.local.call_deadline import CallGuard

KEPT_COMPUTATIONS = 64
_DISPOSE_AT = 20
_DISPOSE_BYTES = 64 * 1024**2
"""Values that the worker may hold for nobody, and bytes that may travel, before it is told so: a
message each time would cost a tenth of a small round, and twenty values of a large one are the
worker's memory.
"""

tracing.set_tracing_providers([])


class RemoteCalls:
    """Calls computations on one worker, for one number of clients."""

    def __init__(self, guard: CallGuard, clients: int) -> None:
        """Open an executor of the worker. Raises what the guard does."""
        self._stub = tff.framework.RemoteExecutorGrpcStub(guard)
        self._sent = OrderedDict[int, tuple[Any, Any]]()
        at_clients = executor_pb2.Cardinality(
            placement=computation_pb2.Placement(uri=tff.CLIENTS.uri), cardinality=clients
        )
        self._executor = self._stub.get_executor(
            executor_pb2.GetExecutorRequest(cardinalities=[at_clients])
        ).executor
        self._unused: list[Any] = []
        # bytes, since the worker was last told; a lost addition of another thread does not matter
        self._travelled = 0
        self._lock = threading.Lock()  # the shares of a machine are computed by several threads

    def call(self, compiled: Any, parameter: Any, result: Any, argument: Any) -> Any:
        """Return the result of a compiled computation.

        Args:
            compiled: the computation as the worker runs it; found again by identity.
            parameter: TFF type of its argument, None if it takes none.
            result: TFF type of its result, which names Python's containers.
            argument: its argument.

        Raises:
            TypeError: the argument does not fit its type.
            grpc.RpcError: of the guard, or the worker's own: the computation failed.
        """
        function = self._send_computation(compiled)
        sent = None
        if parameter is not None:
            sent = self._create(to_message(argument, parameter))
        request = executor_pb2.CreateCallRequest(
            executor=self._executor, function_ref=function, argument_ref=sent
        )
        value = self._stub.create_call(request).value_ref
        computed = self.fetch(value)
        self._dispose(sent, value)
        return from_message(computed, result)

    def keep(self, message: Any) -> Any:
        """Send a value, and return what stands for it on the worker until it is released."""
        return self._create(message)

    def call_struct(
        self, compiled: Any, elements: Sequence[tuple[str | None, Any]], used: Sequence[Any] = ()
    ) -> Any:
        """Call a compiled computation on a struct of kept values; return what stands for its
        result. Releases `used`.
        """
        function = self._send_computation(compiled)
        struct = [
            executor_pb2.CreateStructRequest.Element(name=name, value_ref=value)
            for name, value in elements
        ]
        argument = self._stub.create_struct(
            executor_pb2.CreateStructRequest(executor=self._executor, element=struct)
        ).value_ref
        request = executor_pb2.CreateCallRequest(
            executor=self._executor, function_ref=function, argument_ref=argument
        )
        value = self._stub.create_call(request).value_ref
        self._dispose(argument, *used)
        return value

    def compute_struct(
        self, compiled: Any, elements: Sequence[tuple[str | None, Any]], used: Sequence[Any] = ()
    ) -> Any:
        """Return the message of a compiled computation's result for a struct of kept values.
        Releases `used`.
        """
        value = self.call_struct(compiled, elements, used)
        computed = self.fetch(value)
        self._dispose(value)
        return computed

    def fetch(self, value: Any) -> Any:
        """Return the message of a kept value."""
        computed = self._stub.compute(
            executor_pb2.ComputeRequest(executor=self._executor, value_ref=value)
        ).value
        self._travelled += computed.ByteSize()
        return computed

    def release(self, *values: Any) -> None:
        """Let the worker forget kept values."""
        self._dispose(*values)

    def close(self) -> None:
        """Free all that the worker keeps for these calls. A worker that is lost keeps nothing."""
        self._sent.clear()
        with contextlib.suppress(grpc.RpcError):
            self._stub.dispose_executor(
                executor_pb2.DisposeExecutorRequest(executor=self._executor)
            )

    def _send_computation(self, compiled: Any) -> Any:
        with self._lock:
            if id(compiled) not in self._sent:
                message = executor_pb2.Value(
                    computation=tff.framework.serialize_computation(compiled)
                )
                self._sent[id(compiled)] = (compiled, self._create(message))
                if len(self._sent) > KEPT_COMPUTATIONS:
                    self._unused.append(self._sent.popitem(last=False)[1][1])
            return self._sent[id(compiled)][1]

    def _create(self, message: Any) -> Any:
        self._travelled += message.ByteSize()
        return self._stub.create_value(
            executor_pb2.CreateValueRequest(executor=self._executor, value=message)
        ).value_ref

    def _dispose(self, *values: Any) -> None:
        with self._lock:
            self._unused += [value for value in values if value is not None]
            if len(self._unused) < _DISPOSE_AT and self._travelled < _DISPOSE_BYTES:
                return
            unused = self._unused
            self._unused = []
            self._travelled = 0
        self._stub.dispose(executor_pb2.DisposeRequest(executor=self._executor, value_ref=unused))


def to_message(value: Any, kind: Any) -> Any:
    """Return a value of a TFF type as the protocol has it. Raises TypeError where it is not of that
    type.
    """
    if isinstance(kind, tff.TensorType):
        return executor_pb2.Value(array=_array(value, kind))
    if isinstance(kind, tff.StructType):
        names = [name for name, _ in tff.structure.iter_elements(kind)]
        values = _elements(value, names)
        if len(values) != len(names):
            raise TypeError(
                f"expected {len(names)} elements for {kind.compact_representation()}, found "
                f"{len(values)}"
            )
        elements = [
            executor_pb2.Value.Struct.Element(name=name, value=to_message(element, element_type))
            for name, element, element_type in zip(names, values, kind, strict=True)
        ]
        return executor_pb2.Value(struct=executor_pb2.Value.Struct(element=elements))
    if isinstance(kind, tff.FederatedType):
        messages = [to_message(member, kind.member) for member in members_of(value, kind)]
        return executor_pb2.Value(
            federated=executor_pb2.Value.Federated(type=_federated_type(kind), value=messages)
        )
    message, _ = tff.framework.serialize_value(value, kind)
    return message


def from_message(message: Any, kind: Any) -> Any:
    """Return the value of a TFF type in a message: NumPy arrays in the Python containers that the
    type names.
    """
    if isinstance(kind, tff.TensorType) and message.array.content:
        shape = tuple(message.array.shape.dim)
        return np.frombuffer(message.array.content, kind.dtype).reshape(shape)
    if isinstance(kind, tff.StructType):
        names = [name for name, _ in tff.structure.iter_elements(kind)]
        inner = [
            from_message(element.value, element_type)
            for element, element_type in zip(message.struct.element, kind, strict=True)
        ]
        container = getattr(kind, "python_container", None)
        if container in (list, tuple):
            return container(inner)
        if container is OrderedDict:
            return OrderedDict(zip(names, inner, strict=True))
        return tff.types.type_to_py_container(
            tff.structure.Struct(list(zip(names, inner, strict=True))), kind
        )
    if isinstance(kind, tff.FederatedType):
        members = message.federated.value
        if kind.all_equal:
            return from_message(members[0], kind.member)
        return [from_message(member, kind.member) for member in members]
    value, _ = tff.framework.deserialize_value(message, kind)
    return value


def count_clients(value: Any, kind: Any) -> int:
    """Return the number of values at the clients in an argument, 0 where its type names none.
    Raises ValueError if they differ.
    """
    if isinstance(kind, tff.FederatedType):
        if kind.all_equal or kind.placement is not tff.CLIENTS:
            return 0
        return len(value)
    if not isinstance(kind, tff.StructType):
        return 0
    values = _elements(value, [name for name, _ in tff.structure.iter_elements(kind)])
    counts = {count_clients(*pair) for pair in zip(values, kind, strict=True)} - {0}
    if len(counts) > 1:
        raise ValueError(f"expected one number of clients in an argument, found {sorted(counts)}")
    return max(counts, default=0)


def _elements(value: Any, names: list[str | None]) -> list[Any]:
    """Return the elements of a container in the order of their names."""
    if isinstance(value, Mapping):
        if set(names) == set(value):
            return [value[name] for name in names]
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    return list(tff.structure.from_container(value))


def _array(value: Any, kind: Any) -> Any:
    """Return a tensor: strings and scalars as a list, which TFF wants of them, all else as
    bytes.
    """
    value = value.numpy() if hasattr(value, "numpy") else value
    dtype = kind.dtype.type
    texts = dtype is np.str_
    array = np.asarray(value, np.object_ if texts else None)
    if not _has_shape(array, kind.shape) or not (
        texts or np.can_cast(array.dtype, dtype, "same_kind")
    ):
        raise TypeError(
            f"expected a tensor of type {kind.compact_representation()}, found "
            f"{array.dtype}{list(array.shape)}"
        )
    if not texts and not array.ndim:
        message, _ = tff.framework.serialize_value(dtype(array), kind)
        return message.array
    if texts:
        items = list(map(as_bytes, array.ravel()))
        content: dict[str, Any] = {"string_list": array_pb2.Array.BytesList(value=items)}
    else:
        content = {"content": np.ascontiguousarray(array, dtype).tobytes()}
    return array_pb2.Array(
        dtype=dtype_utils.to_proto(dtype), shape=array_pb2.ArrayShape(dim=array.shape), **content
    )


def _has_shape(array: npt.NDArray[Any], shape: Sequence[int | None] | None) -> bool:
    """Return whether an array has the shape, in which None is any size; no shape is any."""
    if shape is None:
        return True
    if len(shape) != array.ndim:
        return False
    return all(size in (None, n) for size, n in zip(shape, array.shape, strict=True))


def as_bytes(text: str | bytes) -> bytes:
    """Return a string of TFF's, which is either, as bytes."""
    if isinstance(text, str):
        return text.encode()
    return text


def members_of(value: Any, kind: Any) -> Any:
    """Return the members of a federated value: one where all are equal."""
    if kind.all_equal:
        return [value]
    return value


_federated_types: dict[int, tuple[Any, Any]] = {}


def _federated_type(kind: Any) -> Any:
    """Return a federated type's message; made once, as types live as long as their computations."""
    if id(kind) not in _federated_types:
        if len(_federated_types) >= KEPT_COMPUTATIONS:
            _federated_types.clear()
        _federated_types[id(kind)] = (kind, type_serialization.serialize_type(kind).federated)
    return _federated_types[id(kind)][1]
