"""The table of the labels of a multilabel task: how often each is present, found and missed."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fedpipe.tables.csv_text import csv_text
from fedpipe.tables.ranking import can_rank, precision_recall_curve, roc_curve


@dataclass(frozen=True)
class LabelScore:
    """What predictions of one label are worth; a figure that does not exist is None.

    Attributes:
        label: its name.
        examples: number of examples that have it.
        predicted: number of examples of which it is predicted, with a probability above 0.5.
        precision: fraction of the predicted ones that have it; None if none is predicted.
        recall: fraction of those that have it of which it is predicted; None if none has it.
        f1: harmonic mean of precision and recall; None if none has it and none is predicted.
        auroc: area under the ROC curve; None unless some have it and some do not.
        average_precision: area under the precision-recall curve; None likewise.
    """

    label: str
    examples: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    auroc: float | None
    average_precision: float | None


def label_scores(
    logits: npt.NDArray[Any], has_label: npt.NDArray[Any], names: Sequence[str]
) -> list[LabelScore]:
    """Return the score of each label.

    Args:
        logits: [examples, labels]; a label is predicted from 0 on, a probability of 0.5.
        has_label: [examples, labels], 1 where an example has a label, else 0.
        names: of the labels.
    """
    return [
        _score(name, logits[:, column], has_label[:, column] > 0)
        for column, name in enumerate(names)
    ]


def _score(name: str, logits: npt.NDArray[Any], has_label: npt.NDArray[Any]) -> LabelScore:
    is_predicted = logits > 0
    examples = int(has_label.sum())
    predicted = int(is_predicted.sum())
    hits = int((has_label & is_predicted).sum())
    auroc = None
    average_precision = None
    if can_rank(has_label):
        auroc = roc_curve(name, logits, has_label).area
        average_precision = precision_recall_curve(name, logits, has_label).area
    return LabelScore(
        label=name,
        examples=examples,
        predicted=predicted,
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, examples),
        f1=_ratio(2 * hits, predicted + examples),
        auroc=auroc,
        average_precision=average_precision,
    )


def _ratio(count: int, total: int) -> float | None:
    if not total:
        return None
    return count / total


def label_scores_csv(scores: Sequence[LabelScore]) -> str:
    """Return a line for each label; a figure that does not exist is empty."""
    return csv_text([field.name for field in fields(LabelScore)], map(astuple, scores))


def read_label_scores(path: Path) -> list[LabelScore]:
    """Return the scores of the table that `label_scores_csv` wrote.

    Raises:
        ValueError, KeyError: it is another table.
    """
    figures = [field.name for field in fields(LabelScore)][3:]
    with path.open(encoding="utf-8", newline="") as file:
        return [
            LabelScore(
                row["label"],
                int(row["examples"]),
                int(row["predicted"]),
                *(float(row[name]) if row[name] else None for name in figures),
            )
            for row in csv.DictReader(file)
        ]
