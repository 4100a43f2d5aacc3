"""Gradients of one batch, and the counts of its losses and correct predictions."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fedpipe.models import ModelSpec
from fedpipe.tasks import Task
from fedpipe.tasks.training import predicted_classes


def gradients_and_counts(
    model: ModelSpec,
    weights: list[Any],
    x: Any,
    y: Any,
    seed: Any,
    step: Any,
    task: Task | None = None,
) -> tuple[list[Any], list[Any]]:
    """Return the gradients of the batch's mean loss, and its sums: losses, correct predictions,
    where the model has targets predictions, and the sums of the task's metrics.

    The op that computes the losses also returns their gradient by the logits; taking that, not
    differentiating the mean, and counting in floats (exact below 2**24) saves a dozen ops a step,
    each of which costs as much as a small product.

    Args:
        model: its logits are differentiated.
        weights: in the model's order.
        x: features [n, *shape] as the model takes them.
        y: int32 labels [n], or float32 targets [n, targets].
        seed: int64 scalar, the client's in this round, for what is dropped.
        step: int64 scalar, the number of the step.
        task: what is learned; None: to tell classes apart.
    """
    with tf.GradientTape() as tape:
        tape.watch(weights)
        logits = _training_logits(model, weights, x, seed, step)
    if task is not None and not (task.is_cross_entropy and not task.training_sums):
        return _of_task(task, model, tape, weights, logits, x, y)
    if model.targets is not None:
        return _over_real_predictions(tape, weights, logits, *model.targets(x, y))
    losses, by_logits = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=y)
    gradients = _differentiate(tape, logits, weights, by_logits / tf.cast(tf.size(y), tf.float32))
    hits = tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), y), tf.float32)
    return gradients, [tf.reduce_sum(losses), tf.cast(tf.reduce_sum(hits), tf.int64)]


def _of_task(
    task: Task, model: ModelSpec, tape: Any, weights: list[Any], outputs: Any, x: Any, y: Any
) -> tuple[list[Any], list[Any]]:
    """Return the same for any loss and any metrics."""
    flat = tf.reshape(outputs, (-1, task.outputs))
    targets = y
    counts = None
    if model.targets is not None:
        targets, real = model.targets(x, y)
        targets = tf.reshape(targets, [-1])
        counts = tf.cast(tf.reshape(real, [-1]), tf.float32)
    with tf.GradientTape() as of_loss:
        of_loss.watch(flat)
        losses = task.loss(flat, targets)
        if counts is not None:
            losses = losses * counts
        total = tf.reduce_sum(losses)
    predictions = tf.cast(tf.shape(flat)[0], tf.float32)
    if counts is not None:
        predictions = tf.reduce_sum(counts)
    by_outputs = of_loss.gradient(total, flat) / tf.maximum(predictions, 1.0)
    gradients = _differentiate(tape, outputs, weights, tf.reshape(by_outputs, tf.shape(outputs)))
    correct = tf.zeros((), tf.int64)
    if task.has_classes:
        is_right = tf.equal(predicted_classes(task.kind, flat), targets)
        hits = tf.cast(is_right, tf.float32)
        if counts is not None:
            hits = hits * counts
        correct = tf.cast(tf.reduce_sum(hits), tf.int64)
    sums = [total, correct]
    if counts is not None:
        sums.append(tf.cast(predictions, tf.int64))
    return gradients, sums + [
        metric.of_batch(flat, targets, counts) for metric in task.training_sums
    ]


def _training_logits(model: ModelSpec, weights: list[Any], x: Any, seed: Any, step: Any) -> Any:
    if model.train_logits is None:
        return model.logits(weights, x)
    return model.train_logits(weights, x, tf.stack([seed, step + 1]))  # 0 draws the orders


def _over_real_predictions(
    tape: Any, weights: list[Any], logits: Any, labels: Any, real: Any
) -> tuple[list[Any], list[Any]]:
    """Return the same for logits [n, length, classes], over the predictions that are `real`
    alone.
    """
    flat = tf.reshape(logits, (-1, logits.shape[-1]))
    counts = tf.cast(tf.reshape(real, [-1]), tf.float32)
    labels = tf.reshape(labels, [-1])
    losses, by_logits = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=flat, labels=labels)
    predictions = tf.reduce_sum(counts)
    by_logits = by_logits * counts[:, tf.newaxis] / tf.maximum(predictions, 1.0)
    gradients = _differentiate(tape, logits, weights, tf.reshape(by_logits, tf.shape(logits)))
    hits = (
        tf.cast(tf.equal(tf.argmax(flat, axis=-1, output_type=tf.int32), labels), tf.float32)
        * counts
    )
    sums = [
        tf.reduce_sum(losses * counts),
        tf.cast(tf.reduce_sum(hits), tf.int64),
        tf.cast(predictions, tf.int64),
    ]
    return gradients, sums


def _differentiate(tape: Any, logits: Any, weights: Sequence[Any], by_logits: Any) -> list[Any]:
    """Return the gradients by the weights as tensors: zeros for a weight that the logits do not
    depend on, such as a frozen one.
    """
    zero = tf.UnconnectedGradients.ZERO
    gradients = tape.gradient(
        logits, weights, output_gradients=by_logits, unconnected_gradients=zero
    )
    # that of an embedding comes as the rows that were used
    return [tf.convert_to_tensor(gradient) for gradient in gradients]
