"""A task: the kind of its labels, a loss to minimize, and metrics to judge by."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fedpipe.config.task import TaskKind
from fedpipe.tasks.predictions import Predictions
from fedpipe.tasks.score import Score

Loss = Callable[[Any, Any], Any]
"""(outputs float32 [n, outputs], targets) -> loss of each example float32 [n], in TensorFlow ops
that can be differentiated by the outputs. Targets are int32 [n] of classification and tokens, int32
[n] (0 or 1) of binary, float32 [n, outputs] of multilabel (0 or 1) and of regression.
"""


@dataclass(frozen=True)
class TrainingSums:
    """Sums of a metric that clients add up in training, step by step.

    Attributes:
        name: of the sums; metrics that share them have the same.
        shape, dtype: of the tensor, the dtype as TensorFlow names it.
        of_batch: (outputs [n, outputs], targets, which of the predictions count [n] or None) -> the
            sums of a batch, in TensorFlow ops.
        to_sums: the tensor -> what `Metric.value` takes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    of_batch: Callable[[Any, Any, Any], Any]
    to_sums: Callable[[Any], Any]


class Metric(Protocol):
    """A figure of some examples, computed from sums, so that it merges exactly over clients."""

    @property
    def name(self) -> str:
        """Return its key after the split, such as `auroc`."""

    @property
    def family(self) -> str:
        """Return the name of its sums: metrics of one family have the same."""

    @property
    def higher_is_better(self) -> bool:
        """Return which way is better."""

    @property
    def always_exists(self) -> bool:
        """Return whether any examples have it; one of which this is false may be absent."""

    @property
    def needs(self) -> frozenset[str]:
        """Return the columns of `Predictions` that it reads beside those that are always there:
        `outputs`, `log_losses`, `ranks`, `briers`.
        """

    @property
    def training(self) -> TrainingSums | None:
        """Return its sums while clients train; None of a metric that training does not have."""

    def sums(self, predictions: Predictions) -> Any:
        """Return sums of examples that are all that `value` needs."""

    def merge(self, parts: Sequence[Any]) -> Any:
        """Return the sums of several sets of examples together; there is at least one."""

    def value(self, sums: Any) -> float | None:
        """Return the metric; None where these examples have none, as an AUC of one class."""

    def parts(self, sums: Any) -> Mapping[str, float]:
        """Return the metric of each of several targets by name, `rmse_NAME`."""


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        kind: of the labels.
        outputs: size of the last axis of the model's outputs: classes; 1 for binary; labels of
            multilabel; targets of regression; tokens.
        output_names: name of each output; of binary the two classes'.
        loss: the loss that clients minimize.
        is_cross_entropy: whether `loss` is the plain cross-entropy of classes, which has an op of
            its own.
        metrics: the kind's own and those of `task.metrics`, in this order; `loss` is not among
            them.
        over_clients: names of those of which the spread over clients is told.
        score: the metric that chooses.
    """

    kind: TaskKind
    outputs: int
    output_names: tuple[str, ...]
    loss: Loss
    is_cross_entropy: bool
    metrics: tuple[Metric, ...]
    over_clients: frozenset[str]
    score: Score

    @property
    def choose_by(self) -> str:
        """Return the name of the metric that chooses, or `loss`."""
        return self.score.metric

    @property
    def higher_is_better(self) -> bool:
        """Return which way of the metric that chooses is better."""
        return self.score.higher_is_better

    @property
    def has_classes(self) -> bool:
        """Return whether each prediction is one of several classes."""
        return self.kind in ("classification", "binary", "tokens")

    @property
    def needs(self) -> frozenset[str]:
        """Return the columns of `Predictions` that its metrics read."""
        return frozenset().union(*(metric.needs for metric in self.metrics))

    def families(self, names: Collection[str] | None = None) -> list[list[Metric]]:
        """Return the metrics, or those of some names, by family."""
        groups: dict[str, list[Metric]] = {}
        for metric in self.metrics:
            if names is None or metric.name in names:
                groups.setdefault(metric.family, []).append(metric)
        return list(groups.values())

    @property
    def training_sums(self) -> tuple[TrainingSums, ...]:
        """Return the sums of its metrics that clients add up in training, each once."""
        sums = [metric.training for metric in self.metrics if metric.training is not None]
        return tuple({of_metric.name: of_metric for of_metric in sums}.values())
