"""Reads given tensors in the place of a model's variables: how the code of a Keras layer becomes a
function of weights.

A model of variables computes with `self.kernel`. TFF sends weights as tensors. While
`swapped(variables, tensors)` is open, each of the variables reads as its tensor, in every operation
that takes it, so that gradients flow to the tensors; an assignment to a variable is refused.
Source of the idea: `keras.StatelessScope` of Keras 3, which Keras 2 does not have.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

_State = tuple[dict[int, Any], list[str]]
_active = threading.local()


class _AssignedError(Exception):
    """The model's code assigns to one of its variables."""


@contextmanager
def swapped(
    variables: Sequence[Any], tensors: Sequence[Any], assigned: list[str]
) -> Iterator[None]:
    """Let each variable read as the tensor beside it, in this thread, while a graph is traced.

    Args:
        variables: those to swap.
        tensors: of each what it reads as.
        assigned: gets the name of a variable that code in the block assigns to, which raises there.
    """
    for variable in variables:
        if not hasattr(type(variable), "is_swappable"):
            kind: Any = type(variable)
            variable.__class__ = _swappable(kind)
    before: _State = getattr(_active, "state", ({}, []))
    values = {id(variable): tensor for variable, tensor in zip(variables, tensors, strict=True)}
    _active.state = (before[0] | values, assigned)
    try:
        yield
    finally:
        _active.state = before


def _values() -> dict[int, Any]:
    values: dict[int, Any] = getattr(_active, "state", ({}, []))[0]
    return values


@cache
def _swappable(kind: Any) -> Any:
    """Return a subclass of a class of variables that can be swapped; else it is the same class."""
    import tensorflow as tf

    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        tensor = _values().get(id(self))
        if tensor is None:
            return kind.value(self, *args, **kwargs)
        return tensor

    def read_op(self: Any, *args: Any, **kwargs: Any) -> Any:
        tensor = _values().get(id(self))
        if tensor is None:
            return kind._read_variable_op(self, *args, **kwargs)
        return tensor

    def read_value(self: Any) -> Any:
        tensor = _values().get(id(self))
        if tensor is None:
            return kind.read_value(self)
        return tf.identity(tensor)

    def handle(self: Any) -> Any:  # where an embedding's lookup is placed
        tensor = _values().get(id(self))
        if tensor is None:
            return kind.handle.fget(self)
        return tensor

    def sparse_read(self: Any, indices: Any, name: str | None = None) -> Any:
        tensor = _values().get(id(self))
        if tensor is None:
            return kind.sparse_read(self, indices, name)
        return tf.gather(tensor, indices)

    def gather_nd(self: Any, indices: Any, name: str | None = None) -> Any:
        tensor = _values().get(id(self))
        if tensor is None:
            return kind.gather_nd(self, indices, name)
        return tf.gather_nd(tensor, indices)

    def assigning(name: str) -> Any:
        original = getattr(kind, name)

        def assign(self: Any, *args: Any, **kwargs: Any) -> Any:
            if id(self) in _values():
                _active.state[1].append(self.name.partition(":")[0])
                raise _AssignedError
            return original(self, *args, **kwargs)

        return assign

    members = {
        "is_swappable": True,
        "value": read,
        "_read_variable_op": read_op,
        "read_value": read_value,
        "handle": property(handle),
        "sparse_read": sparse_read,
        "gather_nd": gather_nd,
    } | {name: assigning(name) for name in ("assign", "assign_add", "assign_sub")}
    return type(kind)(kind.__name__, (kind,), members)
