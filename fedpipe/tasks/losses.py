"""The losses of a task, in TensorFlow ops; docs/tasks.md has the formulas."""

from collections.abc import Callable, Sequence
from typing import Any

from fedpipe.config.task import TaskConfig
from fedpipe.errors import ConfigError
from fedpipe.tasks.task import Loss

_OF_KERAS: dict[str, tuple[str, ...]] = {
    "classification": (
        "SparseCategoricalCrossentropy",
        "CategoricalCrossentropy",
        "CategoricalFocalCrossentropy",
        "CategoricalHinge",
    ),
    "binary": ("BinaryCrossentropy", "BinaryFocalCrossentropy", "Hinge", "SquaredHinge"),
    "multilabel": ("BinaryCrossentropy", "BinaryFocalCrossentropy", "Hinge", "SquaredHinge"),
    "regression": (
        "MeanSquaredError",
        "MeanAbsoluteError",
        "MeanAbsolutePercentageError",
        "MeanSquaredLogarithmicError",
        "Huber",
        "LogCosh",
        "Poisson",
        "CosineSimilarity",
    ),
    "tokens": ("SparseCategoricalCrossentropy",),
}
"""Classes of `tf.keras.losses` that are losses of outputs as fedpipe's models have them, which are
logits or numbers.
"""


def cross_entropy(
    outputs: int, smoothing: float = 0.0, weights: Sequence[float] | None = None
) -> Loss:
    """Return the cross-entropy of classes in nats.

    Args:
        outputs: number of classes.
        smoothing: part of each label's weight that is spread evenly over all classes (Szegedy et
            al. 2016, arXiv 1512.00567, section 7).
        weights: of each class.
    """

    def loss(logits: Any, targets: Any) -> Any:
        import tensorflow as tf

        if smoothing:
            one_hot = tf.one_hot(targets, outputs)
            spread = one_hot * (1.0 - smoothing) + smoothing / outputs
            losses = tf.nn.softmax_cross_entropy_with_logits(labels=spread, logits=logits)
        else:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        return _weighted(losses, targets, weights)

    return loss


def binary_cross_entropy(smoothing: float = 0.0, weights: Sequence[float] | None = None) -> Loss:
    """Return the cross-entropy of one label, or the mean over several, in nats.

    Args:
        smoothing: a label of 1 becomes 1 - smoothing / 2, one of 0 smoothing / 2.
        weights: of the two classes; of several labels that of each label.
    """

    def loss(logits: Any, targets: Any) -> Any:
        import tensorflow as tf

        labels = _as_column(targets)
        smooth = labels * (1.0 - smoothing) + smoothing / 2 if smoothing else labels
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=smooth, logits=logits)
        return _mean_of_labels(losses, targets, weights)

    return loss


def focal(gamma: float, of_classes: bool, weights: Sequence[float] | None = None) -> Loss:
    """Return the focal loss of Lin et al. 2017 (arXiv 1708.02002): -(1 - p)^gamma ln p, with p the
    probability of the label.

    Args:
        gamma: focusing parameter; with 0 it is the cross-entropy.
        of_classes: whether outputs are the logits of classes that exclude each other.
        weights: as those of `cross_entropy` and `binary_cross_entropy`.
    """

    def loss(logits: Any, targets: Any) -> Any:
        import tensorflow as tf

        if of_classes:
            negative_log = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=targets, logits=logits
            )
            losses = _focused(negative_log, gamma)
            return _weighted(losses, targets, weights)
        negative_log = tf.nn.sigmoid_cross_entropy_with_logits(
            labels=_as_column(targets), logits=logits
        )
        return _mean_of_labels(_focused(negative_log, gamma), targets, weights)

    return loss


def mse(outputs: Any, targets: Any) -> Any:
    """Return the squared error, the mean over targets."""
    import tensorflow as tf

    return tf.reduce_mean(tf.math.squared_difference(outputs, targets), axis=-1)


def mae(outputs: Any, targets: Any) -> Any:
    """Return the absolute error, the mean over targets."""
    import tensorflow as tf

    return tf.reduce_mean(tf.abs(outputs - targets), axis=-1)


def huber(delta: float) -> Loss:
    """Return the loss of Huber 1964, the mean over targets: e^2 / 2 of an error up to `delta`,
    delta (|e| - delta / 2) above.
    """

    def loss(outputs: Any, targets: Any) -> Any:
        import tensorflow as tf

        error = tf.abs(outputs - targets)
        inner = tf.minimum(error, delta)
        return tf.reduce_mean(inner * inner / 2 + delta * (error - inner), axis=-1)

    return loss


def keras_loss(name: str, task: TaskConfig, outputs: int) -> Loss:
    """Return a class of `tf.keras.losses` as a loss of each example, from logits where it takes
    them.

    Raises:
        ConfigError: there is no such class, or it is no loss of such labels.
    """
    import inspect

    import tensorflow as tf

    known = _OF_KERAS[task.kind]
    if name not in known:
        from fedpipe.errors import did_you_mean

        raise ConfigError(
            f"task.loss={name}: expected a class of tf.keras.losses for task.kind={task.kind}, "
            f"which are {', '.join(known)}, found another. {did_you_mean(name, known)}".rstrip()
        )
    kind = getattr(tf.keras.losses, name)
    arguments: dict[str, Any] = {"reduction": "none"}
    if "from_logits" in inspect.signature(kind).parameters:
        arguments["from_logits"] = True
    instance = kind(**arguments)
    one_hot = name.startswith("Categorical")

    def loss(values: Any, targets: Any) -> Any:
        if one_hot:
            targets = tf.one_hot(targets, outputs)
        elif task.kind == "binary":
            targets = _as_column(targets)
        return instance(targets, values)

    return loss


def named_loss(task: TaskConfig, outputs: int, class_weights: Sequence[float] | None) -> Loss:
    """Return the loss that one of fedpipe's names stands for."""
    smoothing = task.label_smoothing
    losses: dict[str, Callable[[], Loss]] = {
        "cross_entropy": lambda: cross_entropy(outputs, smoothing, class_weights),
        "binary_cross_entropy": lambda: binary_cross_entropy(smoothing, class_weights),
        "focal": lambda: focal(task.gamma, task.kind == "classification", class_weights),
        "mse": lambda: mse,
        "mae": lambda: mae,
        "huber": lambda: huber(task.delta),
    }
    return losses[task.loss_name]()


def classes_of(task: TaskConfig, outputs: int) -> int:
    """Return the number of classes, labels or targets; of binary 2."""
    if task.kind == "binary":
        return 2
    return outputs


def _as_column(targets: Any) -> Any:
    """Return float32 targets [n, outputs]: labels 0 or 1 [n] as one column."""
    import tensorflow as tf

    if targets.shape.rank == 1:
        targets = targets[:, tf.newaxis]
    return tf.cast(targets, tf.float32)


def _focused(negative_log: Any, gamma: float) -> Any:
    import tensorflow as tf

    if not gamma:
        return negative_log
    missing = -tf.math.expm1(-negative_log)  # 1 - p
    # The gradient of x^gamma at 0 is not finite where gamma is below 1.
    return tf.pow(tf.maximum(missing, 1e-7), gamma) * negative_log


def _weighted(losses: Any, labels: Any, weights: Sequence[float] | None) -> Any:
    if weights is None:
        return losses
    import tensorflow as tf

    return losses * tf.gather(tf.constant(list(weights), tf.float32), labels)


def _mean_of_labels(losses: Any, targets: Any, weights: Sequence[float] | None) -> Any:
    """Return [n], the mean over labels of losses [n, labels]; weights are of the two classes where
    targets are labels [n], else of the labels.
    """
    import tensorflow as tf

    if targets.shape.rank == 1:
        return _weighted(losses[:, 0], targets, weights)
    if weights is not None:
        losses = losses * tf.constant(list(weights), tf.float32)
    return tf.reduce_mean(losses, axis=-1)
