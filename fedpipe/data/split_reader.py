"""Rows of one split of the shards, read by client: the index's counts say in which files and row
groups they are.
"""

import threading
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.data.array_types import Array, Int64s
from fedpipe.data.client_ids import ClientIds
from fedpipe.data.manifest import Manifest, ShardSplit, how_to_restore
from fedpipe.data.shards import shard_schema
from fedpipe.errors import DataError, shorten
from fedpipe.types import Examples

_CACHED_FILES = 16
"""Files of a split whose metadata are kept: 1.5 MB each, 3 ms to read again. A population of
1,000,000 clients has 400.
"""
_CACHED_GROUPS = 8
"""Row groups kept decoded (80 kB each): clients read in order decode each group once."""


class SplitReader:
    """Reads the rows of one split by client."""

    def __init__(
        self,
        folder: Path,
        split: ShardSplit,
        manifest: Manifest,
        clients: ClientIds,
        counts: Callable[[], Int64s],
        open_files: int | None,
    ) -> None:
        """Take what describes the split; nothing is read.

        Args:
            folder: of the shards.
            split: name of the split.
            manifest: of the shards.
            clients: ids of all clients; none for a split that is not read by client.
            counts: returns int64 [clients], examples of each in the split.
            open_files: files whose metadata are kept.
        """
        self._split = split
        self._clients = clients
        self._counts = counts
        self._files = [file for file in manifest.files if file.split == split]
        self._file_starts = np.cumsum([0, *(file.rows for file in self._files)])
        self._folder = folder
        self._shape = manifest.feature_shape
        self._dtype = np.dtype(manifest.feature_dtype).newbyteorder("<")
        self._target_width = manifest.target_width
        self._lock = threading.Lock()
        self._file = lru_cache(maxsize=open_files or _CACHED_FILES)(self._read_metadata)
        self._group = lru_cache(maxsize=_CACHED_GROUPS)(self._read_group)
        self._opened: tuple[int, Any] | None = None

    @cached_property
    def client_ids(self) -> ClientIds:
        """The clients that have examples in the split."""
        return self._clients.where(self._counts() > 0)

    @cached_property
    def _starts(self) -> Int64s:
        """int64 [clients + 1], each client's first row in the split, and the number of rows."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self._counts())])

    def rows(self, client_id: str) -> tuple[int, int]:
        """Return the client's first row in the split and the row after its last."""
        position = self._clients.find(client_id)
        if position is None or self._starts[position] == self._starts[position + 1]:
            raise DataError(
                f"client {client_id!r}: expected one of the {len(self.client_ids)} clients of the "
                f"{self._split} split, {shorten(self.client_ids[:4], 3)}, found no such client in "
                f"{self._folder}."
            )
        return int(self._starts[position]), int(self._starts[position + 1])

    def read(self, client_id: str) -> Examples:
        """Return the client's examples."""
        start, end = self.rows(client_id)
        number = int(np.searchsorted(self._file_starts, start, side="right")) - 1
        start = start - int(self._file_starts[number])
        end = end - int(self._file_starts[number])
        with self._lock:
            _, group_starts = self._file(number)
            first = int(np.searchsorted(group_starts, start, side="right")) - 1
            last = int(np.searchsorted(group_starts, end, side="left"))
            tables = []
            for group in range(first, last):
                table = self._group(number, group)
                group_start = int(group_starts[group])
                group_end = int(group_starts[group + 1])
                length = min(end, group_end) - max(start, group_start)
                tables.append(table.slice(max(start - group_start, 0), length))
        for table in tables:
            owners = set(table["client_id"].to_pylist())
            if owners != {client_id}:
                raise self._unfit(
                    number,
                    f"rows of {client_id} from {start} to {end}",
                    f"rows of {shorten(sorted(map(str, owners)), 3)}",
                )
        return self._join(tables)

    def read_all(self) -> Examples:
        """Return all examples of the split."""
        with self._lock:
            return self._join(
                [
                    self._group(number, group)
                    for number in range(len(self._files))
                    for group in range(len(self._file(number)[1]) - 1)
                ]
            )

    def _join(self, tables: list[Any]) -> Examples:
        x = shard_column(tables, "x", self._dtype, self._shape)
        if self._target_width is None:
            return Examples(x, shard_column(tables, "y", np.dtype("<i4"), ()))
        return Examples(x, shard_column(tables, "target", np.dtype("<f4"), (self._target_width,)))

    def _read_metadata(self, number: int) -> tuple[Any, Int64s]:
        """Return a file's metadata and the first rows of its row groups, with its end. No file
        stays open: there may be thousands.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        entry = self._files[number]
        path = self._folder / entry.name
        try:
            with pq.ParquetFile(path) as file:
                metadata = file.metadata
                schema = file.schema_arrow
        except (pa.ArrowException, OSError) as err:
            raise self._unfit(number, "a Parquet file", " ".join(str(err).split())) from err
        feature_bytes = self._dtype.itemsize * int(np.prod(self._shape))
        expected = shard_schema(feature_bytes, self._target_width)
        if not schema.equals(expected):
            raise self._unfit(number, f"columns {_columns(expected)}", _columns(schema))
        if metadata.num_rows != entry.rows:
            raise self._unfit(number, f"{entry.rows} rows", f"{metadata.num_rows}")
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        return metadata, np.cumsum([0, *sizes])

    def _read_group(self, number: int, group: int) -> Any:
        import pyarrow as pa

        try:
            label = "y" if self._target_width is None else "target"
            return self._parquet(number).read_row_group(
                group, columns=["client_id", "x", label], use_threads=False
            )
        except (pa.ArrowException, OSError) as err:
            raise self._unfit(number, f"row group {group}", " ".join(str(err).split())) from err

    def _parquet(self, number: int) -> Any:
        """Return a file, opened. The last one stays open, for clients are mostly read in their
        order: to open it again takes as long as to decode a client.
        """
        import pyarrow.parquet as pq

        if self._opened is None or self._opened[0] != number:
            if self._opened is not None:
                self._opened[1].close()
                self._opened = None
            file = pq.ParquetFile(
                self._folder / self._files[number].name, metadata=self._file(number)[0]
            )
            self._opened = number, file
        return self._opened[1]

    def _unfit(self, number: int, expected: str, found: str) -> DataError:
        file = self._folder / self._files[number].name
        return DataError(
            f"{file}: expected {expected}, found {found}. {how_to_restore(self._folder)}"
        )


def shard_column(
    tables: list[Any], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    """Return a column of fixed-size values of all tables as one array [n, *shape] of its own, in
    native byte order.
    """
    size = int(np.prod(shape, dtype=np.int64))
    arrays = [np.zeros(0, dtype)]
    for table in tables:
        for chunk in table[name].chunks:
            if len(chunk):
                offset = chunk.offset * size * dtype.itemsize
                arrays.append(np.frombuffer(chunk.buffers()[1], dtype, len(chunk) * size, offset))
    values: Array = np.concatenate(arrays)
    return values.astype(dtype.newbyteorder("="), copy=False).reshape(-1, *shape)


def _columns(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
