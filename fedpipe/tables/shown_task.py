"""The task of a run as reports and pictures show it: which metric is in front, and what metrics are
called.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedpipe.config.task import DEFAULT_CHOOSE_BY, DEFAULT_LOSS, TASK_KINDS, TaskConfig, TaskKind

_MOST_METRICS = 6
_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "f1": "F1",
    "mae": "MAE",
    "r2": "R2",
    "rmse": "RMSE",
}
_MEANS = {"_macro": " (macro)", "_micro": " (micro)"}
_UNITS = {
    "accuracy": "fraction",
    "loss": "loss",
    "log_loss": "cross-entropy (nats)",
    "mae": "units of the target",
    "perplexity": "tokens",
    "rmse": "units of the target",
    "r2": "fraction of the variance",
}
_LOSS_UNITS = {
    "cross_entropy": "cross-entropy (nats)",
    "binary_cross_entropy": "cross-entropy (nats)",
    "mse": "squared error",
    "mae": "absolute error",
}
_FRACTIONS = re.compile(
    r"(balanced_|top_\d+_)?accuracy|(precision|recall|f1)(_macro|_micro)?|auroc|auprc|brier|"
    r"calibration_error"
)
_NOT_DRAWN = ("calibration_error",)
"""Metrics that have a picture of their own, and no curve unless they choose."""


@dataclass(frozen=True)
class ShownTask:
    """What a run's results are shown by.

    Attributes:
        kind: of the task.
        metric: the metric that chooses, or `loss`.
        loss: name of the loss.
    """

    kind: TaskKind = "classification"
    metric: str = "accuracy"
    loss: str = "cross_entropy"

    @classmethod
    def of(cls, task: TaskConfig) -> "ShownTask":
        """Return the task of some settings."""
        metric = task.choose_by or DEFAULT_CHOOSE_BY[task.kind]
        return cls(task.kind, _key(metric), task.loss or DEFAULT_LOSS[task.kind])

    @classmethod
    def of_params(cls, params: Mapping[str, str]) -> "ShownTask":
        """Return the task of a run by its MLflow params; of an earlier version, which has none of
        them, it is a classification.
        """
        kind = params.get("task.kind")
        if kind not in TASK_KINDS:
            return cls()
        metric = _given(params.get("task.choose_by")) or DEFAULT_CHOOSE_BY[kind]
        return cls(kind, _key(metric), _given(params.get("task.loss")) or DEFAULT_LOSS[kind])

    @property
    def has_classes(self) -> bool:
        """Return whether each prediction is one of several classes."""
        return self.kind in ("classification", "binary", "tokens")

    @property
    def main_metrics(self) -> tuple[str, ...]:
        """Return the metric that chooses, and the loss."""
        return tuple(dict.fromkeys((self.metric, "loss")))

    def unit(self, metric: str) -> str:
        """Return the unit of a metric, for an axis."""
        if metric == "loss":
            return _LOSS_UNITS.get(self.loss, "loss")
        return _UNITS.get(metric, metric_words(metric))

    def drawn_metrics(self, keys: Iterable[str]) -> list[str]:
        """Return at most 6 metrics that have curves: the one that chooses, the loss, and others.

        Args:
            keys: of all metrics, such as `test/accuracy`. The figures of single labels or targets,
                `rmse_NAME` beside `rmse`, have no curves.
        """
        names = sorted({key.partition("/")[2] for key in keys if key.startswith("test/")})
        others = [name for name in names if name not in _NOT_DRAWN and not _is_part(name, names)]
        return list(dict.fromkeys((*self.main_metrics, *others)))[:_MOST_METRICS]


CLASSIFICATION = ShownTask()


def metric_words(metric: str) -> str:
    """Return what a metric is called within a sentence.

    >>> metric_words("accuracy"), metric_words("f1_macro"), metric_words("auroc")
    ('accuracy', 'F1 (macro)', 'AUROC')
    """
    for suffix, words in _MEANS.items():
        if metric.endswith(suffix):
            return metric_words(metric.removesuffix(suffix)) + words
    return _NAMES.get(metric, metric.replace("_", " "))


def metric_title(metric: str) -> str:
    """Return what a metric is called in a heading.

    >>> metric_title("balanced_accuracy"), metric_title("rmse")
    ('Balanced accuracy', 'RMSE')
    """
    words = metric_words(metric)
    return words[:1].upper() + words[1:]


def is_fraction(metric: str) -> bool:
    """Return whether a metric is in 0..1.

    >>> is_fraction("top_5_accuracy"), is_fraction("rmse")
    (True, False)
    """
    return _FRACTIONS.fullmatch(metric) is not None


def _is_part(name: str, names: Iterable[str]) -> bool:
    """Return whether a metric is another one's, of a single label or target."""
    return not is_fraction(name) and any(name.startswith(f"{whole}_") for whole in names)


def _key(metric: str) -> str:
    """Return what a metric is called after the split."""
    return metric.rpartition(":")[2]


def _given(text: str | None) -> str | None:
    """Return the text of a param, None of a setting that is not set."""
    if text in (None, "", "None"):
        return None
    return text
