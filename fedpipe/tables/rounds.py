"""The table of rounds as CSV, the form that DVC's plots read."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedpipe.tables.csv_text import csv_text

SPLITS = ("train", "validation", "test")
Row = Mapping[str, float]
"""One round: `round` and its metrics by key, such as `train/loss`."""


def rounds_csv(rows: Sequence[Row]) -> str:
    """Return one line per round: `round` first, then every metric in alphabetical order; empty
    where a round has none.

    The column of `train/loss` is `train_loss`. Numbers are written so that reading them gives the
    same float again.

    >>> first = {"round": 0, "test/loss": 2.5}
    >>> rounds_csv([first, {"round": 1, "test/loss": 2.0, "train/loss": 0.1}])
    'round,test_loss,train_loss\\n0,2.5,\\n1,2.0,0.1\\n'
    """
    keys = sorted(set().union(*rows) - {"round"})
    header = ["round", *(key.replace("/", "_") for key in keys)]
    return csv_text(header, (_cells(row, keys) for row in rows))


def score_csv(table: Path, metric: str) -> str:
    """Return the metric that chooses by round: columns `round`, `train`, `validation` and `test`,
    whatever the metric is, so that one plot of DVC shows it; empty where a round has none.

    Args:
        table: the file with the text of `rounds_csv`.
        metric: such as `accuracy`.
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = [
            [row["round"], *(row.get(f"{split}_{metric}", "") for split in SPLITS)]
            for row in csv.DictReader(file)
        ]
    return csv_text(["round", *SPLITS], rows)


def _cells(row: Row, keys: Sequence[str]) -> list[object]:
    return [int(row["round"]), *(float(row[key]) if key in row else "" for key in keys)]
