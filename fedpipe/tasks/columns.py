"""The columns of `Predictions`, in TensorFlow ops: only those that the task's metrics read, so that
many classes are evaluated in bounded memory.
"""

from typing import Any

import numpy as np

from fedpipe.tasks.predictions import Predictions
from fedpipe.tasks.task import Task
from fedpipe.tasks.training import (
    briers_of,
    confidences_of,
    log_losses_of,
    predicted_classes,
    ranks_of,
)


def columns_of(task: Task, outputs: Any, targets: Any) -> dict[str, Any]:
    """Return the columns of a batch by name, without `rows`.

    Args:
        task: says which.
        outputs: float32 [n, outputs].
        targets: as those of a `Loss`.
    """
    import tensorflow as tf

    needs = task.needs
    if not task.has_classes:
        none = tf.zeros(0, tf.int32)
        return {
            "labels": none,
            "predicted": none,
            "losses": task.loss(outputs, targets),
            "confidences": tf.zeros(0),
            "outputs": outputs,
            "targets": targets,
        }
    losses = task.loss(outputs, targets)
    columns = {
        "labels": targets,
        "predicted": predicted_classes(task.kind, outputs),
        "losses": losses,
        "confidences": confidences_of(task.kind, outputs),
    }
    if "outputs" in needs or task.kind == "binary":
        columns["outputs"] = outputs
    if "log_losses" in needs and not task.is_cross_entropy:
        columns["log_losses"] = log_losses_of(task.kind, outputs, targets)
    if "ranks" in needs:
        columns["ranks"] = ranks_of(outputs, targets)
    if "briers" in needs:
        columns["briers"] = briers_of(task.kind, outputs, targets)
    return columns


def no_predictions(task: Task) -> Predictions:
    """Return the predictions of no examples."""
    ints = np.zeros(0, np.int32)
    floats = np.zeros(0, np.float32)
    table = np.zeros((0, task.outputs), np.float32)
    needs = task.needs
    keeps_outputs = "outputs" in needs or task.kind not in ("classification", "tokens")
    keeps_logs = "log_losses" in needs and not task.is_cross_entropy
    return Predictions(
        rows=np.zeros(0, np.int64),
        labels=ints,
        predicted=ints,
        losses=floats,
        confidences=floats,
        outputs=table if keeps_outputs else None,
        targets=None if task.has_classes else table,
        log_losses=floats if keeps_logs else None,
        ranks=ints if "ranks" in needs else None,
        briers=floats if "briers" in needs else None,
    )
