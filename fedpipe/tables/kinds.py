"""Tables of an evaluation that only some kinds of tasks have: ranking curves, labels, targets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedpipe.config.task import TaskKind
from fedpipe.tables.evaluation import Floats, read_reliability
from fedpipe.tables.multilabel import LabelScore, read_label_scores
from fedpipe.tables.ranking import RankingCurve, read_ranking_curves
from fedpipe.tables.regression import (
    TargetErrors,
    TargetPairs,
    TargetScore,
    read_predicted,
    read_residuals,
    read_target_scores,
)

ROC = "roc.csv"
PRECISION_RECALL = "precision_recall.csv"
RELIABILITY = "reliability.csv"
LABELS = "labels.csv"
TARGETS = "targets.csv"
RESIDUALS = "residuals.csv"
PREDICTED = "predicted.csv"

KIND_TABLES: dict[TaskKind, tuple[str, ...]] = {
    "classification": (),
    "binary": (ROC, PRECISION_RECALL, RELIABILITY),
    "multilabel": (LABELS, ROC, PRECISION_RECALL),
    "regression": (TARGETS, RESIDUALS, PREDICTED),
    "tokens": (),
}
"""Files of each kind that say more of its predictions than the confusion does."""

_READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ROC: ("roc", read_ranking_curves),
    PRECISION_RECALL: ("precision_recall", read_ranking_curves),
    RELIABILITY: ("reliability", read_reliability),
    LABELS: ("labels", read_label_scores),
    TARGETS: ("targets", read_target_scores),
    RESIDUALS: ("residuals", read_residuals),
    PREDICTED: ("predicted", read_predicted),
}


@dataclass(frozen=True)
class KindTables:
    """What tables say of the predictions of a kind; empty where the kind has no such table.

    Attributes:
        roc: curves on the central test set, as all here.
        precision_recall: curves.
        reliability: columns of `read_reliability`, of the positive class.
        labels: of a multilabel task.
        targets: of a regression, as all below.
        residuals: distribution of errors.
        predicted: pairs of true and predicted values.
    """

    roc: list[RankingCurve] = field(default_factory=list)
    precision_recall: list[RankingCurve] = field(default_factory=list)
    reliability: tuple[Floats, ...] = ()
    labels: list[LabelScore] = field(default_factory=list)
    targets: list[TargetScore] = field(default_factory=list)
    residuals: list[TargetErrors] = field(default_factory=list)
    predicted: list[TargetPairs] = field(default_factory=list)


def read_kind_table(name: str, path: Path) -> dict[str, Any]:
    """Return the table `name` of `KIND_TABLES`, by the attribute of `KindTables` that it is.

    Raises:
        ValueError, KeyError: it is another table.
    """
    attribute, reader = _READERS[name]
    return {attribute: reader(path)}
