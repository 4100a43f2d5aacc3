"""State, weights and metrics of a TFF process, as arrays by path.

A process's values are structures of its own: `LearningAlgorithmState`, attrs classes, tuples. Their
TFF type names each tensor in them, as `global_model_weights/trainable/0`; a checkpoint holds a
state by these paths, whatever the containers.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff

from fedpipe.metric_names import ALLOWED, checked_metrics, why_refused
from fedpipe.models import ModelSpec
from fedpipe.types import Weights

VARYING = "varying"
"""Prefix of the paths of state tensors whose shape may change from round to round."""

_WEIGHTS_IN_STATE = ("global_model_weights", "model_weights", "model", "weights")
"""Where a state that is more than the weights has them, the first that is there."""
_ACCURACIES = ("sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")
_TRAIN_ACCURACIES = tuple(f"train/{name}" for name in _ACCURACIES)
_OWN_SPLITS = ("test", "validation", "participating", "held_out", "clients", "best", "final")
"""Prefixes of fedpipe's own metrics, which a process's metrics do not replace."""


class ProcessValueError(Exception):
    """A value of a process is none that fedpipe can take; the text says why."""


@dataclass(frozen=True)
class Tensor:
    """A tensor in a TFF type."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        """Return for example `model/trainable/0 float32[784,10]`."""
        if self.shape is None:
            return f"{self.path} {self.dtype.name} of any shape"
        sizes = ",".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.path} {self.dtype.name}[{sizes}]".lstrip()

    @property
    def key(self) -> str:
        """Return the path in a checkpoint."""
        if self.shape is None or None in self.shape:
            return posixpath.join(VARYING, self.path)
        return posixpath.join("state", self.path)


def tensors_of(kind: Any, path: str = "") -> Iterator[Tensor]:
    """Yield the tensors of a TFF type, in its order. Raises ProcessValueError for what is no
    structure of tensors at the server.
    """
    if isinstance(kind, tff.FederatedType):
        if kind.placement is not tff.SERVER:
            raise ProcessValueError(f"{path or 'it'} is at the {kind.placement.uri}")
        kind = kind.member
    if isinstance(kind, tff.TensorType):
        shape = None if kind.shape is None else tuple(kind.shape)
        yield Tensor(path, np.dtype(getattr(kind.dtype, "type", kind.dtype)), shape)
    elif isinstance(kind, tff.StructType):
        for number, (name, inner) in enumerate(tff.structure.iter_elements(kind)):
            yield from tensors_of(
                inner, posixpath.join(path, str(number) if name is None else name)
            )
    else:
        raise ProcessValueError(f"{path or 'it'} is of type {kind.compact_representation():.60}")


class StateLayout:
    """The state of a process by path, and back."""

    def __init__(self, kind: Any) -> None:
        """Take the state's TFF type. Raises ProcessValueError unless it is a structure of numbers
        at the server.
        """
        self._kind = kind
        self.tensors = tuple(tensors_of(kind))
        for tensor in self.tensors:
            if tensor.dtype.kind not in "fiubc":
                raise ProcessValueError(f"{tensor} holds no numbers")

    def leaves(self, state: Any) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of a state by path."""
        values = flat_values(state)
        return {
            tensor.key: np.asarray(value, tensor.dtype)
            for tensor, value in zip(self.tensors, values, strict=True)
        }

    def state(self, leaves: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Return the state in the process's own containers."""
        return pack(self._kind, iter([leaves[tensor.key] for tensor in self.tensors]))


def flat_values(value: Any) -> list[Any]:
    """Return the tensors of a value, in the order of its type."""
    if isinstance(value, np.ndarray | np.generic | int | float | bool | bytes | str):
        return [value]
    if hasattr(value, "numpy"):
        return [value.numpy()]
    return list(tff.structure.flatten(tff.structure.from_container(value, recursive=True)))


def pack(kind: Any, values: Iterator[Any]) -> Any:
    """Return tensors, in the order of a TFF type, in the containers that it names."""
    if isinstance(kind, tff.FederatedType):
        return pack(kind.member, values)
    if isinstance(kind, tff.TensorType):
        return next(values)
    inner = [(name, pack(element, values)) for name, element in tff.structure.iter_elements(kind)]
    return tff.types.type_to_py_container(tff.structure.Struct(inner), kind)


def tensors_of_value(value: Any, path: str = "") -> Iterator[Tensor]:
    """Yield the tensors of a value in Python's containers, in its order."""
    if isinstance(value, tff.structure.Struct):
        for number, (name, inner) in enumerate(tff.structure.iter_elements(value)):
            yield from tensors_of_value(inner, posixpath.join(path, name or str(number)))
    elif isinstance(value, np.ndarray | np.generic | int | float) or hasattr(value, "numpy"):
        array = np.asarray(value)
        yield Tensor(path, array.dtype, array.shape)
    else:
        yield from tensors_of_value(tff.structure.from_container(value, recursive=True), path)


def weights_in(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of a state that are its model's weights: those below the first of
    `_WEIGHTS_IN_STATE` that is there, else all.
    """
    for name in _WEIGHTS_IN_STATE:
        below = [tensor for tensor in tensors if tensor.path.startswith(f"{name}/")]
        if below:
            return below
    return list(tensors)


@dataclass(frozen=True)
class WeightNames:
    """The names of a model's tensors for a process's weights, in the weights' order."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, tensors: Sequence[Tensor], model: ModelSpec, initial: Weights) -> "WeightNames":
        """Match a process's weights to the model's tensors: by name where the names are the same,
        else by order.

        Args:
            tensors: the process's weights.
            model: the run's model.
            initial: its initial weights.

        Raises:
            ProcessValueError: number, shapes or dtypes differ.
        """
        last = [posixpath.basename(tensor.path) for tensor in tensors]
        by_name = sorted(last) == sorted(model.tensor_names)
        names = tuple(model.tensor_names)
        if by_name:
            names = tuple(last)
        alike = len(tensors) == len(names) and all(
            tensor.shape == initial[name].shape and tensor.dtype == initial[name].dtype
            for tensor, name in zip(tensors, names, strict=True)
        )
        if not alike:
            own = ", ".join(
                str(Tensor(name, initial[name].dtype, initial[name].shape))
                for name in model.tensor_names
            )
            of_process = ", ".join(
                str(Tensor("", tensor.dtype, tensor.shape)) for tensor in tensors
            )
            raise ProcessValueError(
                f"expected weights of the process that are those of model.name={model.name} "
                f"({own}), found {of_process or 'none'}"
            )
        return cls(names)

    def weights(self, values: Sequence[Any], model: ModelSpec) -> Weights:
        """Return values in the process's order by name, in the model's order."""
        by_name = dict(zip(self.names, map(np.asarray, values), strict=True))
        return {name: by_name[name] for name in model.tensor_names}


class MetricNames:
    """The names under which a process's metrics are recorded."""

    def __init__(self, kind: Any) -> None:
        """Take the TFF type of what `next` returns beside the state; None if it is nothing.

        Raises:
            ProcessValueError: a name is none that the store takes.
        """
        tensors = [] if kind is None else list(tensors_of(kind))
        self._names: list[str | None] = []
        paths = [tensor.path for tensor in tensors]
        for tensor in tensors:
            name = metric_name(tensor.path, paths)
            is_number = tensor.shape == () and tensor.dtype.kind in "fiub"
            self._names.append(name)
            if not is_number:
                self._names[-1] = None
        for name in self.recorded:
            reason = why_refused(name)
            if reason is not None:
                raise ProcessValueError(
                    f"the metric {name!r} cannot be recorded: {reason}. A name may have {ALLOWED}"
                )
        try:
            checked_metrics(dict.fromkeys(self.recorded, 0.0), "metrics of the process")
        except ValueError as err:
            raise ProcessValueError(str(err)) from err

    @property
    def recorded(self) -> tuple[str, ...]:
        """Return the names of the metrics that are recorded: those that are a number."""
        return tuple(name for name in self._names if name is not None)

    def metrics(self, value: Any) -> dict[str, float]:
        """Return the metrics by name."""
        if not self._names:
            return {}
        return {
            name: float(number)
            for name, number in zip(self._names, flat_values(value), strict=True)
            if name is not None
        }


def metric_name(path: str, paths: Sequence[str] = ()) -> str:
    """Return the name of the metric at a path in what a process returns.

    Args:
        path: the path.
        paths: those of all metrics; a name is not given twice.

    >>> metric_name("client_work/train/loss")
    'train/loss'
    >>> metric_name("client_work/train/sparse_categorical_accuracy")
    'train/accuracy'
    >>> metric_name("finalizer/update_non_finite")
    'finalizer/update_non_finite'
    >>> metric_name("loss")
    'train/loss'
    """
    name = path or "metric"
    if name.startswith("client_work/"):
        name = name.removeprefix("client_work/")
        if not name.startswith("train/"):
            name = f"train/{name}"
    elif "/" not in name:
        name = f"train/{name}"
    elif name.split("/")[0] in _OWN_SPLITS:
        name = f"process/{name}"
    siblings = [posixpath.basename(path) for path in paths]
    accuracies = [sibling for sibling in siblings if sibling in _ACCURACIES]
    if name in _TRAIN_ACCURACIES and len(accuracies) <= 1 and "accuracy" not in siblings:
        return "train/accuracy"
    return name
