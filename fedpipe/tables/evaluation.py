"""Tables of an evaluation: each label, each bin of confidence, each client."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedpipe.models.calibration import Calibration
from fedpipe.models.confusion import Confusion
from fedpipe.models.federated import ClientScores
from fedpipe.tables.csv_text import csv_text
from fedpipe.tasks.score import ACCURACY, Score

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]

_RELIABILITY = ["from", "to", "predictions", "confidence", "accuracy"]


@dataclass(frozen=True)
class ClientAccuracy:
    """Accuracy of the model on one client's own test examples.

    Attributes:
        client_id: the client.
        held_out: whether it never trains.
        predictions: number of its test examples.
        accuracy: in 0..1.
        gain: accuracy after personalization minus accuracy before, in -1..1; None if the client was
            not personalized.
    """

    client_id: str
    held_out: bool
    predictions: int
    accuracy: float
    gain: float | None


def labels_csv(confusion: Confusion, names: Sequence[str]) -> str:
    """Return a line `label,examples,accuracy` for each label; the accuracy of one without examples
    is empty.

    >>> confusion = Confusion.count(np.array([0, 0, 0, 0]), np.array([0, 1, 0, 0]), 2)
    >>> labels_csv(confusion, ["a", "b"])
    'label,examples,accuracy\\na,4,0.75\\nb,0,\\n'
    """
    columns = zip(names, confusion.examples().tolist(), confusion.hits().tolist(), strict=True)
    rows = (
        (name, examples, hits / examples if examples else "") for name, examples, hits in columns
    )
    return csv_text(["label", "examples", "accuracy"], rows)


def read_labels(path: Path) -> list[str]:
    """Return the names of the labels, in their order, from the table that `labels_csv` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row["label"] for row in csv.DictReader(file)]


def reliability_csv(calibration: Calibration) -> str:
    """Return a line for each bin of confidence that has predictions."""
    return csv_text(_RELIABILITY, calibration.rows())


def read_reliability(path: Path) -> tuple[Floats, ...]:
    """Return the columns of the table that `reliability_csv` wrote: from, to, predictions, mean
    confidence, accuracy.
    """
    return tuple(np.loadtxt(path, np.float64, delimiter=",", skiprows=1, ndmin=2).T)


def write_clients(
    path: Path,
    participating: ClientScores,
    held_out: ClientScores,
    personalized: Floats | None,
    score: Score = ACCURACY,
) -> None:
    """Write one row per client as Parquet: `client_id`, `held_out`, `predictions`, `loss`, the
    metrics of the task, such as `accuracy`, null where they do not exist, and where clients were
    personalized the metric that chooses, as `personalized_accuracy`, and `gain`, null for a client
    that has nothing to train on.

    Args:
        path: file to write; its folder is made if it is missing.
        participating: scores of clients that may train.
        held_out: scores of clients that never do.
        personalized: float64 [clients], the metric that chooses of the first group, then the
            second, after personalization; NaN where there is none.
        score: the metric that chooses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables(
        [_table_of_clients(participating, False), _table_of_clients(held_out, True)]
    ).combine_chunks()
    if personalized is not None:
        name = score.metric
        before = np.concatenate([participating.of(name), held_out.of(name)])
        gains = personalized - before if score.higher_is_better else before - personalized
        columns = {f"personalized_{name}": personalized, "gain": gains}
        for column, values in columns.items():
            # from_pandas: NaN becomes null
            table = table.append_column(column, pa.array(values, pa.float64(), from_pandas=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def _table_of_clients(scores: ClientScores, is_held_out: bool) -> "pa.Table":
    import pyarrow as pa

    columns = {
        "client_id": pa.array(scores.client_ids, pa.string()),
        "held_out": pa.array([is_held_out] * len(scores.client_ids), pa.bool_()),
        "predictions": pa.array(scores.predictions, pa.int64()),
        "loss": pa.array(scores.losses, pa.float64()),
    }
    for name, values in scores.values.items():
        columns[name] = pa.array(values, pa.float64(), from_pandas=True)
    return pa.table(columns)


def read_clients(path: Path) -> list[ClientAccuracy]:
    """Return the rows of the table that `write_clients` wrote."""
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(path).read(use_threads=False).to_pylist()
    return [
        ClientAccuracy(
            row["client_id"], row["held_out"], row["predictions"], row["accuracy"], row.get("gain")
        )
        for row in rows
    ]


def accuracy_groups(clients: Sequence[ClientAccuracy]) -> tuple[dict[str, Floats], Floats | None]:
    """Return the accuracies of participating and of held-out clients by these names, and the gains
    of personalization, if any.
    """
    held_out = np.array([client.held_out for client in clients], np.bool_)
    accuracies = np.array([client.accuracy for client in clients], np.float64)
    groups = {"participating": accuracies[~held_out], "held out": accuracies[held_out]}
    gains = [client.gain for client in clients if client.gain is not None]
    present = {name: values for name, values in groups.items() if len(values)}
    if not gains:
        return present, None
    return present, np.array(gains, np.float64)
