"""Evaluation: what a model's weights predict for examples, in this process, in TensorFlow; and what
that is worth on pooled examples.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.errors import ModelError
from fedpipe.models.calibration import Calibration, calibrate
from fedpipe.models.confusion import Confusion
from fedpipe.models.spec import ModelSpec
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


@dataclass(frozen=True)
class Predictions:
    """Predictions for examples, one each, or one for each of their tokens; all arrays
    [predictions].

    Attributes:
        rows: int64, number of the example.
        labels: int32.
        predicted: int32, the class of the largest logit.
        losses: float32, cross-entropy in nats.
        confidences: float32, the largest probability.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    losses: npt.NDArray[np.float32]
    confidences: npt.NDArray[np.float32]

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Return which are right."""
        hits: npt.NDArray[np.bool_] = self.predicted == self.labels
        return hits


class Predictor:
    """A model, its graph traced once; weights and examples are given to each call."""

    def __init__(self, model: ModelSpec, batch_size: int | None = None) -> None:
        """Take the model; `batch_size` examples at a time, at most 1,000 or 100 sequences if not
        given.
        """
        import tensorflow as tf

        self.model = model
        self._batch_size = batch_size
        self._step: Any = None

        def step(weights: Any, x: Any, y: Any) -> Any:
            features = to_input(x)
            logits = model.logits(weights, features)
            labels = y
            real = tf.ones_like(y, tf.bool)
            if model.targets is not None:
                labels, real = model.targets(features, y)
            labels = tf.reshape(labels, [-1])
            flat = tf.reshape(logits, (-1, model.num_classes))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=flat)
            confidences = tf.exp(tf.reduce_max(flat, axis=-1) - tf.reduce_logsumexp(flat, axis=-1))
            return real, labels, tf.argmax(flat, axis=-1, output_type=tf.int32), losses, confidences

        def trace(tensors: Any, x: Any, y: Any) -> Any:
            # As many examples as there will be: a trace for each number would take longer than the
            # arithmetic, and TensorFlow warns of it.
            sizes = [None] * x.ndim if model.tokens is not None else [None, *x.shape[1:]]
            weights = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
            return tf.function(
                step,
                input_signature=[
                    weights,
                    tf.TensorSpec(sizes, x.dtype),
                    tf.TensorSpec([None] * y.ndim, y.dtype),
                ],
            )

        self._trace = trace

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
            real, *columns = (column.numpy() for column in self._step(tensors, x, y))
            rows = start + np.nonzero(real)[0]
            parts.append((rows, *(column[real.reshape(-1)] for column in columns)))
        if not parts:
            empty = np.zeros(0, np.int32)
            return Predictions(
                empty.astype(np.int64),
                empty,
                empty,
                empty.astype(np.float32),
                empty.astype(np.float32),
            )
        return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))

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
        loss: mean cross-entropy in nats per prediction.
        accuracy: fraction of predictions that are the label.
        calibration: confidence and accuracy.
        predictions: what was predicted of each example.
        num_classes: number of classes.
    """

    loss: float
    accuracy: float
    calibration: Calibration
    predictions: Predictions
    num_classes: int

    @cached_property
    def confusion(self) -> Confusion:
        """Return which class was taken for which, and how often."""
        return Confusion.count(
            self.predictions.labels, self.predictions.predicted, self.num_classes
        )

    def metrics(self, split: str) -> dict[str, float]:
        """Return the figures by key, such as `test/accuracy`."""
        return {
            f"{split}/loss": self.loss,
            f"{split}/accuracy": self.accuracy,
            f"{split}/calibration_error": self.calibration.error,
        }


class Evaluator:
    """Evaluates weights on a fixed set of examples; the graph is traced once."""

    def __init__(self, model: ModelSpec, examples: Examples, batch_size: int | None = None) -> None:
        """Take the examples; they are evaluated `batch_size` at a time. Raises ModelError if there
        are none.
        """
        if not len(examples):
            raise ModelError(
                "evaluation: expected at least one example, found none. Raise "
                "data.central_test_examples."
            )
        self._predictor = Predictor(model, batch_size)
        self._examples = examples

    def evaluate(self, weights: Weights) -> Evaluation:
        """Return loss, accuracy, confusion and calibration of `weights`."""
        predictions = self._predictor.predict(weights, self._examples)
        hits = predictions.hits
        losses = predictions.losses.astype(np.float64)
        return Evaluation(
            loss=float(losses.mean()),
            accuracy=float(hits.mean()),
            calibration=calibrate(predictions.confidences, hits),
            predictions=predictions,
            num_classes=self._predictor.model.num_classes,
        )


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
