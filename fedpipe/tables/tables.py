"""A run's figures as CSV, the form that DVC's plots read. The same figures give the same bytes."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fedpipe.models.confusion import Confusion

MOST_CLASSES = 64
"""Classes that a picture of the confusion can show."""
_MOST_ROWS = 20_000
_COUNTS = ["actual", "predicted", "count"]

Row = Mapping[str, float]
"""One round: `round` and its metrics by key, such as `train/loss`."""


def rounds_csv(rows: Sequence[Row]) -> str:
    """Return one line per round: `round` first, then every metric in alphabetical order; empty
    where a round has none.

    The column of `train/loss` is `train_loss`. Numbers are written so that reading them gives the
    same float again.

    >>> rounds_csv([{"round": 0, "test/loss": 2.5}, {"round": 1, "test/loss": 2.0, "train/loss": 0.1}])
    'round,test_loss,train_loss\\n0,2.5,\\n1,2.0,0.1\\n'
    """
    keys = sorted({key for row in rows for key in row} - {"round"})
    lines = (
        [str(int(row["round"])), *(repr(float(row[key])) if key in row else "" for key in keys)]
        for row in rows
    )
    return _csv(["round", *(key.replace("/", "_") for key in keys)], lines)


def confusion_csv(confusion: Confusion, names: Sequence[str]) -> str:
    """Return the table for DVC's template `confusion`, which counts rows: one line
    `actual,predicted` per example.

    Of more than 64 classes the most confused are named and all others are one, `(N other classes)`;
    of more than 20,000 examples every count is scaled down alike, to at least 1.
    `confusion_counts_csv` has all of it.

    Args:
        confusion: counts.
        names: of the classes.

    >>> confusion_csv(Confusion.count(np.array([0, 1, 1]), np.array([0, 0, 1]), 2), ["a", "b"])
    'actual,predicted\\na,a\\nb,a\\nb,b\\n'
    """
    shown = confusion.most_confused(MOST_CLASSES)
    shown_names = {number: names[number] for number in shown.tolist()}
    others = f"({confusion.num_classes - len(shown)} other classes)"
    merged: Counter[tuple[str, str]] = Counter()
    for actual, predicted, count in confusion.pairs():
        merged[shown_names.get(actual, others), shown_names.get(predicted, others)] += count
    scale = min(1.0, _MOST_ROWS / max(confusion.total, 1))
    return _csv(
        ["actual", "predicted"],
        (pair for pair, count in merged.items() for _ in range(math.ceil(count * scale))),
    )


def confusion_counts_csv(confusion: Confusion, names: Sequence[str]) -> str:
    """Return a line `actual,predicted,count` for each pair of classes that occurs.

    >>> confusion_counts_csv(Confusion.count(np.array([0, 1, 0]), np.array([1, 1, 1]), 2), ["a", "b"])
    'actual,predicted,count\\na,b,2\\nb,b,1\\n'
    """
    lines = (
        (names[actual], names[predicted], str(count))
        for actual, predicted, count in confusion.pairs()
    )
    return _csv(_COUNTS, lines)


def read_confusion(path: Path, names: Sequence[str]) -> Confusion:
    """Return the counts of the table that `confusion_counts_csv` wrote with these names.

    A table with a line per example and no counts, as earlier versions wrote it, is read as well.

    Raises:
        ValueError, KeyError: it is another table.
    """
    numbers = {name: index for index, name in enumerate(names)}
    counted: Counter[tuple[int, int]] = Counter()
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        header = next(lines, None)
        if header not in (_COUNTS, _COUNTS[:2]):
            raise ValueError("expected the columns actual, predicted, count")
        for line in lines:
            actual, predicted, count = line if header == _COUNTS else (*line, "1")
            counted[numbers[actual], numbers[predicted]] += int(count)
    rows = np.array([(*pair, count) for pair, count in sorted(counted.items())], np.int64).reshape(
        -1, 3
    )
    return Confusion(len(names), *rows.T)


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
