"""The population: a lazy, verified view of the clients in the shards.

The index's counts give each client's rows, so that a client is read by its row groups alone.
Opening costs the index and the files' checksums; of the examples nothing is read before a client is
asked for.
"""

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.data.client_ids import ClientIds
from fedpipe.data.index import ClientIndex, read_index
from fedpipe.data.manifest import (
    SPLITS,
    IndexFile,
    Manifest,
    ShardFile,
    ShardSplit,
    Split,
    how_to_restore,
    read_manifest,
)
from fedpipe.data.shards import shard_schema
from fedpipe.errors import DataError, shorten
from fedpipe.types import Examples

_FILES_KEPT = 16
"""Files of a split whose metadata are kept: 1.5 MB each, 3 ms to read again. A population of
1,000,000 clients has 400.
"""
_GROUPS_KEPT = 8
"""Row groups kept decoded (80 kB each): clients read in order decode each group once."""


class Population:
    """The clients of a folder of shards. May be shared by threads."""

    def __init__(
        self, path: Path, manifest: Manifest, index: ClientIndex, open_files: int | None = None
    ) -> None:
        """Take what describes the shards in `path`; nothing is read. Use `open`.

        Raises:
            DataError: manifest and index do not agree.
        """
        self.path = path
        self.manifest = manifest
        self.index = index
        for split in SPLITS:
            counted = int(index.counts(split).sum())
            if counted != manifest.examples[split]:
                raise DataError(
                    f"{path / manifest.index.name}: expected {manifest.examples[split]} {split} "
                    f"examples, found {counted}. {how_to_restore(path)}"
                )
        self._splits = {
            split: _SplitReader(path, split, manifest, index, open_files) for split in SPLITS
        }
        self._central = _SplitReader(path, "central", manifest, None, open_files)

    @classmethod
    def open(cls, path: Path, verify: bool = True, open_files: int | None = None) -> "Population":
        """Return the population of the shards in the folder `path`.

        Args:
            path: folder that `prepare_shards` made.
            verify: compare every file's SHA-256 with the manifest's; without it a damaged file
                shows when it is read.
            open_files: files of a split whose metadata are kept, about a megabyte each; 16 with
                None. A few are enough for who reads clients in the order of their ids.

        Raises:
            DataError: there are no shards, the manifest is not valid, or a file is missing or not
                the manifest's.
        """
        manifest = read_manifest(path)
        _check_file(path / manifest.index.name, manifest.index, verify=True)
        for file in manifest.files:
            _check_file(path / file.name, file, verify)
        return cls(
            path, manifest, read_index(path / manifest.index.name, manifest.num_classes), open_files
        )

    def client_ids(self, split: Split = "train") -> ClientIds:
        """Return the ids of the clients that have examples in a split, sorted; held-out clients are
        among them.
        """
        return self._splits[split].client_ids

    def participating(self) -> ClientIds:
        """Return the ids of the clients that may train, sorted: those with training examples that
        are not held out.
        """
        return self.index.client_ids.where(self.index.trains())

    def training_sizes(self, client_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return int64 [clients], the numbers of training examples of some of the participating
        clients; fast if it is all of them.
        """
        trains = self.index.trains()
        if len(client_ids) == int(trains.sum()):
            sizes: npt.NDArray[np.int64] = self.index.counts("train")[trains]
            return sizes
        return np.array([self.num_examples(client_id) for client_id in client_ids], np.int64)

    def num_examples(self, client_id: str, split: Split = "train") -> int:
        """Return the number of a client's examples. Raises DataError for a client that the split
        does not have.
        """
        start, end = self._splits[split].rows(client_id)
        return end - start

    def examples(self, client_id: str, split: Split = "train") -> Examples:
        """Return a client's examples: x uint8 or float32 [n, *feature_shape], y int32 [n], in the
        shards' order.

        Raises:
            DataError: the split does not have the client, its file is damaged or not the
                manifest's, or a label is no class.
        """
        found = self._splits[split].read(client_id)
        if len(found) and not 0 <= found.y.min() <= found.y.max() < self.manifest.num_classes:
            raise DataError(
                f"client {client_id!r}: expected labels 0..{self.manifest.num_classes - 1}, found "
                f"{found.y.min()}..{found.y.max()} in {self.path}. {how_to_restore(self.path)}"
            )
        return found

    def highest_token(self) -> int:
        """Return the highest number among the features of all examples; for tokens. Reads every
        shard once, a row group at a time.
        """
        import pyarrow.parquet as pq

        dtype = np.dtype(self.manifest.feature_dtype).newbyteorder("<")
        highest = 0
        for entry in self.manifest.files:
            with pq.ParquetFile(self.path / entry.name) as file:
                for group in range(file.num_row_groups):
                    x = _column(
                        [file.read_row_group(group, columns=["x"])],
                        "x",
                        dtype,
                        tuple(self.manifest.feature_shape),
                    )
                    highest = max(highest, int(x.max(initial=0)))
        return highest

    def central_test(self) -> Examples:
        """Return the central test set, in the shards' order.

        Raises:
            DataError: a file is damaged, or holds another number of examples than the manifest
                says.
        """
        found = self._central.read_all()
        if len(found) != self.manifest.central_test_examples:
            raise DataError(
                f"{self.path}: expected {self.manifest.central_test_examples} central test "
                f"examples, found {len(found)}. {how_to_restore(self.path)}"
            )
        return found


class _SplitReader:
    """Reads the rows of one split by client."""

    def __init__(
        self,
        folder: Path,
        split: ShardSplit,
        manifest: Manifest,
        index: ClientIndex | None,
        open_files: int | None,
    ) -> None:
        self._split = split
        self._index = index
        self._files = [file for file in manifest.files if file.split == split]
        self._file_starts = np.cumsum([0, *(file.rows for file in self._files)])
        self._folder = folder
        self._shape = manifest.feature_shape
        self._dtype = np.dtype(manifest.feature_dtype).newbyteorder("<")
        self._lock = threading.Lock()
        self._file = lru_cache(maxsize=open_files or _FILES_KEPT)(self._read_metadata)
        self._group = lru_cache(maxsize=_GROUPS_KEPT)(self._read_group)
        self._opened: tuple[int, Any] | None = None

    @cached_property
    def client_ids(self) -> ClientIds:
        """The clients that have examples in the split."""
        if self._index is None or self._split == "central":
            return ClientIds.of(())
        return self._index.client_ids.where(self._index.counts(self._split) > 0)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """int64 [clients + 1], each client's first row in the split, and the number of rows."""
        counts = (
            np.zeros(0, np.int64)
            if self._index is None or self._split == "central"
            else self._index.counts(self._split)
        )
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    def rows(self, client_id: str) -> tuple[int, int]:
        """Return the client's first row in the split and the row after its last."""
        position = self._index.position(client_id) if self._index is not None else None
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
            parts = []
            for group in range(first, last):
                table = self._group(number, group)
                base = int(group_starts[group])
                parts.append(
                    table.slice(
                        max(start - base, 0),
                        min(end, int(group_starts[group + 1])) - max(start, base),
                    )
                )
        for part in parts:
            found = set(part["client_id"].to_pylist())
            if found != {client_id}:
                raise self._unfit(
                    number,
                    f"rows of {client_id} from {start} to {end}",
                    f"rows of {shorten(sorted(map(str, found)), 3)}",
                )
        return self._join(parts)

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
        return Examples(
            _column(tables, "x", self._dtype, self._shape),
            _column(tables, "y", np.dtype("<i4"), ()),
        )

    def _read_metadata(self, number: int) -> tuple[Any, npt.NDArray[np.int64]]:
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
        expected = shard_schema(self._dtype.itemsize * int(np.prod(self._shape)))
        if not schema.equals(expected):
            raise self._unfit(number, f"columns {_columns(expected)}", _columns(schema))
        if metadata.num_rows != entry.rows:
            raise self._unfit(number, f"{entry.rows} rows", f"{metadata.num_rows}")
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        return metadata, np.cumsum([0, *sizes])

    def _read_group(self, number: int, group: int) -> Any:
        import pyarrow as pa

        try:
            return self._parquet(number).read_row_group(
                group, columns=["client_id", "x", "y"], use_threads=False
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


def _check_file(path: Path, entry: ShardFile | IndexFile, verify: bool) -> None:
    remedy = how_to_restore(path.parent)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            found = (
                hashlib.file_digest(file, "sha256").hexdigest()
                if verify and size == entry.bytes
                else None
            )
    except OSError as err:
        raise DataError(
            f"{path}: expected the shard of the manifest, found {err.strerror or err}. {remedy}"
        ) from err
    if size != entry.bytes:
        raise DataError(
            f"{path}: expected {entry.bytes} bytes with sha256 {entry.sha256}, found {size} "
            f"bytes. {remedy}"
        )
    if found is not None and found != entry.sha256:
        raise DataError(f"{path}: expected sha256 {entry.sha256}, found {found}. {remedy}")


def _column(
    tables: list[Any], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return a column of fixed-size values of all tables as one array [n, *shape] of its own, in
    native byte order.
    """
    size = int(np.prod(shape, dtype=np.int64))
    parts = [np.zeros(0, dtype)]
    for chunk in (chunk for table in tables for chunk in table[name].chunks if len(chunk)):
        parts.append(
            np.frombuffer(
                chunk.buffers()[1], dtype, len(chunk) * size, chunk.offset * size * dtype.itemsize
            )
        )
    values: npt.NDArray[Any] = np.concatenate(parts)
    return values.astype(dtype.newbyteorder("="), copy=False).reshape(-1, *shape)


def _columns(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
