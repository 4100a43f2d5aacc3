"""The layout of the shards, and writing them: packed Parquet files, sorted by client, the same bytes for the same rows.

Built from buffers throughout: `pyarrow.array` on lists or strings imports pandas, a third of a second that every
`fedpipe run` would pay.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.data.manifest import ShardFile, Split

ROWS_PER_FILE = 65_536
"""Most rows of a file, unless one client has more: 51 MB of 28x28 pixels before compression. Few files even for all of EMNIST
(six for train), none too large to be sent again when a push or a pull breaks off."""

ROWS_PER_GROUP = 1_000
"""Rows of a Parquet row group: what reading one client decodes, 0.8 MB of 28x28 pixels."""


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split, sorted by client.

    Attributes:
        client_ids: sorted ids of the split's clients.
        owner: int32 [n], ascending: for each row the index of its client.
        x: [n, *feature_shape], uint8 or float32.
        y: int32 [n].
        source_row: int64 [n], number of the example in the source.
        central: bool [n], whether the row is in the central test set; None in the train split.
    """

    client_ids: tuple[str, ...]
    owner: npt.NDArray[np.int32]
    x: npt.NDArray[np.generic]
    y: npt.NDArray[np.int32]
    source_row: npt.NDArray[np.int64]
    central: npt.NDArray[np.bool_] | None = None


def shard_schema(split: Split, feature_bytes: int) -> Any:
    """Return the Arrow schema of a split's files; `feature_bytes` is the size of one example's features."""
    import pyarrow as pa

    columns = [("client_id", pa.string()), ("x", pa.binary(feature_bytes)), ("y", pa.int32()), ("source_row", pa.int64())]
    if split == "test":
        columns.append(("central_test", pa.bool_()))
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def write_split(folder: Path, split: Split, rows: SplitRows) -> list[ShardFile]:
    """Write the rows into `folder` as `train-00000.parquet` and so on, whole clients in each, and return the files' entries."""
    import pyarrow.parquet as pq

    files = []
    for number, (start, end) in enumerate(file_bounds(np.bincount(rows.owner, minlength=len(rows.client_ids)))):
        path = folder / f"{split}-{number:05d}.parquet"
        pq.write_table(
            _table(split, rows, slice(start, end)),
            path,
            row_group_size=ROWS_PER_GROUP,
            version="2.6",
            data_page_version="1.0",
            compression="zstd",
            compression_level=3,
            use_dictionary=["client_id"],
            write_statistics=["client_id"],
            store_schema=False,
        )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(ShardFile(name=path.name, split=split, rows=end - start, bytes=path.stat().st_size, sha256=digest))
    return files


def file_bounds(counts: npt.NDArray[np.int64], most: int = ROWS_PER_FILE) -> Iterator[tuple[int, int]]:
    """Yield first row and end of each file: as many whole clients as fit into `most` rows, at least one.

    >>> list(file_bounds(np.array([3, 3, 5, 11, 0, 1]), most=10))
    [(0, 6), (6, 11), (11, 22), (22, 23)]
    """
    start = end = 0
    for count in counts.tolist():
        if end > start and end + count - start > most:
            yield start, end
            start = end
        end += count
    if end > start:
        yield start, end


def _table(split: Split, rows: SplitRows, part: slice) -> Any:
    import pyarrow as pa

    x = np.ascontiguousarray(rows.x[part], dtype=rows.x.dtype.newbyteorder("<"))
    schema = shard_schema(split, x[0].nbytes)
    columns = [_strings(rows.client_ids, rows.owner[part])]
    for field, values in zip(list(schema)[1:4], (x, rows.y[part], rows.source_row[part]), strict=True):
        columns.append(pa.Array.from_buffers(field.type, len(x), [None, pa.py_buffer(np.ascontiguousarray(values))]))
    if rows.central is not None:
        bits = np.packbits(rows.central[part], bitorder="little")
        columns.append(pa.Array.from_buffers(pa.bool_(), len(x), [None, pa.py_buffer(bits)]))
    return pa.Table.from_arrays(columns, schema=schema)


def _strings(client_ids: tuple[str, ...], owner: npt.NDArray[np.int32]) -> Any:
    import pyarrow as pa

    used = range(int(owner[0]), int(owner[-1]) + 1)
    encoded = [client_ids[i].encode() for i in used]
    counts = np.bincount(owner - owner[0], minlength=len(used))
    lengths = np.repeat([len(name) for name in encoded], counts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    text = b"".join(name * int(count) for name, count in zip(encoded, counts, strict=True))
    return pa.Array.from_buffers(pa.string(), len(owner), [None, pa.py_buffer(offsets), pa.py_buffer(text)])
