"""An evaluation's figures as tables: each label, each bin of confidence, each client."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.models.calibration import Calibration
from fedpipe.models.confusion import Confusion
from fedpipe.models.federated import ClientScores

Floats = npt.NDArray[np.float64]

_RELIABILITY = ["from", "to", "predictions", "confidence", "accuracy"]


def labels_csv(confusion: Confusion, names: Sequence[str]) -> str:
    """Return a line `label,examples,accuracy` for each label; the accuracy of one without examples
    is empty.

    >>> labels_csv(Confusion.count(np.array([0, 0, 0, 0]), np.array([0, 1, 0, 0]), 2), ["a", "b"])
    'label,examples,accuracy\\na,4,0.75\\nb,0,\\n'
    """
    counts = confusion.examples().tolist()
    hits = confusion.hits().tolist()
    accuracies = (right / count if count else "" for right, count in zip(hits, counts, strict=True))
    return _csv(
        ["label", "examples", "accuracy"], list(zip(names, counts, accuracies, strict=True))
    )


def reliability_csv(calibration: Calibration) -> str:
    """Return a line for each bin of confidence that has predictions."""
    return _csv(_RELIABILITY, list(calibration.rows()))


def read_reliability(path: Path) -> tuple[Floats, ...]:
    """Return the columns of the table that `reliability_csv` wrote: from, to, predictions, mean
    confidence, accuracy.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[float(row[name]) for name in _RELIABILITY] for row in csv.DictReader(file)]
    return tuple(np.array(rows).T)


def write_clients(
    path: Path, participating: ClientScores, held_out: ClientScores, personalized: Floats | None
) -> None:
    """Write a row a client as Parquet: `client_id`, `held_out`, `predictions`, `loss`, `accuracy`,
    and where clients were personalized `personalized_accuracy` and `gain`, null for one that has
    nothing to train on.

    Args:
        path: where to.
        participating: scores of clients that may train.
        held_out: scores of clients that never do.
        personalized: float64 [clients], of the first then the second, NaN where there is none; or
            None.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    both = (participating, held_out)
    columns = {
        "client_id": pa.array([one for scores in both for one in scores.client_ids], pa.string()),
        "held_out": pa.array(
            [scores is held_out for scores in both for _ in scores.client_ids], pa.bool_()
        ),
        "predictions": pa.array(
            [value for scores in both for value in scores.predictions.tolist()], pa.int64()
        ),
        "loss": pa.array(
            [value for scores in both for value in scores.losses.tolist()], pa.float64()
        ),
        "accuracy": pa.array(
            [value for scores in both for value in scores.accuracies.tolist()], pa.float64()
        ),
    }
    if personalized is not None:
        gains = personalized - np.concatenate([scores.accuracies for scores in both])
        for name, values in (("personalized_accuracy", personalized), ("gain", gains)):
            columns[name] = pa.array(
                [None if value != value else value for value in values.tolist()], pa.float64()
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_accuracies(path: Path) -> tuple[dict[str, Floats], Floats | None]:
    """Return the accuracies of participating and of held-out clients by these names, and the gains
    of personalization, if any.
    """
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read()
    held_out = np.array(table["held_out"].to_pylist(), np.bool_)
    accuracies = np.array(table["accuracy"].to_pylist(), np.float64)
    groups = {"participating": accuracies[~held_out], "held out": accuracies[held_out]}
    gains = None
    if "gain" in table.column_names:
        gains = np.array(
            [value for value in table["gain"].to_pylist() if value is not None], np.float64
        )
    return {name: values for name, values in groups.items() if len(values)}, gains


def read_client_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the table that `write_clients` wrote, by column."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.ParquetFile(path).read(use_threads=False).to_pylist()
    return rows


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
