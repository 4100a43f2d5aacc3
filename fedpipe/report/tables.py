"""A run's figures as CSV, the form that DVC's plots read. The same figures give the same bytes."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedpipe.types import RoundReport

Row = Mapping[str, float]
"""One round: `round`, and the metrics by column name, such as `train_loss`."""


def round_row(report: RoundReport) -> dict[str, float]:
    """Return the report's metrics as a row, `train/loss` under `train_loss`. Times are left out: they differ in every run."""
    return {"round": report.round_num} | {key.replace("/", "_"): float(value) for key, value in report.metrics.items()}


def rounds_csv(rows: Sequence[Row]) -> str:
    """Return one line per round: `round` first, then every metric in alphabetical order; empty where a round has none.

    Numbers are written so that reading them gives the same float again.

    >>> rounds_csv([{"round": 0, "test_loss": 2.5}, {"round": 1, "test_loss": 2.0, "train_loss": 0.1}])
    'round,test_loss,train_loss\\n0,2.5,\\n1,2.0,0.1\\n'
    """
    columns = sorted({name for row in rows for name in row} - {"round"})
    lines = ([str(int(row["round"])), *(repr(float(row[name])) if name in row else "" for name in columns)] for row in rows)
    return _csv(["round", *columns], lines)


def confusion_csv(matrix: npt.NDArray[np.int64]) -> str:
    """Return one line `actual,predicted` per example, which DVC's template `confusion` counts.

    Args:
        matrix: int [classes, classes], counts; row = label, column = prediction.

    >>> confusion_csv(np.array([[1, 0], [2, 1]]))
    'actual,predicted\\n0,0\\n1,0\\n1,0\\n1,1\\n'
    """
    pairs = ((a, p, matrix[a, p]) for a, p in np.ndindex(*matrix.shape))
    return _csv(["actual", "predicted"], ((str(a), str(p)) for a, p, count in pairs for _ in range(int(count))))


def _csv(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()
