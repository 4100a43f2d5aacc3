"""Tables of an evaluation: each label, each bin of confidence, each client."""

import csv
import json
import math
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

_METRIC = b"metric"
_HIGHER = b"higher_is_better"
"""Keys of a table of clients: the metric that chooses, and which way of it is better."""
_RELIABILITY = ["from", "to", "predictions", "confidence", "accuracy"]


@dataclass(frozen=True)
class ClientValue:
    """What the model is worth on one client's own test examples.

    Attributes:
        client_id: the client.
        held_out: whether it never trains.
        predictions: number of its test examples.
        value: the metric that chooses; None where it does not exist for these examples.
        gain: by how much it is better after personalization; None if the client was not
            personalized.
    """

    client_id: str
    held_out: bool
    predictions: int
    value: float | None
    gain: float | None


@dataclass(frozen=True)
class ClientValues:
    """A metric of the clients.

    Attributes:
        metric: its name, such as `accuracy`.
        higher_is_better: which way is better.
        clients: each client.
    """

    metric: str
    higher_is_better: bool
    clients: Sequence[ClientValue]

    def worst_first(self) -> list[ClientValue]:
        """Return the clients for which the metric exists, the worst first."""
        sign = 1 if self.higher_is_better else -1
        known = [(client.value, client) for client in self.clients if client.value is not None]
        ranked = sorted(known, key=lambda pair: (sign * pair[0], pair[1].client_id))
        return [client for _, client in ranked]

    def groups(self) -> tuple[dict[str, Floats], Floats | None]:
        """Return the values of participating and of held-out clients by these names, and the gains
        of personalization, if any; without those that are no finite number.
        """
        groups: dict[str, list[float]] = {"participating": [], "held out": []}
        gains = []
        for client in self.clients:
            if client.value is not None and math.isfinite(client.value):
                name = "held out" if client.held_out else "participating"
                groups[name].append(client.value)
            if client.gain is not None and math.isfinite(client.gain):
                gains.append(client.gain)
        present = {name: np.array(values) for name, values in groups.items() if values}
        if not gains:
            return present, None
        return present, np.array(gains)


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
    """Write one row per client as Parquet: `client_id`, `held_out`, `predictions`, `loss`, a column
    for each metric of clients, and where clients were personalized `personalized_METRIC` and `gain`
    of the metric that chooses. A figure that does not exist for a client is null.

    Args:
        path: file to write; its folder is made if it is missing.
        participating: scores of clients that may train.
        held_out: scores of clients that never do.
        personalized: float64 [clients], the metric that chooses after personalization, of the first
            group, then the second; NaN where there is none.
        score: the metric that chooses; the file names it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables(
        [_table_of_clients(participating, False), _table_of_clients(held_out, True)]
    ).combine_chunks()
    if personalized is not None:
        before = np.concatenate([participating.of(score.metric), held_out.of(score.metric)])
        gains = personalized - before if score.higher_is_better else before - personalized
        for name, values in ((f"personalized_{score.metric}", personalized), ("gain", gains)):
            table = table.append_column(name, _column(values))
    facts = {_METRIC: score.metric, _HIGHER: json.dumps(score.higher_is_better)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(facts), path, compression="zstd")


def _table_of_clients(scores: ClientScores, is_held_out: bool) -> "pa.Table":
    import pyarrow as pa

    columns = {
        "client_id": pa.array(scores.client_ids, pa.string()),
        "held_out": pa.array([is_held_out] * len(scores.client_ids), pa.bool_()),
        "predictions": pa.array(scores.predictions, pa.int64()),
        "loss": pa.array(scores.losses, pa.float64()),
    }
    for name, values in scores.values.items():
        columns[name] = _column(values)
    return pa.table(columns)


def _column(values: Floats) -> "pa.Array":
    import pyarrow as pa

    return pa.array(values, pa.float64(), from_pandas=True)  # from_pandas: NaN becomes null


def read_clients(path: Path) -> ClientValues:
    """Return the metric that chooses of the table that `write_clients` wrote; of an earlier version
    the accuracy.
    """
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read(use_threads=False)
    facts = table.schema.metadata or {}
    metric = facts.get(_METRIC, b"accuracy").decode()
    clients = []
    for row in table.to_pylist():
        names = (row["client_id"], row["held_out"], row["predictions"])
        clients.append(ClientValue(*names, row.get(metric), row.get("gain")))
    return ClientValues(metric, json.loads(facts.get(_HIGHER, b"true")), clients)
