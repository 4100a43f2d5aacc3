"""What each client did in a run: a row for each client and round, as Parquet, and the sums that
questions are asked about.

    round     int32    1..rounds
    client_id string
    status    string   `reported`, `failed`, `dropped`, `late` or `surplus`; only those that
    reported changed the weights examples  int64    training examples that it processed in the
    round, each epoch counted; 0 where it did not report

It is written when a training ends, however it ends, and lies beside the run as
`lineage/clients.parquet`.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fedpipe.errors import TrackingError
from fedpipe.system.atomic_files import write_atomic

CLIENTS_NAME = "clients.parquet"
REPORTED = "reported"
FAILED = "failed"


class ClientRound(NamedTuple):
    """What one client did in one round."""

    round_num: int
    client_id: str
    status: str
    examples: int


@dataclass(frozen=True)
class ClientTotal:
    """What one client did in a run.

    Attributes:
        client_id: the client.
        rounds: rounds in which it reported, rising.
        failed: rounds in which it was asked and did not report.
        examples: training examples that it processed in all rounds.
    """

    client_id: str
    rounds: tuple[int, ...]
    failed: int
    examples: int


def write_clients(path: Path, rows: Iterable[ClientRound]) -> None:
    """Write the rows to `path`: the same bytes for the same rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers, clients, statuses, examples = [
        list(column) for column in zip(*sorted(rows), strict=True)
    ] or [[], [], [], []]
    fields = [
        ("round", pa.int32()),
        ("client_id", pa.string()),
        ("status", pa.string()),
        ("examples", pa.int64()),
    ]
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])
    table = pa.table([numbers, clients, statuses, examples], schema=schema)
    parquet = io.BytesIO()
    pq.write_table(
        table,
        parquet,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        store_schema=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, parquet.getvalue())


def read_clients(path: Path) -> list[ClientRound]:
    """Return the rows of a file. Raises TrackingError if it is none of these."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(use_threads=False)
        columns = [table[name].to_pylist() for name in ("round", "client_id", "status", "examples")]
    except (pa.ArrowException, OSError, KeyError) as err:
        raise TrackingError(
            f"{path}: expected the table of a run's clients, found {' '.join(str(err).split())}."
        ) from err
    return [ClientRound(*row) for row in zip(*columns, strict=True)]


def totals(rows: Iterable[ClientRound]) -> list[ClientTotal]:
    """Return what each client did in all, by client id.

    >>> rows = [ClientRound(1, "a", "reported", 40), ClientRound(2, "a", "failed", 0)]
    >>> totals([*rows, ClientRound(3, "a", "reported", 40)])
    [ClientTotal(client_id='a', rounds=(1, 3), failed=1, examples=80)]
    """
    by_client: dict[str, list[ClientRound]] = {}
    for row in rows:
        by_client.setdefault(row.client_id, []).append(row)
    return [_total(client_id, by_client[client_id]) for client_id in sorted(by_client)]


def _total(client_id: str, rows: Sequence[ClientRound]) -> ClientTotal:
    rounds = sorted(row.round_num for row in rows if row.status == REPORTED)
    examples = sum(row.examples for row in rows)
    return ClientTotal(client_id, tuple(rounds), len(rows) - len(rounds), examples)


def intervals(rounds: Sequence[int]) -> list[tuple[int, int]]:
    """Return rising numbers as (first, last) of those that follow each other.

    >>> intervals([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    pairs: list[tuple[int, int]] = []
    for number in rounds:
        if pairs and number == pairs[-1][1] + 1:
            pairs[-1] = (pairs[-1][0], number)
        else:
            pairs.append((number, number))
    return pairs


def spans(rounds: Sequence[int]) -> str:
    """Return rising numbers in short.

    >>> spans([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    pairs = intervals(rounds)
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in pairs)
