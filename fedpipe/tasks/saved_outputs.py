"""What a saved model predicts, by the kind of its task: probabilities of classes or labels, or
numbers.
"""

from collections.abc import Callable
from typing import Any

from fedpipe.config.task import TaskKind

PREDICTION_NAMES: dict[TaskKind, str] = {
    "classification": "probabilities",
    "binary": "probability",
    "multilabel": "probabilities",
    "regression": "predictions",
    "tokens": "probabilities",
}
"""Name of the output of a saved model: the probability of each class, label or next token, that of
the positive class, or the number of each target.
"""

_LEAST_PROBABILITY = 1e-38
_LEAST_OF_TWO = 1e-7
"""Nearest that a probability of two classes comes to 0 or 1 as a float32."""


def predicted(kind: TaskKind, outputs: Any) -> Any:
    """Return what the model predicts, in TensorFlow ops.

    Args:
        kind: of the task.
        outputs: float32 [..., outputs], of the model: logits or numbers.

    Returns:
        float32 [..., outputs]: probabilities that add up to 1 of classes and tokens, a probability
        for each label or of the positive class, and numbers as they are.
    """
    import tensorflow as tf

    functions: dict[TaskKind, Callable[[Any], Any]] = {
        "binary": tf.nn.sigmoid,
        "multilabel": tf.nn.sigmoid,
        "regression": tf.identity,
    }
    return functions.get(kind, tf.nn.softmax)(outputs)


def outputs_of(kind: TaskKind, predictions: Any) -> Any:
    """Return outputs of which `predicted` makes these predictions, in TensorFlow ops."""
    import tensorflow as tf

    if kind == "regression":
        return predictions
    if kind in ("binary", "multilabel"):
        inner = tf.clip_by_value(predictions, _LEAST_OF_TWO, 1 - _LEAST_OF_TWO)
        return tf.math.log(inner) - tf.math.log1p(-inner)
    return tf.math.log(tf.maximum(predictions, _LEAST_PROBABILITY))
