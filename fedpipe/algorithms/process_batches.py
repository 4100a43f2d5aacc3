"""Gives the clients of a TFF process their datasets, which the worker builds from resident files.

A process says in its type what a dataset's elements are: `{<float32[?,28,28],int32[?]>*}@CLIENTS`.
They are a client's features and labels in another structure, shape or dtype, as long as nothing is
lost. Batches, epochs, shuffles and the limit of steps are those of `client_work`, in the same
order.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.client_work import ClientWork, without_padding
from fedpipe.data.manifest import Manifest

LABEL_NAMES = ("y", "label", "labels", "target", "targets")
"""Names of the labels in an element with names; the other one is the features."""
_LARGEST_WHOLE = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}
"""Whole numbers up to which a dtype of floats has each."""

REF_TYPE = OrderedDict(data=np.str_, count=np.int64, seed=np.int64)
"""What a client is given: the path of its file or its bytes, its number of examples, its seed."""


class BatchTypeError(Exception):
    """The data cannot give the elements that a process takes; the text says why."""


@dataclass(frozen=True)
class ExampleSpec:
    """Features and label of one example, as a client has them.

    Attributes:
        x: shape and dtype of the features: float32, or int32 of tokens.
        y: shape and dtype of the label.
        pixels: whether the features are stored as uint8; float32 in [0, 1] otherwise.
        variable_length: whether features are sequences that end in padding.
        largest: largest value of features and labels that are whole numbers.
    """

    x: tf.TensorSpec
    y: tf.TensorSpec
    pixels: bool = False
    variable_length: bool = False
    largest: int = 2**31 - 1

    @property
    def batch(self) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        """Return the specs of a batch of any size."""
        x_shape = tuple(self.x.shape)
        if self.variable_length:
            x_shape = (None,) * len(x_shape)
        return (
            tf.TensorSpec([None, *x_shape], self.x.dtype),
            tf.TensorSpec([None, *self.y.shape], self.y.dtype),
        )


def example_spec(manifest: Manifest) -> ExampleSpec:
    """Return what the clients of these shards have."""
    x_dtype = tf.float32
    largest = max(255, manifest.num_classes - 1)
    if manifest.feature_dtype == "int32":
        x_dtype = tf.int32
        largest = 2**31 - 1
    label = tf.TensorSpec((), tf.int32)
    if manifest.target_width is not None:
        label = tf.TensorSpec((manifest.target_width,), tf.float32)
    return ExampleSpec(
        tf.TensorSpec(manifest.feature_shape, x_dtype),
        label,
        pixels=manifest.feature_dtype == "uint8",
        variable_length=manifest.variable_length,
        largest=largest,
    )


@dataclass(frozen=True)
class BatchPlan:
    """How a client's features and labels become the elements that a process takes.

    Attributes:
        names: names of the two in an element; None where it is a plain pair.
        labels_first: whether the labels are the first of the two.
        x_shape, y_shape: shapes of one example's; a size of None is that of the longest sequence
            of a batch.
        x_dtype, y_dtype: dtypes.
        batch: `any` number of examples in an element; `whole` batches alone, without an epoch's
            smaller last one; `none`: an element is one example.
    """

    names: tuple[str, str] | None
    labels_first: bool
    x_shape: tuple[int | None, ...]
    y_shape: tuple[int | None, ...]
    x_dtype: np.dtype[Any]
    y_dtype: np.dtype[Any]
    batch: Literal["any", "whole", "none"]

    def steps_per_epoch(self, count: Any, batch_size: int) -> Any:
        """Return the number of batches of `count` examples, an integer or an int64 tensor."""
        if self.batch == "whole":
            return count // batch_size
        return (count + batch_size - 1) // batch_size

    def processed(self, count: int, work: ClientWork) -> tuple[int, int]:
        """Return the steps and the examples of a client with `count` examples in a round."""
        per_epoch = self.steps_per_epoch(count, work.batch_size)
        steps = per_epoch * work.epochs
        if work.max_steps is not None:
            steps = min(steps, work.max_steps)
        in_epoch = min(count, per_epoch * work.batch_size)
        epochs = steps // max(per_epoch, 1)
        return steps, epochs * in_epoch + (steps - epochs * per_epoch) * work.batch_size


def dataset_types(parameter: Any) -> list[Any]:
    """Return the element types of the datasets at the clients in the type of an argument."""
    if isinstance(parameter, tff.FederatedType):
        if parameter.placement is tff.CLIENTS and isinstance(parameter.member, tff.SequenceType):
            return [parameter.member.element]
        return []
    if isinstance(parameter, tff.StructType):
        return [element for inner in parameter for element in dataset_types(inner)]
    return []


def plan_batches(element: Any, spec: ExampleSpec, batch_size: int) -> BatchPlan:
    """Return how the data become elements of a type.

    Args:
        element: TFF type of a dataset's elements.
        spec: what the clients have.
        batch_size: `client.batch_size`.

    Raises:
        BatchTypeError: they cannot; or an element is a batch of another fixed size.
    """
    names, tensors = _pair(element)
    labels_first = names is not None and names[0] in LABEL_NAMES and names[1] not in LABEL_NAMES
    x, y = tensors
    if labels_first:
        y, x = tensors
    x_dtype = _dtype("features", spec.x.dtype.as_numpy_dtype, x, spec)
    y_dtype = _dtype("labels", spec.y.dtype.as_numpy_dtype, y, spec)
    batch, x_shape, y_shape = _shapes(x, y, spec, batch_size)
    return BatchPlan(names, labels_first, x_shape, y_shape, x_dtype, y_dtype, batch)


def build_dataset_computation(plan: BatchPlan, work: ClientWork, spec: ExampleSpec) -> Any:
    """Return the TFF computation (`REF_TYPE` -> the client's dataset); see `client_dataset`."""

    @tff.tensorflow.computation(tff.types.to_type(REF_TYPE))
    def dataset(ref: Any) -> Any:
        return client_dataset(plan, work, spec, ref)

    return dataset


def client_dataset(plan: BatchPlan, work: ClientWork, spec: ExampleSpec, ref: Any) -> Any:
    """Return a client's `tf.data.Dataset` of a round.

    Args:
        plan: what its elements are.
        work: reads the client's file; its `batch_size`, `epochs`, `max_steps` and `shuffle` hold.
        spec: what the client has.
        ref: tensors by the names of `REF_TYPE`.
    """
    count = ref["count"]
    x, y = work.examples(ref["data"], count)
    per_epoch = plan.steps_per_epoch(count, work.batch_size)
    steps = per_epoch * work.epochs
    if work.max_steps is not None:
        steps = tf.minimum(steps, tf.constant(work.max_steps, tf.int64))
    orders = work.orders(count, ref["seed"]) if work.shuffle else None

    def batch(i: Any) -> Any:
        start = (i % per_epoch) * work.batch_size
        stop = start + work.batch_size  # past the end in a smaller last batch
        if orders is None:
            batch_x = x[start:stop]
            batch_y = y[start:stop]
        else:
            chosen = orders[i // per_epoch, start:stop]
            batch_x = tf.gather(x, chosen)
            batch_y = tf.gather(y, chosen)
        if work.augment is not None:
            batch_x = work.augment(batch_x, ref["seed"], i)
        return _element(plan, work, spec, batch_x, batch_y)

    batches = tf.data.Dataset.range(steps).map(batch)
    if plan.batch == "none":
        return batches.unbatch()
    return batches


def _element(plan: BatchPlan, work: ClientWork, spec: ExampleSpec, x: Any, y: Any) -> Any:
    """Return features [n, ...] and labels [n, ...] as an element of the dataset."""
    if spec.variable_length and None in plan.x_shape:
        x = without_padding(x)
    size = work.batch_size if plan.batch == "whole" else -1
    x = _converted(x, (size, *plan.x_shape), plan.x_dtype, spec.pixels)
    y = _converted(y, (size, *plan.y_shape), plan.y_dtype)
    pair = (x, y)
    if plan.labels_first:
        pair = (y, x)
    if plan.names is None:
        return pair
    return OrderedDict(zip(plan.names, pair, strict=True))


def _pair(element: Any) -> tuple[tuple[str, str] | None, list[Any]]:
    """Return names and types of the two tensors of an element."""
    tensors = []
    if isinstance(element, tff.StructType):
        tensors = list(tff.structure.iter_elements(element))
    if len(tensors) != 2 or not all(isinstance(kind, tff.TensorType) for _, kind in tensors):
        raise BatchTypeError("an element must have two tensors, features and labels")
    (first, x), (second, y) = tensors
    if first is None or second is None:
        return None, [x, y]
    return (first, second), [x, y]


def _dtype(tensor_name: str, dtype: Any, kind: Any, spec: ExampleSpec) -> np.dtype[Any]:
    """Return the dtype of a tensor of the process. Raises BatchTypeError if values would change."""
    own = np.dtype(dtype)
    target = np.dtype(getattr(kind.dtype, "type", kind.dtype))
    lossless = np.can_cast(own, target, "safe")
    if own.kind == "i" and target.kind == "f":
        lossless = lossless or spec.largest <= _LARGEST_WHOLE.get(target, -1)
    if own.kind == "i" and target.kind in "iu":
        lossless = lossless or spec.largest <= np.iinfo(target).max
    if tensor_name == "features" and spec.pixels and target.kind in "iu":
        lossless = np.iinfo(target).max >= 255  # the stored 0..255
    if not lossless:
        raise BatchTypeError(
            f"{tensor_name} of {own.name} cannot become {target.name} without a loss"
        )
    return target


def _shapes(
    x: Any, y: Any, spec: ExampleSpec, batch_size: int
) -> tuple[Literal["any", "whole", "none"], tuple[int | None, ...], tuple[int | None, ...]]:
    """Return how examples are batched, and the shapes of one example's features and label."""
    own = tuple(spec.x.shape), tuple(spec.y.shape)
    if x.shape is None or y.shape is None:
        return "any", own[0], own[1]
    x_shape = tuple(x.shape)
    y_shape = tuple(y.shape)
    if x_shape and y_shape and x_shape[0] == y_shape[0]:
        batched = x_shape[1:], y_shape[1:]
        if _fits(batched, own, spec):
            if x_shape[0] is None:
                return "any", *batched
            if x_shape[0] == batch_size:
                return "whole", *batched
            raise BatchTypeError(
                f"a batch must have any number of examples (None in input_spec), or "
                f"client.batch_size={batch_size}, not {x_shape[0]}"
            )
    if _fits((x_shape, y_shape), own, spec):
        return "none", x_shape, y_shape
    raise BatchTypeError(
        f"the features of an example have shape {list(own[0])} and its label has {list(own[1])}"
    )


def _fits(shapes: Any, own: Any, spec: ExampleSpec) -> bool:
    x, y = shapes
    return _same(y, own[1]) and (
        _same(x, own[0])
        or x == (prod(own[0]),)
        or (spec.variable_length and len(x) == 1 and x[0] is None)
    )


def _same(shape: Sequence[int | None], own: Sequence[int]) -> bool:
    """Return whether two shapes are the same but for sizes of one."""
    return [size for size in shape if size != 1] == [size for size in own if size != 1]


def _converted(
    values: Any, shape: tuple[int | None, ...], dtype: np.dtype[Any], pixels: bool = False
) -> Any:
    """Return a batch in a shape and dtype of the process; -1 is the number of its examples."""
    if None not in shape:
        values = tf.reshape(values, shape)
    if pixels and dtype.kind in "iu":
        values = tf.round(values * 255.0)
    return tf.cast(values, tf.as_dtype(dtype))
