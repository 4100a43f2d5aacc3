"""A run's figures as CSV, the form that DVC's plots read. The same figures give the same bytes."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Row = Mapping[str, float]
"""One round: `round` and its metrics by key, such as `train/loss`."""


def rounds_csv(rows: Sequence[Row]) -> str:
    """Return one line per round: `round` first, then every metric in alphabetical order; empty where a round has none.

    The column of `train/loss` is `train_loss`. Numbers are written so that reading them gives the same float again.

    >>> rounds_csv([{"round": 0, "test/loss": 2.5}, {"round": 1, "test/loss": 2.0, "train/loss": 0.1}])
    'round,test_loss,train_loss\\n0,2.5,\\n1,2.0,0.1\\n'
    """
    keys = sorted({key for row in rows for key in row} - {"round"})
    lines = ([str(int(row["round"])), *(repr(float(row[key])) if key in row else "" for key in keys)] for row in rows)
    return _csv(["round", *(key.replace("/", "_") for key in keys)], lines)


def confusion_csv(matrix: npt.NDArray[np.int64], names: Sequence[str] | None = None) -> str:
    """Return one line `actual,predicted` per example, which DVC's template `confusion` counts.

    Args:
        matrix: int [classes, classes], counts; row = label, column = prediction.
        names: of the classes; their numbers if not given.

    >>> confusion_csv(np.array([[1, 0], [2, 1]]))
    'actual,predicted\\n0,0\\n1,0\\n1,0\\n1,1\\n'
    """
    labels = names or [str(number) for number in range(len(matrix))]
    pairs = ((a, p, matrix[a, p]) for a, p in np.ndindex(*matrix.shape))
    return _csv(["actual", "predicted"], ((labels[a], labels[p]) for a, p, count in pairs for _ in range(int(count))))


def read_confusion(path: Path, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the matrix of the table that `confusion_csv` wrote with these names. Raises ValueError or KeyError on anything else."""
    numbers = {name: index for index, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), np.int64)
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        if next(lines, None) != ["actual", "predicted"]:
            raise ValueError("expected the columns actual, predicted")
        for (actual, predicted), count in Counter(map(tuple, lines)).items():
            matrix[numbers[actual], numbers[predicted]] = count
    return matrix


def read_labels(path: Path) -> list[str]:
    """Return the names of the labels, in their order, from the table with a line a label."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row["label"] for row in csv.DictReader(file)]


def _csv(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()
