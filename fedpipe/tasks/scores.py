"""Probabilities and scores that follow from a model's outputs, in NumPy."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind

Floats = npt.NDArray[np.float64]


def sigmoid(logits: npt.NDArray[Any]) -> Floats:
    """Return 1 / (1 + exp(-logits)), float64, without overflow.

    >>> sigmoid(np.array([0.0, 1000.0])).tolist()
    [0.5, 1.0]
    """
    values = logits.astype(np.float64)
    small = np.exp(-np.abs(values))
    probabilities: Floats = np.where(values >= 0, 1.0, small) / (1.0 + small)
    return probabilities


def softmax(logits: npt.NDArray[Any]) -> Floats:
    """Return the probabilities of classes, float64 [n, classes]."""
    values = logits.astype(np.float64)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def probabilities(kind: TaskKind, outputs: npt.NDArray[Any]) -> Floats:
    """Return float64 [n, outputs]: of classes their probabilities, of binary that of the positive
    class, of multilabel that of each label; of regression the outputs themselves.
    """
    if kind == "regression":
        return outputs.astype(np.float64)
    if kind in ("binary", "multilabel"):
        return sigmoid(outputs)
    return softmax(outputs)


def label_losses(outputs: npt.NDArray[Any], targets: npt.NDArray[Any]) -> Floats:
    """Return the cross-entropy in nats of each label, float64 [n, labels], of logits and targets 0
    or 1.
    """
    values = outputs.astype(np.float64)
    losses: Floats = np.maximum(values, 0) - values * targets + np.log1p(np.exp(-np.abs(values)))
    return losses
