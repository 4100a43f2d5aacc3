"""Losses and metrics of the user's own, `mypackage.module:function`, and metrics of Keras."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskConfig
from fedpipe.config.task_metrics import is_higher_better, is_own_metric, metric_key
from fedpipe.errors import ConfigError, did_you_mean
from fedpipe.seeding import generator
from fedpipe.system.user_code import import_own, own_code
from fedpipe.system.user_options import OptionsReader, read_options
from fedpipe.tasks.losses import classes_of
from fedpipe.tasks.metrics import OfAllExamples
from fedpipe.tasks.scores import probabilities
from fedpipe.tasks.task import Loss

_TRIED = 6
"""Examples that a loss or metric of the user's own is tried with."""

_KERAS_METRICS: dict[str, tuple[str, ...]] = {
    "classification": (
        "SparseCategoricalAccuracy",
        "SparseCategoricalCrossentropy",
        "SparseTopKCategoricalAccuracy",
        "CategoricalAccuracy",
        "CategoricalCrossentropy",
        "CategoricalHinge",
        "TopKCategoricalAccuracy",
        "KLDivergence",
        "F1Score",
        "FBetaScore",
    ),
    "binary": (
        "AUC",
        "BinaryAccuracy",
        "BinaryCrossentropy",
        "F1Score",
        "FBetaScore",
        "FalseNegatives",
        "FalsePositives",
        "Hinge",
        "Precision",
        "Recall",
        "SquaredHinge",
        "TrueNegatives",
        "TruePositives",
    ),
    "multilabel": (
        "AUC",
        "BinaryAccuracy",
        "BinaryCrossentropy",
        "F1Score",
        "FBetaScore",
        "FalseNegatives",
        "FalsePositives",
        "Precision",
        "Recall",
        "TrueNegatives",
        "TruePositives",
    ),
    "regression": (
        "CosineSimilarity",
        "LogCoshError",
        "MeanAbsoluteError",
        "MeanAbsolutePercentageError",
        "MeanSquaredError",
        "MeanSquaredLogarithmicError",
        "Poisson",
        "R2Score",
        "RootMeanSquaredError",
    ),
    "tokens": (
        "SparseCategoricalAccuracy",
        "SparseCategoricalCrossentropy",
        "SparseTopKCategoricalAccuracy",
    ),
}
"""Classes of `tf.keras.metrics` that need no argument and are metrics of such labels."""


def own_loss(where: str, task: TaskConfig, outputs: int, project: Path | None) -> Loss:
    """Return the loss `module:function`, tried once.

    Raises:
        ConfigError: it cannot be imported, raises, takes no such options, or does not return one
            loss for each example that can be differentiated.
    """
    import tensorflow as tf

    setting = "task.loss"
    function, options = _function_and_options(where, task, project)

    def loss(values: Any, targets: Any) -> Any:
        return tf.cast(function(values, targets, **options), tf.float32)

    outputs_tried, targets = example_targets(task, outputs)
    values = tf.constant(outputs_tried)
    with own_code(f"{setting}={where}", ConfigError, "computing it for 6 examples"):
        with tf.GradientTape() as tape:
            tape.watch(values)
            losses = tf.convert_to_tensor(function(values, tf.constant(targets), **options))
            total = tf.reduce_sum(tf.cast(losses, tf.float32))
        gradient = tape.gradient(total, values)
    if losses.shape != (_TRIED,):
        raise ConfigError(
            f"{setting}={where}: expected one loss for each of {_TRIED} examples, shape "
            f"[{_TRIED}], found {list(losses.shape)}. Outputs have shape "
            f"{list(values.shape)}, targets {list(targets.shape)}."
        )
    if not losses.dtype.is_floating:
        raise ConfigError(
            f"{setting}={where}: expected losses of a float dtype, found {losses.dtype.name}."
        )
    if gradient is None:
        raise ConfigError(
            f"{setting}={where}: expected a loss that can be differentiated by the outputs, found "
            "none. Compute it of the outputs, in TensorFlow ops."
        )
    return loss


def own_metric(where: str, task: TaskConfig, outputs: int, project: Path | None) -> OfAllExamples:
    """Return the metric `module:function`, tried once.

    Raises:
        ConfigError: it cannot be imported, raises, takes no such options, or returns no number.
    """
    setting = "task.metrics"
    function, options = _function_and_options(where, task, project)
    name = f"{setting}={where}"

    def value(values: npt.NDArray[Any], targets: npt.NDArray[Any]) -> float | None:
        with own_code(name, ConfigError, "computing it"):
            result = function(values, targets, **options)
        if result is None:
            return None
        try:
            return float(result)
        except (TypeError, ValueError) as err:
            raise ConfigError(
                f"{name}: expected a number or None, found {type(result).__name__} "
                f"{str(result)[:60]!r}."
            ) from err

    value(*example_targets(task, outputs))
    higher = bool(getattr(function, "higher_is_better", True))
    return OfAllExamples(metric_key(where), higher, value)


def keras_metric(name: str, task: TaskConfig, outputs: int) -> OfAllExamples:
    """Return a class of `tf.keras.metrics` with its default arguments; it is given probabilities,
    of regression the outputs.

    Raises:
        ConfigError: there is no such class, or it is no metric of such labels.
    """
    known = _KERAS_METRICS[task.kind]
    if name not in known:
        raise ConfigError(
            f"task.metrics: expected a class of tf.keras.metrics for task.kind={task.kind}, which "
            f"are {', '.join(known)}, found '{name}'. {did_you_mean(name, known)}".rstrip()
        )
    one_hot = task.kind == "classification" and not name.startswith("Sparse")

    def value(values: npt.NDArray[Any], targets: npt.NDArray[Any]) -> float | None:
        import tensorflow as tf

        arguments = {}
        if name in ("F1Score", "FBetaScore") and task.kind in ("binary", "multilabel"):
            arguments["threshold"] = 0.5  # else the largest label alone is predicted
        metric = getattr(tf.keras.metrics, name)(**arguments)
        if one_hot:
            targets = np.eye(outputs, dtype=np.float32)[targets]
        elif targets.ndim == 1 and task.kind == "binary":
            targets = targets[:, np.newaxis].astype(np.float32)
        metric.update_state(targets, probabilities(task.kind, values).astype(np.float32))
        result = float(np.mean(metric.result().numpy()))
        return None if math.isnan(result) else result

    return OfAllExamples(name, is_higher_better(name), value)


def _function_and_options(
    where: str, task: TaskConfig, project: Path | None
) -> tuple[Any, Mapping[str, Any]]:
    """Return a function of the user's own, and those of `task.options` that it takes by name beside
    outputs and targets.

    Raises:
        ConfigError: it cannot be imported; or none of the task's functions takes an option, or one
            that has no default is missing, or is of another type.
    """
    settings = {task.loss_name: "task.loss"} | dict.fromkeys(task.metrics, "task.metrics")
    own = {name: of for name, of in settings.items() if is_own_metric(name)}
    functions = {name: import_own(name, project, of, ConfigError) for name, of in own.items()}
    readers = [OptionsReader(f"{own[name]}={name}", functions[name], 2) for name in own]
    options = read_options("task.options", task.options, readers, ConfigError)
    return functions[where], dict(zip(own, options, strict=True))[where]


def example_targets(
    task: TaskConfig, outputs: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Return outputs float32 [6, outputs] and targets of the kind, drawn."""
    rng = generator(0, "a loss is tried")
    values = rng.normal(size=(_TRIED, outputs)).astype(np.float32)
    if task.kind == "regression":
        return values, rng.normal(size=(_TRIED, outputs)).astype(np.float32)
    alternating = np.arange(_TRIED) % 2
    if task.kind == "multilabel":
        return values, np.repeat(alternating[:, np.newaxis], outputs, 1).astype(np.float32)
    classes = classes_of(task, outputs)
    return values, (np.arange(_TRIED) % classes).astype(np.int32)
