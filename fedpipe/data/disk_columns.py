"""Columns of numbers on disk, and rows sorted by client there: so that memory grows with the
clients and not with their examples.

    columns in the source's order --distribute--> regions of consecutive clients --sort each in
    memory--> rows client by client

The size of each region is known before anything is distributed, so all regions share one file. All
files are without a name: they vanish with the process, however it ends.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from fedpipe.data.array_types import Array, Bools, Int32s, Int64s

CHUNK_ROWS = 1 << 18
"""Rows that are read from a column at once."""
_ROW_BYTES = 96
_CLIENT_BYTES = 600
"""Memory that a row and a client need while their region is sorted and split."""
_RECORD = np.dtype([("row", "<i8"), ("owner", "<i4"), ("y", "<i4"), ("is_test", "?")])


class Scratch:
    """Files without a name on the disk of a folder, open until the block ends."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is made yet."""
        self._folder = folder
        self._files = ExitStack()

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def file(self) -> IO[bytes]:
        """Return an empty file."""
        return self._files.enter_context(tempfile.TemporaryFile(dir=self._folder))


class DiskColumn:
    """Numbers of one dtype in a file, appended at its end and read anywhere."""

    def __init__(self, scratch: Scratch, dtype: npt.DTypeLike) -> None:
        """Make an empty column."""
        self._file = scratch.file()
        self._dtype = np.dtype(dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def file(self) -> IO[bytes]:
        """Return the file with all numbers that were added, little-endian if the dtype is."""
        self._file.flush()
        return self._file

    def append(self, values: Array) -> None:
        """Add numbers [n]."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._count += len(values)

    def read(self, start: int, end: int | None = None) -> Array:
        """Return the numbers from `start` to before `end`; to the last one without it."""
        self._file.flush()
        values = np.empty((self._count if end is None else end) - start, self._dtype)
        read_fully(self._file.fileno(), values, start * self._dtype.itemsize)
        return values

    def take(self, rows: Int64s) -> Array:
        """Return the numbers at `rows`, in their order."""
        values = np.empty(len(rows), self._dtype)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        for start, end in chunk_bounds(self._count):
            first, last = np.searchsorted(ascending, (start, end))
            if last > first:
                chosen = order[first:last]
                values[chosen] = self.read(start, end)[rows[chosen] - start]
        return values

    def chunks(self) -> Iterator[Array]:
        """Yield all numbers in order, some at a time."""
        for start, end in chunk_bounds(self._count):
            yield self.read(start, end)


@dataclass(frozen=True)
class ClientRows:
    """The examples of consecutive clients, client by client, each client's in the source's order.

    Attributes:
        first, end: the clients are number `first` to before `end`.
        owner: int32 [n], ascending, the client's number among all clients.
        row: int64 [n], number of the example in the source.
        y: int32 [n], class.
        is_test: bool [n], whether the source has it in its test split; false where it has none.
    """

    first: int
    end: int
    owner: Int32s
    row: Int64s
    y: Int32s
    is_test: Bools

    def take(self, rows: Int64s | Bools) -> "ClientRows":
        """Return some of the rows, by their places or by a mask."""
        return replace(
            self,
            owner=self.owner[rows],
            row=self.row[rows],
            y=self.y[rows],
            is_test=self.is_test[rows],
        )


Columns = Callable[[int, int], tuple[Int32s, Int32s, Bools | None]]
"""(start, end) -> owner (-1: nobody's), y and test mark of these rows of the source."""


def rows_by_client(
    columns: Columns, count: int, sizes: Int64s, most_bytes: int, scratch: Scratch
) -> Iterator[ClientRows]:
    """Yield all examples that have a client, sorted by client, some clients at a time.

    Args:
        columns: the columns to sort.
        count: number of rows in the source.
        sizes: int64 [clients], rows of each client.
        most_bytes: memory that the clients of one part may take; one client is never divided.
        scratch: where the rows are sorted, unless all fit into one part.
    """
    bounds = _bounds(sizes, most_bytes)
    if len(bounds) == 1:
        yield _sorted(np.concatenate(list(_records(columns, count))), *bounds[0])
        return
    firsts = np.array([first for first, _ in bounds])
    ends = np.cumsum(sizes)
    starts = np.array([int(ends[first] - sizes[first]) for first, _ in bounds])
    file = scratch.file()
    cursors = starts.copy()
    for records in _records(columns, count):
        number = np.searchsorted(firsts, records["owner"], side="right") - 1
        order = np.argsort(number, kind="stable")
        present, places = np.unique(number[order], return_index=True)
        for group, rows in zip(present.tolist(), np.split(order, places[1:]), strict=True):
            write_fully(file.fileno(), records[rows], int(cursors[group]) * _RECORD.itemsize)
            cursors[group] += len(rows)
    for group, (first, end) in enumerate(bounds):
        records = np.empty(int(cursors[group] - starts[group]), _RECORD)
        read_fully(file.fileno(), records, int(starts[group]) * _RECORD.itemsize)
        yield _sorted(records, first, end)


def chunk_bounds(count: int, width: int = 1) -> Iterator[tuple[int, int]]:
    """Yield start and end of the parts in which `count` rows of `width` numbers are read."""
    rows = max(1, CHUNK_ROWS // max(1, width))
    for start in range(0, count, rows):
        yield start, min(start + rows, count)


def read_fully(descriptor: int, values: Array, offset: int) -> None:
    """Fill the array from a file. Raises OSError if the file ends before."""
    buffer = values.view(np.uint8).reshape(-1).data if values.size else memoryview(b"")
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if not count:
            raise OSError(f"the scratch file ended after {done} of {len(buffer)} bytes")
        done += count


def write_fully(descriptor: int, values: Array, offset: int) -> None:
    """Write the array to a place in a file."""
    buffer = np.ascontiguousarray(values).view(np.uint8).reshape(-1).data
    done = 0
    while done < len(buffer):
        done += os.pwrite(descriptor, buffer[done:], offset + done)


def _bounds(sizes: Int64s, most_bytes: int) -> list[tuple[int, int]]:
    """Return first client and end of each part."""
    costs = np.cumsum(sizes * _ROW_BYTES + _CLIENT_BYTES)
    bounds = []
    first = 0
    while first < len(sizes):
        before = int(costs[first - 1]) if first else 0
        end = max(first + 1, int(np.searchsorted(costs, before + most_bytes, side="right")))
        bounds.append((first, end))
        first = end
    return bounds or [(0, 0)]


def _records(columns: Columns, count: int) -> Iterator[Array]:
    for start, end in chunk_bounds(count):
        owner, y, is_test = columns(start, end)
        rows = np.flatnonzero(owner >= 0)
        records = np.empty(len(rows), _RECORD)
        records["row"], records["owner"], records["y"] = start + rows, owner[rows], y[rows]
        records["is_test"] = False if is_test is None else is_test[rows]
        yield records


def _sorted(records: Array, first: int, end: int) -> ClientRows:
    order = np.argsort(records["owner"], kind="stable")
    owner, row, y, is_test = (records[name][order] for name in ("owner", "row", "y", "is_test"))
    return ClientRows(first, end, owner, row, y, is_test)
