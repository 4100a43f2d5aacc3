"""Sums of metrics that clients add up while they train, in TensorFlow ops.

Each batch is counted under the weights before its step, as `train/loss` and `train/accuracy` are.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind
from fedpipe.tasks.task import TrainingSums

SCORE_BINS = 200
"""Bins of a score while training: equal widths of a probability. Areas under curves are then right
to about a hundredth; those of an evaluation are exact.
"""


def mean_sums(name: str, values: Any) -> TrainingSums:
    """Return the sums of a mean over predictions.

    Args:
        name: of the metric.
        values: (outputs, targets) -> one value for each prediction, [n].
    """

    def of_batch(outputs: Any, targets: Any, counts: Any) -> Any:
        import tensorflow as tf

        each = tf.cast(values(outputs, targets), tf.float64)
        weight = _weight(counts, each, tf.float64)
        return tf.stack([tf.reduce_sum(each * weight), tf.reduce_sum(weight)])

    return TrainingSums(f"mean_of_{name}", (2,), "float64", of_batch, np.asarray)


def count_sums(kind: TaskKind, classes: int) -> TrainingSums:
    """Return int64 [3, classes]: right predictions, predictions and labels of each class."""

    def of_batch(outputs: Any, targets: Any, counts: Any) -> Any:
        import tensorflow as tf

        if kind == "multilabel":
            has_label = targets > 0.5
            predicted = outputs > 0
            both = tf.logical_and(has_label, predicted)
            rows = [
                tf.reduce_sum(tf.cast(row, tf.int64), axis=0)
                for row in (both, predicted, has_label)
            ]
            return tf.stack(rows)
        guesses = predicted_classes(kind, outputs)
        weight = _weight(counts, targets, tf.int32)
        right = weight * tf.cast(tf.equal(guesses, targets), tf.int32)
        rows = [
            tf.math.unsorted_segment_sum(weights, values, classes)
            for weights, values in ((right, targets), (weight, guesses), (weight, targets))
        ]
        return tf.cast(tf.stack(rows), tf.int64)

    return TrainingSums("counts", (3, classes), "int64", of_batch, np.asarray)


def ranking_sums(kind: TaskKind, columns: int) -> TrainingSums:
    """Return int64 [2, columns, bins]: positive and negative examples by probability."""

    def of_batch(outputs: Any, targets: Any, counts: Any) -> Any:
        import tensorflow as tf

        del counts
        if kind == "classification":
            scores = tf.nn.softmax(outputs)
            positive = tf.cast(tf.one_hot(targets, columns), tf.int64)
        else:
            scores = tf.sigmoid(outputs)
            positive = _labels(kind, targets, tf.int64)
        # NaN has no bin: a negative number is left out of the sums.
        bins = tf.where(tf.math.is_nan(scores), -1.0, scores * SCORE_BINS)
        bins = tf.minimum(tf.cast(tf.floor(bins), tf.int32), SCORE_BINS - 1)
        places = tf.where(bins < 0, -1, tf.range(columns) * SCORE_BINS + bins)
        flat = tf.reshape(places, [-1])
        rows = [
            tf.math.unsorted_segment_sum(tf.reshape(row, [-1]), flat, columns * SCORE_BINS)
            for row in (positive, 1 - positive)
        ]
        return tf.reshape(tf.stack(rows), (2, columns, SCORE_BINS))

    def to_sums(counts: npt.NDArray[Any]) -> Any:
        from fedpipe.tasks.metrics import Histogram

        positives, negatives = np.asarray(counts)
        bins = np.arange(SCORE_BINS)
        return [Histogram(bins, *column) for column in zip(positives, negatives, strict=True)]

    return TrainingSums("ranking", (2, columns, SCORE_BINS), "int64", of_batch, to_sums)


def error_sums(targets: int) -> TrainingSums:
    """Return float64 [5, targets]: examples, targets, squares of them, squared and absolute errors."""

    def of_batch(outputs: Any, values: Any, counts: Any) -> Any:
        import tensorflow as tf

        del counts
        values = tf.cast(values, tf.float64)
        errors = tf.cast(outputs, tf.float64) - values
        rows = (tf.ones_like(values), values, values * values, errors * errors, tf.abs(errors))
        return tf.stack([tf.reduce_sum(row, axis=0) for row in rows])

    def to_sums(sums: npt.NDArray[Any]) -> Any:
        count, total, squares, squared, absolute = np.asarray(sums)
        mean = total / np.maximum(count, 1)
        deviations = np.maximum(squares - total * mean, 0.0)
        return np.stack([count, mean, deviations, squared, absolute])

    return TrainingSums("errors", (5, targets), "float64", of_batch, to_sums)


def calibration_sums(kind: TaskKind) -> TrainingSums:
    """Return float64 [3, 15]: predictions, right ones, and the sum of confidences of each bin."""
    from fedpipe.tasks.metrics import CALIBRATION_BINS

    def of_batch(outputs: Any, targets: Any, counts: Any) -> Any:
        import tensorflow as tf

        confidences = tf.cast(confidences_of(kind, outputs), tf.float64)
        weight = _weight(counts, confidences, tf.float64)
        hits = weight * tf.cast(tf.equal(predicted_classes(kind, outputs), targets), tf.float64)
        bins = tf.cast(tf.math.ceil(confidences * CALIBRATION_BINS), tf.int32) - 1
        bins = tf.clip_by_value(bins, 0, CALIBRATION_BINS - 1)
        return tf.stack(
            [
                tf.math.unsorted_segment_sum(row, bins, CALIBRATION_BINS)
                for row in (weight, hits, weight * confidences)
            ]
        )

    return TrainingSums("calibration", (3, CALIBRATION_BINS), "float64", of_batch, np.asarray)


def predicted_classes(kind: TaskKind, outputs: Any) -> Any:
    """Return int32 [n], the predicted classes of outputs [n, outputs]."""
    import tensorflow as tf

    if kind == "binary":
        return tf.cast(outputs[:, 0] > 0, tf.int32)
    return tf.argmax(outputs, axis=-1, output_type=tf.int32)


def confidences_of(kind: TaskKind, outputs: Any) -> Any:
    """Return float32 [n], the probabilities of the predicted classes."""
    import tensorflow as tf

    if kind == "binary":
        return tf.sigmoid(tf.abs(outputs[:, 0]))
    return tf.exp(tf.reduce_max(outputs, axis=-1) - tf.reduce_logsumexp(outputs, axis=-1))


def log_losses_of(kind: TaskKind, outputs: Any, targets: Any) -> Any:
    """Return float32 [n], the cross-entropy of predictions in nats; of labels the mean."""
    import tensorflow as tf

    if kind in ("binary", "multilabel"):
        labels = _labels(kind, targets, tf.float32)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=outputs)
        return tf.reduce_mean(losses, axis=-1)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=outputs)


def briers_of(kind: TaskKind, outputs: Any, targets: Any) -> Any:
    """Return float32 [n], squared distances of the probabilities from the labels."""
    import tensorflow as tf

    if kind in ("binary", "multilabel"):
        labels = _labels(kind, targets, tf.float32)
        return tf.reduce_mean(tf.math.squared_difference(tf.sigmoid(outputs), labels), axis=-1)
    shares = tf.nn.softmax(outputs)
    of_label = tf.gather(shares, targets, batch_dims=1)
    return tf.reduce_sum(shares * shares, axis=-1) - 2 * of_label + 1


def label_hits_of(outputs: Any, targets: Any) -> Any:
    """Return float32 [n], the fraction of each example's labels that is right."""
    import tensorflow as tf

    return tf.reduce_mean(tf.cast(tf.equal(outputs > 0, targets > 0.5), tf.float32), axis=-1)


def ranks_of(outputs: Any, targets: Any) -> Any:
    """Return int32 [n], the number of logits above the label's; of a label's that is NaN the number
    of classes.
    """
    import tensorflow as tf

    of_label = tf.gather(outputs, targets, batch_dims=1)
    above = tf.reduce_sum(tf.cast(outputs > of_label[:, tf.newaxis], tf.int32), axis=-1)
    return tf.where(tf.math.is_nan(of_label), tf.shape(outputs)[1], above)


def _weight(counts: Any, like: Any, dtype: Any) -> Any:
    """Return 1 for each prediction that counts, else 0; without `counts` all do."""
    import tensorflow as tf

    if counts is None:
        return tf.ones_like(like, dtype)
    return tf.cast(counts, dtype)


def _labels(kind: TaskKind, targets: Any, dtype: Any) -> Any:
    """Return labels 0 or 1 [n, labels]; those of binary are one column."""
    import tensorflow as tf

    if kind == "binary":
        targets = targets[:, tf.newaxis]
    return tf.cast(targets, dtype)
