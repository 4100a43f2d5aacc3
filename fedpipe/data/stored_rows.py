"""Values of all examples in a file without a name: features, or float targets."""

import os
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from fedpipe.data.array_types import Array, Int64s
from fedpipe.data.disk_columns import DiskColumn, read_fully


@dataclass(frozen=True)
class StoredRows:
    """The features, or the targets, of all examples, in a file.

    Attributes:
        file: the open file, which has no name.
        dtype: uint8, int32 or float32.
        shape: shape of one example's features; of sequences the longest one's.
        count: number of examples.
        starts: of sequences of variable length where each begins, in values, and where the last one
            ends; else None.
    """

    file: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    count: int
    starts: DiskColumn | None = None

    def take(self, rows: Int64s) -> Array:
        """Return the features of `rows` [n, *shape], in their order; shorter sequences end in
        zeros.

        Read, not mapped: of a mapped file the kernel counts sixteen pages for each that is touched
        as this process's memory.
        """
        if self.starts is not None:
            return self._take_sequences(rows, self.starts)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        values = np.empty((len(rows), *self.shape), self.dtype)
        size = values[:1].nbytes
        bytes_of = values.reshape(-1).view(np.uint8).data
        starts = np.flatnonzero(np.diff(ordered, prepend=-2) != 1)
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
            read = os.preadv(
                self.file.fileno(),
                [bytes_of[start * size : end * size]],
                int(ordered[start]) * size,
            )
            if read != (end - start) * size:
                raise OSError(
                    f"the scratch file ended after {read} of {(end - start) * size} bytes"
                )
        result = np.empty_like(values)
        result[order] = values
        return result

    def _take_sequences(self, rows: Int64s, starts: DiskColumn) -> Array:
        result = np.zeros((len(rows), *self.shape), self.dtype)
        for place, row in enumerate(rows.tolist()):
            start, end = starts.read(row, row + 2).tolist()
            read_fully(
                self.file.fileno(), result[place, : end - start], start * self.dtype.itemsize
            )
        return result
