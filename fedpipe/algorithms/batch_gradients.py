"""Gradients of one batch, and the counts of its losses and correct predictions."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fedpipe.models import ModelSpec


def gradients_and_counts(
    model: ModelSpec, weights: list[Any], x: Any, y: Any, seed: Any, step: Any
) -> tuple[list[Any], list[Any]]:
    """Return the gradients of the batch's mean loss, and its sums: losses, correct predictions,
    and, where the model has targets, predictions.

    The op that computes the losses also returns their gradient by the logits; taking that, not
    differentiating the mean, and counting in floats (exact below 2**24) saves a dozen ops a step,
    each of which costs as much as a small product.

    Args:
        model: its logits are differentiated.
        weights: in the model's order.
        x: features [n, *shape] as the model takes them.
        y: int32 labels [n].
        seed: int64 scalar, the client's in this round, for what is dropped.
        step: int64 scalar, the number of the step.
    """
    with tf.GradientTape() as tape:
        tape.watch(weights)
        logits = _training_logits(model, weights, x, seed, step)
    if model.targets is not None:
        return _over_real_predictions(tape, weights, logits, *model.targets(x, y))
    losses, by_logits = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=y)
    gradients = _differentiate(tape, logits, weights, by_logits / tf.cast(tf.size(y), tf.float32))
    hits = tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), y), tf.float32)
    return gradients, [tf.reduce_sum(losses), tf.cast(tf.reduce_sum(hits), tf.int64)]


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
