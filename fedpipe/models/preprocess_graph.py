"""The steps of `data.preprocess` as a TensorFlow graph: where all of them work on numbers, a model
that other programs run takes the raw numbers.

The arithmetic is that of `data.preprocess.fitted`, float32 in the same order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedpipe.data.array_types import Array
from fedpipe.data.preprocess.fitted import Chosen, Clipped, Filled, FittedStep, Scaled
from fedpipe.data.preprocess.image_steps import Cropped, Normalized
from fedpipe.data.preprocess.steps import FittedSteps

_IN_GRAPH = (Scaled, Clipped, Filled, Chosen, Normalized, Cropped)


@dataclass(frozen=True)
class PreprocessGraph:
    """Steps that can stand in a graph.

    Attributes:
        shape: of one example's raw features, float32; pixels are 0..1.
        apply: raw features [n, *shape] as a tensor -> features as the model takes them.
    """

    shape: tuple[int, ...]
    apply: Callable[[Any], Any]


def preprocess_graph(steps: FittedSteps | None) -> PreprocessGraph | None:
    """Return the graph of a model's steps; None if there are none, or if one of them needs texts,
    the figures of one client, or code of the user's own.
    """
    if steps is None or steps.texts or steps.per_client or steps.dtype == "int32":
        return None
    if not all(isinstance(step, _IN_GRAPH) for step in steps.steps):
        return None

    def apply(x: Any) -> Any:
        columns = steps.columns
        for step in steps.steps:
            x, columns = _applied(step, x, columns)
        return x

    return PreprocessGraph(steps.shape, apply)


def _applied(step: FittedStep, x: Any, columns: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Return the tensor after a step, and the names of its columns."""
    import tensorflow as tf

    if isinstance(step, Scaled):
        shift = _spread(step.shift, step.columns, columns, x, 0.0)
        return (x - shift) / _spread(step.scale, step.columns, columns, x, 1.0), columns
    if isinstance(step, Clipped):
        low, high = (
            _spread([limit] * max(1, len(step.columns)), step.columns, columns, x, beyond)
            for limit, beyond in ((step.low, -np.inf), (step.high, np.inf))
        )
        return tf.minimum(tf.maximum(x, low), high), columns
    if isinstance(step, Normalized):
        mean, std = (np.array(values, np.float32) for values in (step.mean, step.std))
        if len(x.shape) == 3:
            return (x - mean[0]) / std[0], columns
        return (x - mean) / std, columns
    if isinstance(step, Cropped):
        top, left = (
            (size - inner) // 2 for size, inner in zip(x.shape[1:3], step.size, strict=True)
        )
        return x[:, top : top + step.size[0], left : left + step.size[1]], columns
    if isinstance(step, Chosen):
        return tf.gather(x, _places(step.columns, columns), axis=1), step.columns
    if not isinstance(step, Filled):
        raise AssertionError(f"no graph of step {step}")
    if step.by == "drop":
        return x, columns
    empty = tf.math.is_nan(x)
    values = [value for value in step.values if not isinstance(value, str)]
    fill = _spread(values, step.columns, columns, x, np.nan)
    flags = tf.cast(tf.gather(empty, _places(step.flagged, columns), axis=1), tf.float32)
    names = tuple(f"{name}_missing" for name in step.flagged)
    return tf.concat([tf.where(empty, fill, x), flags], axis=1), (*columns, *names)


def _places(names: Sequence[str], columns: Sequence[str]) -> Array:
    return np.array([columns.index(name) for name in names], np.int32)


def _spread(
    values: Sequence[float], names: Sequence[str], columns: Sequence[str], x: Any, default: float
) -> Array:
    """Return float32 in the shape of one example: values at the places of their columns, and
    `default` at all others; without columns the values, one for each place or one for all.
    """
    shape = tuple(x.shape[1:])
    if columns:
        spread = np.full(len(columns), default, np.float32)
        spread[_places(names, columns)] = values
        return spread
    if len(values) == 1:
        return np.full(shape, values[0], np.float32)
    return np.array(values, np.float32).reshape(shape)
