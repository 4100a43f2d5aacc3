"""Evaluation: what a model's weights predict for examples, in this process, in TensorFlow; and what
that is worth on pooled examples.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.errors import ModelError
from fedpipe.models.calibration import Calibration, calibrate
from fedpipe.models.confusion import Confusion
from fedpipe.models.spec import ModelSpec
from fedpipe.tasks import Task, plain_task
from fedpipe.tasks.columns import columns_of, no_predictions
from fedpipe.tasks.predictions import Predictions, joined
from fedpipe.types import Examples, Weights

_BATCH = 1000
_BATCH_OF_SEQUENCES = 100
_MOST_LOGITS = 4_000_000
"""Logits that are computed together at most, 16 MB: with many classes or long sequences fewer
examples are taken at a time.
"""


def to_input(x: Any) -> Any:
    """Return features as a model takes them: uint8 divided by 255, float32 and int32 as they are.
    Here pixels become numbers.
    """
    import tensorflow as tf

    if x.dtype in (tf.uint8, np.uint8):
        return tf.cast(x, tf.float32) / 255.0
    return tf.convert_to_tensor(x)


class Predictor:
    """A model, its graph traced once; weights and examples are given to each call."""

    def __init__(
        self, model: ModelSpec, batch_size: int | None = None, task: Task | None = None
    ) -> None:
        """Take the model.

        Args:
            model: whose outputs are predictions.
            batch_size: examples at a time; if not given at most 1,000, or 100 sequences.
            task: what it was trained for; if not given to tell classes apart.
        """
        self.model = model
        self.task = task or plain_task(model.num_classes)
        self._batch_size = batch_size
        self._columns: tuple[str, ...] = ()
        self._step: Any = None

    def _trace(self, tensors: Any, x: Any, y: Any) -> Any:
        import tensorflow as tf

        model = self.model

        def step(weights: Any, x: Any, y: Any) -> Any:
            features = to_input(x)
            outputs = model.logits(weights, features)
            targets = y
            real = tf.ones_like(y[:, 0] if y.shape.rank > 1 else y, tf.bool)
            if model.targets is not None:
                targets, real = model.targets(features, y)
                targets = tf.reshape(targets, [-1])
            flat = tf.reshape(outputs, (-1, model.num_classes))
            columns = columns_of(self.task, flat, targets)
            self._columns = tuple(columns)
            return real, *columns.values()

        # As many examples as there will be: a trace for each number would take longer than the
        # arithmetic, and TensorFlow warns of it.
        sizes = [None] * x.ndim if model.tokens is not None else [None, *x.shape[1:]]
        weights = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
        return tf.function(
            step,
            input_signature=[
                weights,
                tf.TensorSpec(sizes, x.dtype),
                tf.TensorSpec([None, *y.shape[1:]], y.dtype),
            ],
            autograph=False,  # it would rewrite all code below in 0.5 s; TFF does not either
        )

    def predict(self, weights: Weights, examples: Examples) -> Predictions:
        """Return the predictions for the examples, in their order.

        Raises:
            ModelError: a token is not among the model's.
        """
        tensors = [weights[name] for name in self.model.tensor_names]
        parts = []
        size = self._batch_size or self._examples_at_a_time(examples)
        for start in range(0, len(examples), size):
            x = examples.x[start : start + size]
            y = examples.y[start : start + size]
            if self.model.tokens is not None:
                x = _used(x, self.model.tokens)
            self._step = self._step or self._trace(tensors, x, y)
            real, *values = (column.numpy() for column in self._step(tensors, x, y))
            rows = start + np.nonzero(real)[0]
            is_real = real.reshape(-1)
            columns = {
                name: column[is_real] if len(column) else column
                for name, column in zip(self._columns, values, strict=True)
            }
            parts.append(Predictions(rows, **columns))
        if not parts:
            return no_predictions(self.task)
        return joined(parts)

    def _examples_at_a_time(self, examples: Examples) -> int:
        most = _BATCH_OF_SEQUENCES if self.model.tokens else _BATCH
        logits = self.model.num_classes * (
            examples.x.shape[1] if self.model.targets is not None else 1
        )
        return max(1, min(most, _MOST_LOGITS // logits))


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation on pooled examples.

    Attributes:
        loss: mean of the task's loss; of classes cross-entropy in nats per prediction, if no other
            was chosen.
        values: the task's metrics by name, and of several targets that of each, `rmse_NAME`;
            without those that do not exist for these examples.
        predictions: what was predicted of each example.
        task: what the model was trained for.
    """

    loss: float
    values: Mapping[str, float]
    predictions: Predictions
    task: Task

    @property
    def num_classes(self) -> int:
        """Return the number of classes; of binary 2."""
        return 2 if self.task.kind == "binary" else self.task.outputs

    @property
    def accuracy(self) -> float:
        """Return the fraction of predictions that are the label; of several labels and of numbers
        NaN.
        """
        if not len(self.predictions.labels):
            return math.nan
        return float(self.predictions.hits.mean())

    @property
    def score(self) -> float:
        """Return the metric that chooses; NaN where it does not exist."""
        if self.task.choose_by == "loss":
            return self.loss
        return self.values.get(self.task.choose_by, math.nan)

    @cached_property
    def calibration(self) -> Calibration:
        """Return confidence and accuracy, of a task with classes."""
        return calibrate(self.predictions.confidences, self.predictions.hits)

    @cached_property
    def confusion(self) -> Confusion:
        """Return which class was taken for which, and how often, of a task with classes."""
        return Confusion.count(
            self.predictions.labels, self.predictions.predicted, self.num_classes
        )

    def metrics(self, split: str) -> dict[str, float]:
        """Return the figures by key, such as `test/accuracy`."""
        figures = {"loss": self.loss, **self.values}
        return {f"{split}/{name}": value for name, value in figures.items()}


def evaluation_of(task: Task, predictions: Predictions) -> Evaluation:
    """Return what these predictions say of a model."""
    values: dict[str, float] = {}
    parts: dict[str, float] = {}
    for family in task.families():
        sums = family[0].sums(predictions)
        for metric in family:
            value = metric.value(sums)
            if value is not None:
                values[metric.name] = value
            parts |= metric.parts(sums)
    in_order = {
        metric.name: values[metric.name] for metric in task.metrics if metric.name in values
    }
    loss = float(predictions.losses.astype(np.float64).mean())
    return Evaluation(loss, in_order | parts, predictions, task)


class Evaluator:
    """Evaluates weights on a fixed set of examples; the graph is traced once."""

    def __init__(
        self,
        model: ModelSpec,
        examples: Examples,
        batch_size: int | None = None,
        task: Task | None = None,
    ) -> None:
        """Take the examples; they are evaluated `batch_size` at a time. Raises ModelError if there
        are none.

        `task`: what the model was trained for; if not given to tell classes apart.
        """
        if not len(examples):
            raise ModelError(
                "evaluation: expected at least one example, found none. Raise "
                "data.central_test_examples."
            )
        self._predictor = Predictor(model, batch_size, task)
        self._examples = examples

    def evaluate(self, weights: Weights) -> Evaluation:
        """Return loss and metrics of `weights`."""
        predictions = self._predictor.predict(weights, self._examples)
        return evaluation_of(self._predictor.task, predictions)


def _used(x: npt.NDArray[Any], tokens: int) -> npt.NDArray[Any]:
    """Return tokens cut to the longest sequence. Raises ModelError for a token that the model does
    not have.
    """
    most = int(x.max(initial=0))
    if most >= tokens:
        raise ModelError(
            f"evaluation: expected tokens from 0 to {tokens - 1}, found {most}. Set model.tokens "
            f"to {most + 1} or more."
        )
    used = np.flatnonzero(x.any(axis=0))
    return x[:, : int(used.max(initial=0)) + 1]
