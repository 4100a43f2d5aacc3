"""Client work: what one client does in a round, as plain TensorFlow ops on the client's resident
bytes.

    bytes --split--> x, y --epochs of batches: gradient, client optimizer step--> update, update
    weight, sums

Why not `tf.data` and Keras, as TFF's own client work has it: on a small model nine tenths of a
round would go into building a dataset iterator per client and into metric objects. Here a client's
bytes arrive in one piece, a `tf.while_loop` takes slices of them, and metrics are four sums. The
same function runs inside a TFF computation and, eagerly, outside of one.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import tensorflow as tf

from fedpipe.algorithms.augment import Augment
from fedpipe.algorithms.batch_gradients import gradients_and_counts
from fedpipe.models import ModelSpec
from fedpipe.models.evaluate import to_input
from fedpipe.tasks import Task

SUMS = OrderedDict(
    loss=tf.float32, correct=tf.int64, examples=tf.int64, steps=tf.int64, predictions=tf.int64
)
"""Measurements of a client, with their dtypes. All are sums, so that clients merge by adding in any
order. Those of the task's metrics (`Task.training_sums`) follow, tensors by their names.
"""

LocalGradient = Callable[[list[Any], list[Any], list[Any]], list[Any]]
"""(a batch's gradients, the client's weights, the server's weights it started from) -> the
gradients of the step, in TensorFlow ops.
"""


class ClientResult(NamedTuple):
    """The result of one client's work.

    Attributes:
        update: trained minus initial weights, one float32 tensor for each of the model's; an
            algorithm may add tensors at the end.
        update_weight: float32, the client's weight in a weighted mean.
        sums: by the names of `SUMS`: the task's loss and correct predictions over all examples
            processed, each batch under the weights before its step; examples processed, each epoch
            counted; gradient steps; predictions, which are the examples, or the tokens where each
            is followed by a prediction; then the sums of the task's metrics.
    """

    update: list[Any]
    update_weight: Any
    sums: "OrderedDict[str, Any]"


@dataclass(frozen=True)
class ClientWork:
    """The settings of client work, and the work itself.

    Attributes:
        model: its outputs are differentiated; the loss is the mean of the task's over a batch's
            predictions.
        optimizer: a `tff.learning.optimizers.Optimizer`, started afresh each round.
        feature_dtype: dtype of the resident features, uint8, float32 or int32.
        batch_size: examples per step; the last batch of an epoch may be smaller and is kept.
        epochs: passes over the client's examples.
        max_steps: limit of gradient steps in a round, or `None`.
        shuffle: draw the order of examples anew each epoch, from the client's seed alone.
        weighting: the update weight: the client's number of `examples`, or 1 (`uniform`).
        by_value: `data` holds the client's bytes themselves instead of the path of a file that the
            worker can read.
        variable_length: features are sequences that end in padding: each batch is cut to its
            longest.
        target_width: float32 targets of an example (multilabel, regression); `None`: its label is
            an int32.
        augment: changes that are drawn for each batch; `None` changes nothing.
        local_gradient: what an algorithm makes of each batch's gradient before the optimizer takes
            it; `None` leaves it.
        task: what is learned; `None`: to tell classes apart, by their cross-entropy.
    """

    model: ModelSpec
    optimizer: Any
    feature_dtype: np.dtype[Any]
    batch_size: int
    epochs: int = 1
    max_steps: int | None = None
    shuffle: bool = False
    weighting: Literal["examples", "uniform"] = "uniform"
    by_value: bool = False
    variable_length: bool = False
    local_gradient: LocalGradient | None = None
    target_width: int | None = None
    augment: Augment | None = None
    task: Task | None = None

    reads_server: ClassVar[bool] = False
    """Whether the server's optimizer state is sent with its weights."""
    pools: ClassVar[bool] = False
    """Whether the clients of a group are taken as one, with the examples of all."""

    @classmethod
    def of(cls, work: "ClientWork", **changes: Any) -> Self:
        """Return work of this kind with the settings of `work`, but for `changes`."""
        return cls(**{field.name: getattr(work, field.name) for field in fields(work)} | changes)

    def zero_update(self, weights: Sequence[Any]) -> list[Any]:
        """Return the update of no client, in the structure of `ClientResult.update`."""
        return [tf.zeros_like(tensor) for tensor in weights]

    def __call__(
        self,
        weights: Sequence[Any],
        data: Any,
        count: Any,
        seed: Any,
        rate: Any = None,
        server: Any = None,
    ) -> ClientResult:
        """Train from `weights` on one client's examples.

        Args:
            weights: the server's weights, in the model's order.
            data: string scalar: path of the client's resident file, or its bytes.
            count: int64 scalar: number of examples in it.
            seed: int64 scalar: the client's seed in this round.
            rate: float32 scalar: the learning rate in this round; `None` is the optimizer's own.
            server: the server's optimizer state, where `reads_server`.
        """
        del server
        weights = list(weights)
        x, y = self.examples(data, count)
        steps_per_epoch = (count + self.batch_size - 1) // self.batch_size
        steps = steps_per_epoch * self.epochs
        if self.max_steps is not None:
            steps = tf.minimum(steps, tf.constant(self.max_steps, tf.int64))
        orders = self.orders(count, seed) if self.shuffle else None

        def step(i: Any, current: list[Any], state: Any, counts: list[Any]) -> Any:
            start = (i % steps_per_epoch if self.epochs > 1 else i) * self.batch_size
            # a slice that reaches past the end is cut there: the last, partial batch
            stop = start + self.batch_size
            if orders is None:
                batch_x = x[start:stop]
                batch_y = y[start:stop]
            else:
                chosen = orders[i // steps_per_epoch, start:stop]
                batch_x = tf.gather(x, chosen)
                batch_y = tf.gather(y, chosen)
            if self.variable_length:
                batch_x = without_padding(batch_x)
            if self.augment is not None:
                batch_x = self.augment(batch_x, seed, i)
            gradients, batch_counts = gradients_and_counts(
                self.model, current, batch_x, batch_y, seed, i, self.task
            )
            if self.local_gradient is not None:
                gradients = self.local_gradient(gradients, current, weights)
            state, current = self.optimizer.next(state, current, gradients)
            return i + 1, current, state, tf.nest.map_structure(tf.add, counts, batch_counts)

        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in weights]
        state = tf.nest.map_structure(tf.convert_to_tensor, self.optimizer.initialize(specs))
        if rate is not None:
            state["learning_rate"] = rate
        zeros = self.zero_sums()
        counts = [zeros[name] for name in self._counted]
        start = (tf.constant(0, tf.int64), weights, state, counts)
        _, trained, _, counts = tf.while_loop(
            lambda i, *_: i < steps, step, start, parallel_iterations=1
        )
        update = tf.nest.map_structure(tf.subtract, trained, weights)
        update_weight = (
            tf.cast(count, tf.float32) if self.weighting == "examples" else tf.constant(1.0)
        )
        # Of the steps that end no epoch each has a whole batch: counted here, not in the loop,
        # where each op costs.
        whole_epochs = steps // tf.maximum(steps_per_epoch, 1)
        examples = whole_epochs * count + (steps - whole_epochs * steps_per_epoch) * self.batch_size
        sums = OrderedDict(examples=examples, steps=steps, predictions=examples) | dict(
            zip(self._counted, counts, strict=True)
        )
        return ClientResult(
            update, update_weight, OrderedDict((name, sums[name]) for name in zeros)
        )

    def zero_sums(self) -> "OrderedDict[str, Any]":
        """Return the sums of no client."""
        sums = OrderedDict((name, tf.zeros((), dtype)) for name, dtype in SUMS.items())
        for of_metric in self.task.training_sums if self.task else ():
            sums[of_metric.name] = tf.zeros(of_metric.shape, of_metric.dtype)
        return sums

    @property
    def _counted(self) -> tuple[str, ...]:
        """Return the sums that are counted step by step, as `gradients_and_counts` returns them."""
        counted: tuple[str, ...] = ("loss", "correct")
        if self.model.targets is not None:
            counted = ("loss", "correct", "predictions")
        of_metrics = self.task.training_sums if self.task else ()
        return counted + tuple(of_metric.name for of_metric in of_metrics)

    def examples(self, data: Any, count: Any) -> tuple[Any, Any]:
        """Return features [count, *shape] as the model takes them and labels, int32 [count] or
        float32 [count, target_width], from bytes as `data.resident` lays them out.
        """
        return self._decoded(*self._bytes(data, count), count)

    def _bytes(self, data: Any, count: Any) -> tuple[Any, Any]:
        """Return the bytes of a client's features and of its labels, uint8 each."""
        raw = tf.io.decode_raw(data if self.by_value else tf.io.read_file(data), tf.uint8)
        end_x = count * (prod(self.model.feature_shape) * self.feature_dtype.itemsize)
        return raw[:end_x], raw[end_x : end_x + 4 * (self.target_width or 1) * count]

    def _decoded(self, x: Any, y: Any, count: Any) -> tuple[Any, Any]:
        shape = self.model.feature_shape
        size = self.feature_dtype.itemsize
        if size > 1:
            x = tf.bitcast(tf.reshape(x, (-1, size)), tf.as_dtype(self.feature_dtype))
        x = tf.reshape(x, tf.stack([count, *shape]))
        x = to_input(tf.ensure_shape(x, (None, *shape)))
        if self.target_width is None:
            return x, tf.bitcast(tf.reshape(y, (-1, 4)), tf.int32)
        return x, tf.bitcast(tf.reshape(y, (-1, self.target_width, 4)), tf.float32)

    def orders(self, count: Any, seed: Any) -> Any:
        """Return int32 [epochs, count]: an order of the examples for each epoch, a pure function of
        the seed.
        """
        shape = tf.stack([tf.constant(self.epochs, tf.int64), count])
        keys = tf.random.stateless_uniform(
            shape, tf.stack([seed, 0]), minval=None, maxval=None, dtype=tf.int64
        )
        return tf.argsort(keys, axis=1, stable=True)


def without_padding(x: Any) -> Any:
    """Return int32 sequences [n, length] cut to the longest: to the last column that is not all
    zeros, at least one column.
    """
    used = tf.reduce_max(tf.where(tf.not_equal(x, 0), tf.range(1, tf.shape(x)[1] + 1), 0))
    return x[:, : tf.maximum(used, 1)]


def add(left: "OrderedDict[str, Any]", right: "OrderedDict[str, Any]") -> "OrderedDict[str, Any]":
    """Return the sums of two sets of examples that have none in common."""
    return OrderedDict((name, left[name] + right[name]) for name in left)


def train_metrics(sums: Mapping[str, Any], task: Task | None = None) -> dict[str, float]:
    """Return the figures of a round's training by key, from the sums of its clients: `train/loss`,
    `train/steps`, and those metrics of the task that training has; without predictions the steps
    alone.
    """
    metrics = {"train/steps": float(sums["steps"])}
    predictions = int(sums["predictions"])
    if not predictions:
        return metrics
    figures = {"train/loss": float(sums["loss"]) / predictions}
    if task is None or task.has_classes:
        figures["train/accuracy"] = int(sums["correct"]) / predictions
    for metric in task.metrics if task else ():
        if metric.training is not None:
            value = metric.value(metric.training.to_sums(np.asarray(sums[metric.training.name])))
            if value is not None:
                figures[f"train/{metric.name}"] = value
    return figures | metrics
