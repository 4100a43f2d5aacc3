"""Centralized evaluation: a model's weights on pooled examples, in this process, in TensorFlow."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.errors import ModelError
from fedpipe.models.spec import ModelSpec
from fedpipe.types import Examples, Weights


def to_input(x: Any) -> Any:
    """Return features as a model takes them: uint8 divided by 255, float32 and int32 as they are. Here pixels become numbers."""
    import tensorflow as tf

    return tf.cast(x, tf.float32) / 255.0 if x.dtype in (tf.uint8, np.uint8) else tf.convert_to_tensor(x)


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation.

    Attributes:
        loss: mean cross-entropy in nats per example.
        accuracy: fraction of examples whose largest logit is the label's.
        confusion: int64 [classes, classes]; row = label, column = prediction.
    """

    loss: float
    accuracy: float
    confusion: npt.NDArray[np.int64]


class Evaluator:
    """Evaluates weights on a fixed set of examples; the graph is traced once."""

    def __init__(self, model: ModelSpec, examples: Examples, batch_size: int = 1000) -> None:
        """Take the examples; they are evaluated `batch_size` at a time. Raises ModelError if there are none."""
        if not len(examples):
            raise ModelError("evaluation: expected at least one example, found none. Raise data.central_test_examples.")
        import tensorflow as tf

        self._model, self._examples, self._batch_size = model, examples, batch_size

        def step(weights: Any, x: Any, y: Any) -> Any:
            logits = model.logits(weights, to_input(x))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
            return tf.reduce_sum(tf.cast(losses, tf.float64)), tf.argmax(logits, axis=-1, output_type=tf.int32)

        self._step = tf.function(step, reduce_retracing=True)

    def evaluate(self, weights: Weights) -> Evaluation:
        """Return loss, accuracy and confusion matrix of `weights`."""
        tensors = [weights[name] for name in self._model.tensor_names]
        classes = self._model.num_classes
        confusion = np.zeros((classes, classes), np.int64)
        total = 0.0
        for start in range(0, len(self._examples), self._batch_size):
            x, y = self._examples.x[start : start + self._batch_size], self._examples.y[start : start + self._batch_size]
            loss, predicted = self._step(tensors, x, y)
            total += float(loss)
            np.add.at(confusion, (y, predicted.numpy()), 1)
        count = len(self._examples)
        return Evaluation(total / count, float(np.trace(confusion)) / count, confusion)
