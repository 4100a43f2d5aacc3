"""The confusion of an evaluation as CSV: one table for DVC's plots, one with all counts."""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedpipe.models.confusion import Confusion
from fedpipe.tables.csv_text import csv_text

_MOST_CLASSES = 64
_MOST_ROWS = 20_000
_COLUMNS = ["actual", "predicted", "count"]


def confusion_csv(confusion: Confusion, names: Sequence[str]) -> str:
    """Return the table for DVC's template `confusion`, which counts rows: one line
    `actual,predicted` per example.

    Of more than 64 classes the most confused are named and all others are one, `(N other classes)`;
    of more than 20,000 examples every count is scaled down alike, to at least 1.
    `confusion_counts_csv` has all of it.

    Args:
        confusion: counts.
        names: names of the classes.

    >>> confusion_csv(Confusion.count(np.array([0, 1, 1]), np.array([0, 0, 1]), 2), ["a", "b"])
    'actual,predicted\\na,a\\nb,a\\nb,b\\n'
    """
    shown = confusion.most_confused(_MOST_CLASSES)
    shown_names = {label: names[label] for label in shown.tolist()}
    others = f"({confusion.num_classes - len(shown)} other classes)"
    merged: Counter[tuple[str, str]] = Counter()
    for actual, predicted, count in confusion.pairs():
        merged[shown_names.get(actual, others), shown_names.get(predicted, others)] += count
    scale = min(1.0, _MOST_ROWS / max(confusion.total, 1))
    scaled = Counter({pair: math.ceil(count * scale) for pair, count in merged.items()})
    return csv_text(_COLUMNS[:2], scaled.elements())


def confusion_counts_csv(confusion: Confusion, names: Sequence[str]) -> str:
    """Return a line `actual,predicted,count` for each pair of classes that occurs.

    >>> confusion = Confusion.count(np.array([0, 1, 0]), np.array([1, 1, 1]), 2)
    >>> confusion_counts_csv(confusion, ["a", "b"])
    'actual,predicted,count\\na,b,2\\nb,b,1\\n'
    """
    lines = (
        (names[actual], names[predicted], count) for actual, predicted, count in confusion.pairs()
    )
    return csv_text(_COLUMNS, lines)


def read_confusion(path: Path, names: Sequence[str]) -> Confusion:
    """Return the counts of the table that `confusion_counts_csv` wrote with these names.

    A table with a line per example and no counts, as earlier versions wrote it, is read as well.

    Raises:
        ValueError, KeyError: it is another table.
    """
    labels = {name: label for label, name in enumerate(names)}
    counts: Counter[tuple[int, int]] = Counter()
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        header = next(lines, None)
        if header not in (_COLUMNS, _COLUMNS[:2]):
            raise ValueError("expected the columns actual, predicted, count")
        for line in lines:
            actual, predicted, count = line if header == _COLUMNS else (*line, "1")
            counts[labels[actual], labels[predicted]] += int(count)
    rows = [(*pair, count) for pair, count in sorted(counts.items())]
    return Confusion(len(names), *np.array(rows, np.int64).reshape(-1, 3).T)
