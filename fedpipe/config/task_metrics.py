"""The named metrics of a task: which kinds of labels each is of, and which way of it is better."""

import re
from collections.abc import Iterable
from typing import Literal

from fedpipe.config.base import OWN_FUNCTION
from fedpipe.errors import did_you_mean

TaskKind = Literal["classification", "binary", "multilabel", "regression", "tokens"]

_CLASSES: tuple[TaskKind, ...] = ("classification", "binary", "tokens")
_SCORED: tuple[TaskKind, ...] = ("classification", "binary", "multilabel")
_ALL_CLASSES: tuple[TaskKind, ...] = ("classification", "binary", "multilabel", "tokens")

METRICS: dict[str, tuple[TaskKind, ...]] = {
    "accuracy": _ALL_CLASSES,
    "balanced_accuracy": ("classification", "binary"),
    "precision": ("binary",),
    "recall": ("binary",),
    "f1": ("binary",),
    "precision_macro": _SCORED,
    "recall_macro": _SCORED,
    "f1_macro": _SCORED,
    "precision_micro": _SCORED,
    "recall_micro": _SCORED,
    "f1_micro": _SCORED,
    "auroc": _SCORED,
    "auprc": _SCORED,
    "log_loss": _ALL_CLASSES,
    "brier": _SCORED,
    "calibration_error": _CLASSES,
    "rmse": ("regression",),
    "mae": ("regression",),
    "r2": ("regression",),
    "perplexity": ("tokens",),
}
"""The named metrics, and the kinds of task that each is of; `top_5_accuracy` with any number is
another, of classes and tokens.
"""

OWN_METRICS: dict[TaskKind, tuple[str, ...]] = {
    "classification": ("accuracy", "calibration_error"),
    "binary": ("accuracy", "auroc", "f1", "log_loss"),
    "multilabel": ("f1_macro", "f1_micro", "auroc"),
    "regression": ("rmse", "mae", "r2"),
    "tokens": ("accuracy", "perplexity"),
}
"""The metrics of each kind that are there without being asked for."""

_LOWER = {"loss", "log_loss", "brier", "calibration_error", "rmse", "mae", "perplexity"}
_TOP = re.compile(r"top_([1-9][0-9]{0,5})_accuracy")
_KERAS = re.compile(r"[A-Z][A-Za-z0-9]*")
_LOWER_OF_KERAS = re.compile(
    r"Error|Loss|Crossentropy|Hinge|Divergence|Poisson|LogCosh|FalsePositives|FalseNegatives"
)


def metric_key(name: str) -> str:
    """Return what a metric is called after the split: its name, or the function's.

    >>> metric_key("auroc"), metric_key("hospital.scores:cost")
    ('auroc', 'cost')
    """
    return name.rpartition(":")[2]


def is_own_metric(name: str) -> bool:
    """Return whether a metric is `module:function`."""
    return OWN_FUNCTION.fullmatch(name) is not None


def is_keras_metric(name: str) -> bool:
    """Return whether a metric is a class of `tf.keras.metrics`."""
    return _KERAS.fullmatch(name) is not None


def top_of(name: str) -> int | None:
    """Return the 5 of `top_5_accuracy`; None of other metrics."""
    match = _TOP.fullmatch(name)
    return int(match[1]) if match else None


def is_higher_better(name: str) -> bool:
    """Return whether a higher value of a metric is better, judged by its name. The name may have an
    ending, such as `_mean` or a target. A function of the user's own says it itself.

    >>> is_higher_better("auroc"), is_higher_better("rmse_mean"), is_higher_better("MeanSquaredError")
    (True, False, False)
    """
    if name[:1].isupper():
        return _LOWER_OF_KERAS.search(name) is None
    return not any(name == lower or name.startswith(f"{lower}_") for lower in _LOWER)


def metric_names(kind: TaskKind, listed: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a task's metrics: the kind's own, then those of `task.metrics`."""
    return tuple(dict.fromkeys((*OWN_METRICS[kind], *listed)))


def problem_of_metric(name: str, kind: TaskKind) -> str | None:
    """Return why a task of this kind cannot have a metric, None if it can.

    >>> problem_of_metric("rmse", "binary")
    'task.metrics: rmse is of task.kind=regression, found task.kind=binary. Remove it.'
    """
    if is_own_metric(name) or is_keras_metric(name):
        return None
    kinds = _CLASSES if top_of(name) else METRICS.get(name)
    if kinds is None:
        known = [metric for metric, of in METRICS.items() if kind in of]
        return (
            f"task.metrics: unknown metric '{name}'. {did_you_mean(name, known)} Metrics of "
            f"task.kind={kind}: {', '.join(known)}; a class of tf.keras.metrics; "
            "mypackage.module:function."
        )
    if top_of(name) and kind == "binary":
        kinds = ("classification", "tokens")
    if kind not in kinds:
        return (
            f"task.metrics: {name} is of task.kind={' or '.join(kinds)}, found task.kind={kind}. "
            "Remove it."
        )
    return None
