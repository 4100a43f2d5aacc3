"""The layout of the shards, and writing them: packed Parquet files, sorted by client, the same
bytes for the same rows.

Built from buffers throughout: `pyarrow.array` on lists or strings imports pandas, a third of a
second that every `fedpipe run` would pay.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.data.array_types import Array, Int32s, Int64s, Ints
from fedpipe.data.digest import file_sha256
from fedpipe.data.manifest import ShardFile, ShardSplit
from fedpipe.seeding import derive_seed

GROUP_BYTES = 80_000
"""Features in a Parquet row group, about: what reading one client decodes. A hundred 28x28 pixels
in 0.2 ms; with smaller groups the files' own indices grow large.
"""


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split, sorted by client; the features are fetched file by file.

    Attributes:
        client_ids: sorted ids of all clients.
        owner: int32 [n], ascending: for each row the index of its client.
        y: int32 [n].
        source_row: int64 [n], number of the example in the source.
        features: gives the features [k, *shape] of k source rows.
        targets: gives the targets float32 [k, targets] of k source rows; None where `y` is the
            label.
    """

    client_ids: Sequence[str]
    owner: Int32s
    y: Int32s
    source_row: Int64s
    features: Callable[[Int64s], Array]
    targets: Callable[[Int64s], Array] | None = None

    def between(self, start: int, end: int | None) -> "SplitRows":
        """Return the rows from `start` to before `end`."""
        rows = slice(start, end)
        return replace(
            self, owner=self.owner[rows], y=self.y[rows], source_row=self.source_row[rows]
        )


def shard_schema(feature_bytes: int, target_width: int | None = None) -> Any:
    """Return the Arrow schema of the files.

    Args:
        feature_bytes: size of one example's features.
        target_width: float32 targets of an example; None: the files have no column of targets.
    """
    import pyarrow as pa

    columns = [
        ("client_id", pa.string()),
        ("x", pa.binary(feature_bytes)),
        ("y", pa.int32()),
        ("source_row", pa.int64()),
    ]
    if target_width is not None:
        columns.append(("target", pa.binary(4 * target_width)))
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def write_split(folder: Path, split: ShardSplit, rows: SplitRows, most: int) -> list[ShardFile]:
    """Write the rows into `folder` as `train-00000.parquet` and so on, whole clients in each, and
    return the files' entries.

    Args:
        folder: where to write.
        split: names the files.
        rows: the rows; their features are in memory one file at a time.
        most: most rows of a file, unless one client has more.
    """
    counts = np.bincount(rows.owner, minlength=len(rows.client_ids))
    writer = SplitWriter(folder, split, rows.client_ids, counts, most, rows.features, rows.targets)
    writer.add(rows.owner, rows.y, rows.source_row)
    return writer.files


class SplitWriter:
    """Writes the rows of a split as they come, client by client: a file as soon as its rows are
    there.
    """

    def __init__(
        self,
        folder: Path,
        split: ShardSplit,
        client_ids: Sequence[str],
        counts: Ints,
        most: int,
        features: Callable[[Int64s], Array],
        targets: Callable[[Int64s], Array] | None = None,
    ) -> None:
        """Plan the files.

        Args:
            folder: where to write.
            split: names the files.
            client_ids: sorted ids of all clients.
            counts: int [clients], rows of each that will come.
            most: most rows of a file, unless one client has more.
            features, targets: as of `SplitRows`.
        """
        self._folder = folder
        self._split = split
        self._client_ids = client_ids
        self._features = features
        self._targets = targets
        self._bounds = list(file_bounds(client_ids, counts, most))
        self._waiting_rows: list[SplitRows] = []
        self._waiting = 0
        self.files: list[ShardFile] = []

    def add(self, owner: Int32s, y: Int32s, source_row: Int64s) -> None:
        """Take the rows of the clients that come next; their columns are those of `SplitRows`."""
        self._waiting_rows.append(self._rows(owner, y, source_row))
        self._waiting += len(owner)
        rows = None
        start = 0
        while len(self.files) < len(self._bounds):
            first, end = self._bounds[len(self.files)]
            if self._waiting < end - first:
                break
            rows = rows or self._joined()
            self._write(rows.between(start, start + end - first))
            start += end - first
            self._waiting -= end - first
        if rows is not None:
            self._waiting_rows = [rows.between(start, None)]

    def _joined(self) -> SplitRows:
        owner, y, source_row = (
            np.concatenate([getattr(rows, name) for rows in self._waiting_rows])
            for name in ("owner", "y", "source_row")
        )
        return self._rows(owner, y, source_row)

    def _rows(self, owner: Int32s, y: Int32s, source_row: Int64s) -> SplitRows:
        return SplitRows(self._client_ids, owner, y, source_row, self._features, self._targets)

    def _write(self, rows: SplitRows) -> None:
        import pyarrow.parquet as pq

        path = self._folder / f"{self._split}-{len(self.files):05d}.parquet"
        table = _table(rows)
        pq.write_table(
            table,
            path,
            row_group_size=group_rows(table.schema.field("x").type.byte_width),
            version="2.6",
            data_page_version="1.0",
            compression="zstd",
            compression_level=3,
            use_dictionary=["client_id"],
            write_statistics=["client_id"],
            store_schema=False,
        )
        self.files.append(
            ShardFile(
                name=path.name,
                split=self._split,
                rows=len(table),
                bytes=path.stat().st_size,
                sha256=file_sha256(path),
            )
        )


def group_rows(feature_bytes: int) -> int:
    """Return the rows of a row group: a hundred 28x28 pixels, at least 50 and at most 10,000."""
    return max(50, min(10_000, GROUP_BYTES // feature_bytes))


def file_bounds(client_ids: Sequence[str], counts: Ints, most: int) -> Iterator[tuple[int, int]]:
    """Yield first row and end of each file: whole clients, at most `most` rows unless one client
    has more.

    A file ends at `most` rows, or, once it is a quarter full, before a client whose id's hash says
    so. That a client begins a file follows from its id alone, as in content-defined chunking: where
    clients come or go, the files around them change and the boundaries after that are the old ones
    again, so that DVC stores and sends only those files.
    """
    start = end = 0
    for client_id, count in zip(client_ids, counts.tolist(), strict=True):
        full = end + count - start > most
        if (
            end > start
            and count
            and (full or (end - start >= most // 4 and _begins_file(client_id, count, most)))
        ):
            yield start, end
            start = end
        end += count
    if end > start:
        yield start, end


def _begins_file(client_id: str, count: int, most: int) -> bool:
    """Return true for a share of clients that makes files of about three quarters of `most`
    rows.
    """
    return derive_seed(0, "file", client_id) % most < 2 * count


def _table(rows: SplitRows) -> Any:
    import pyarrow as pa

    source_row = np.ascontiguousarray(rows.source_row)
    x = rows.features(source_row)
    x = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<"))
    arrays = [x, np.ascontiguousarray(rows.y, "<i4"), source_row]
    width = None
    if rows.targets is not None:
        targets = np.ascontiguousarray(rows.targets(source_row), "<f4")
        width = targets.shape[1]
        arrays.append(targets)
    schema = shard_schema(x[0].nbytes, width)
    columns = [_strings(rows.client_ids, rows.owner)]
    for field, values in zip(list(schema)[1:], arrays, strict=True):
        columns.append(pa.Array.from_buffers(field.type, len(x), [None, pa.py_buffer(values)]))
    return pa.Table.from_arrays(columns, schema=schema)


def _strings(client_ids: Sequence[str], owner: Int32s) -> Any:
    import pyarrow as pa

    used = range(int(owner[0]), int(owner[-1]) + 1)
    encoded = [client_ids[i].encode() for i in used]
    counts = np.bincount(owner - owner[0], minlength=len(used))
    lengths = np.repeat([len(name) for name in encoded], counts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    text = b"".join(name * int(count) for name, count in zip(encoded, counts, strict=True))
    return pa.Array.from_buffers(
        pa.string(), len(owner), [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    )
