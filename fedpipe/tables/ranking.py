"""How well scores rank positive examples above negative ones: ROC and precision-recall curves.

Areas are of all thresholds; the points of a curve are thinned to at most 200.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.tables.csv_text import csv_text

Floats = npt.NDArray[np.float64]

MOST_CURVES = 8
"""Labels of which curves are kept: those with the most positive examples."""
_MOST_POINTS = 200


@dataclass(frozen=True)
class RankingCurve:
    """A curve of one label; each point is of one threshold.

    Attributes:
        label: name of the label, or of the positive class.
        area: under the ROC curve; average precision of a precision-recall curve.
        points: float64 [points, 2], in 0..1: false and true positive rate, or recall and precision.
    """

    label: str
    area: float
    points: Floats


def roc_curve(label: str, scores: npt.NDArray[Any], is_positive: npt.NDArray[Any]) -> RankingCurve:
    """Return the ROC curve (Fawcett 2006), as scikit-learn's `roc_curve` and `roc_auc_score`.

    Args:
        label: its name.
        scores: [examples], the higher the more likely positive: logits or probabilities.
        is_positive: float or bool [examples], 1 where the example has the label; there is at least
            one of each.

    >>> curve = roc_curve("a", np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    >>> curve.area
    0.75
    """
    positives, negatives = _counts_above(scores, is_positive)
    rates = np.column_stack([negatives / negatives[-1], positives / positives[-1]])
    points = np.vstack([[0.0, 0.0], rates])
    heights = (points[1:, 1] + points[:-1, 1]) / 2
    return RankingCurve(label, float(np.diff(points[:, 0]) @ heights), _thinned(points))


def precision_recall_curve(
    label: str, scores: npt.NDArray[Any], is_positive: npt.NDArray[Any]
) -> RankingCurve:
    """Return precision by recall, with the average precision as its area, as scikit-learn's
    `average_precision_score`; the arguments are those of `roc_curve`.

    >>> curve = precision_recall_curve("a", np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    >>> round(curve.area, 4)
    0.8333
    """
    positives, negatives = _counts_above(scores, is_positive)
    precision = positives / (positives + negatives)
    recall = positives / positives[-1]
    area = float(np.diff(recall, prepend=0.0) @ precision)
    points = np.vstack([[0.0, 1.0], np.column_stack([recall, precision])])
    return RankingCurve(label, area, _thinned(points))


def can_rank(is_positive: npt.NDArray[Any]) -> bool:
    """Return whether there are positive and negative examples, so that there is a curve."""
    count = np.count_nonzero(is_positive)
    return 0 < count < len(is_positive)


def most_frequent(is_positive: npt.NDArray[Any]) -> list[int]:
    """Return the columns of which curves are kept, rising.

    Args:
        is_positive: [examples, labels], 1 where an example has a label.
    """
    columns = [column for column in range(is_positive.shape[1]) if can_rank(is_positive[:, column])]
    ranked = sorted(columns, key=lambda column: -np.count_nonzero(is_positive[:, column]))
    return sorted(ranked[:MOST_CURVES])


def roc_csv(curves: Iterable[RankingCurve]) -> str:
    """Return a line for each point of each curve."""
    return _curves_csv(curves, ("false_positive_rate", "true_positive_rate"))


def precision_recall_csv(curves: Iterable[RankingCurve]) -> str:
    """Return a line for each point of each curve."""
    return _curves_csv(curves, ("recall", "precision"))


def read_ranking_curves(path: Path) -> list[RankingCurve]:
    """Return the curves of a table that `roc_csv` or `precision_recall_csv` wrote.

    Raises:
        ValueError: it is another table.
    """
    curves: dict[str, tuple[float, list[tuple[float, float]]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        header = next(lines, [])
        if len(header) != 4 or header[::3] != ["label", "area"]:
            raise ValueError("expected the columns label, x, y, area")
        for label, x, y, area in lines:
            _, points = curves.setdefault(label, (float(area), []))
            points.append((float(x), float(y)))
    return [
        RankingCurve(label, area, np.array(points, np.float64))
        for label, (area, points) in curves.items()
    ]


def _curves_csv(curves: Iterable[RankingCurve], axes: tuple[str, str]) -> str:
    rows: list[Sequence[object]] = []
    for curve in curves:
        rows += [(curve.label, x, y, curve.area) for x, y in curve.points.round(6).tolist()]
    return csv_text(["label", *axes, "area"], rows)


def _counts_above(scores: npt.NDArray[Any], is_positive: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return how many positive and negative examples have at least each distinct score, the highest
    score first.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_score = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    positives = np.cumsum(is_positive[order].astype(np.float64))[last_of_score]
    return positives, last_of_score + 1 - positives


def _thinned(points: Floats) -> Floats:
    """Return at most 200 points at even steps along the curve, with the first and the last."""
    if len(points) <= _MOST_POINTS:
        return points
    steps = np.abs(np.diff(points, axis=0)).sum(axis=1)
    length = np.append(0.0, np.cumsum(steps))
    places = np.linspace(0, length[-1], _MOST_POINTS)
    chosen = np.unique(np.searchsorted(length, places * (1 - 1e-12)))
    thinned: Floats = points[np.union1d(chosen, [0, len(points) - 1])]
    return thinned
