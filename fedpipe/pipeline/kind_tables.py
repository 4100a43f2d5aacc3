"""Writes the tables of an evaluation that only the kind of its task has (`tables.kinds`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedpipe.models.calibration import calibrate
from fedpipe.tables import kinds
from fedpipe.tables.evaluation import reliability_csv
from fedpipe.tables.multilabel import label_scores, label_scores_csv
from fedpipe.tables.ranking import (
    RankingCurve,
    can_rank,
    most_frequent,
    precision_recall_csv,
    precision_recall_curve,
    roc_csv,
    roc_curve,
)
from fedpipe.tables.regression import (
    predicted_csv,
    residuals_csv,
    target_scores,
    target_scores_csv,
)
from fedpipe.tasks.scores import sigmoid

if TYPE_CHECKING:
    from fedpipe.models.evaluate import Evaluation

Array = npt.NDArray[Any]


def kind_tables(result: "Evaluation", seed: int) -> dict[str, Callable[[], str]]:
    """Return a function that makes the text of each table of `KIND_TABLES`, by its name.

    Args:
        result: on the central test set.
        seed: of the run; draws the examples of which the predictions are kept.
    """
    predictions = result.predictions
    names = result.task.output_names
    outputs = predictions.outputs
    targets = predictions.targets
    if result.task.kind == "binary" and outputs is not None:
        return _of_two_classes(outputs[:, 0], predictions.labels, names[1])
    if result.task.kind == "multilabel" and outputs is not None and targets is not None:
        return _of_labels(outputs, targets, names)
    if result.task.kind == "regression" and outputs is not None and targets is not None:
        return _of_targets(outputs, targets, names, seed)
    return {}


def _of_two_classes(logits: Array, labels: Array, positive: str) -> dict[str, Callable[[], str]]:
    is_positive = labels == 1

    def curves(curve_of: Callable[[str, Array, Array], RankingCurve]) -> list[RankingCurve]:
        if not can_rank(is_positive):
            return []
        return [curve_of(positive, logits, is_positive)]

    return {
        kinds.ROC: lambda: roc_csv(curves(roc_curve)),
        kinds.PRECISION_RECALL: lambda: precision_recall_csv(curves(precision_recall_curve)),
        kinds.RELIABILITY: lambda: reliability_csv(
            calibrate(sigmoid(logits).astype(np.float32), is_positive)
        ),
    }


def _of_labels(
    logits: Array, has_label: Array, names: tuple[str, ...]
) -> dict[str, Callable[[], str]]:
    def curves(curve_of: Callable[[str, Array, Array], RankingCurve]) -> list[RankingCurve]:
        return [
            curve_of(names[column], logits[:, column], has_label[:, column])
            for column in most_frequent(has_label)
        ]

    return {
        kinds.LABELS: lambda: label_scores_csv(label_scores(logits, has_label, names)),
        kinds.ROC: lambda: roc_csv(curves(roc_curve)),
        kinds.PRECISION_RECALL: lambda: precision_recall_csv(curves(precision_recall_curve)),
    }


def _of_targets(
    predicted: Array, true: Array, names: tuple[str, ...], seed: int
) -> dict[str, Callable[[], str]]:
    return {
        kinds.TARGETS: lambda: target_scores_csv(target_scores(predicted, true, names)),
        kinds.RESIDUALS: lambda: residuals_csv(predicted, true, names),
        kinds.PREDICTED: lambda: predicted_csv(predicted, true, names, seed),
    }
