"""The pool: all examples of a source, features on disk and everything else in memory.

A source gives batches; to sort them by client takes two passes. The first, here, writes the features to a file without a name,
which vanishes with the process however it ends, and keeps nine bytes an example (client, label, test mark). The second,
`prepare`, takes the features of one shard at a time. So memory does not grow with the features, whatever their size.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fedpipe.data.labels import Codes, classes_of, id_notes, is_text, label_notes
from fedpipe.data.sources.base import Batch, PixelConvention, Source
from fedpipe.errors import DataError, shorten

ROW_BYTES = 64
"""Memory that preparation needs for an example besides its features: columns, their sorted copies, the order."""


@dataclass(frozen=True)
class StoredRows:
    """The features of all examples, in a file.

    Attributes:
        file: the open file, which has no name.
        dtype: uint8, int32 or float32.
        shape: shape of one example's features; of sequences the longest one's.
        count: number of examples.
        lengths: int64 [count] of sequences of variable length, else None.
    """

    file: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    count: int
    lengths: npt.NDArray[np.int64] | None = None

    def take(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the features of `rows` [n, *shape], in their order; shorter sequences end in zeros.

        Read, not mapped: of a mapped file the kernel counts sixteen pages for each that is touched as this process's memory.
        """
        if self.lengths is not None:
            return self._take_sequences(rows, self.lengths)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        values = np.empty((len(rows), *self.shape), self.dtype)
        size = values[:1].nbytes
        bytes_of = values.reshape(-1).view(np.uint8).data
        starts = np.flatnonzero(np.diff(ordered, prepend=-2) != 1)
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
            read = os.preadv(self.file.fileno(), [bytes_of[start * size : end * size]], int(ordered[start]) * size)
            if read != (end - start) * size:
                raise OSError(f"the scratch file ended after {read} of {(end - start) * size} bytes")
        result = np.empty_like(values)
        result[order] = values
        return result

    def _take_sequences(self, rows: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        size, result = self.dtype.itemsize, np.zeros((len(rows), *self.shape), self.dtype)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) * size
        for place, row in enumerate(rows.tolist()):
            wanted = int(lengths[row]) * size
            body = os.pread(self.file.fileno(), wanted, int(starts[row]))
            if len(body) != wanted:
                raise OSError(f"the scratch file ended after {len(body)} of {wanted} bytes")
            result[place, : lengths[row]] = np.frombuffer(body, self.dtype)
        return result


@dataclass(frozen=True)
class Pool:
    """All examples of a source; example `i` of each column is the same example, and `i` is its `source_row` in the shards.

    Attributes:
        x: the features.
        y: int32 [n], 0..num_classes - 1.
        num_classes: number of labels.
        vocabulary: the labels' names in the order of their numbers, or None where the source has numbers.
        client_ids: sorted ids of the source's own clients, or None.
        owner: int32 [n], for each example the index of its client in `client_ids`, or None.
        is_test: bool [n], the source's own test split, or None.
        pixel_convention: what 1.0 means, or None.
        sha256: of features, labels, clients and test split.
        notes: what about labels and ids may not be meant, a line each.
    """

    x: StoredRows
    y: npt.NDArray[np.int32]
    num_classes: int
    vocabulary: tuple[str, ...] | None
    client_ids: tuple[str, ...] | None
    owner: npt.NDArray[np.int32] | None
    is_test: npt.NDArray[np.bool_] | None
    pixel_convention: PixelConvention | None
    sha256: str
    notes: tuple[str, ...] = ()


def read_pool(source: Source, where: str, file: IO[bytes], memory_limit_mb: int) -> Pool:
    """Read all batches of a source.

    Args:
        source: the source.
        where: its name, for errors.
        file: empty file for the features; it must stay open as long as the pool is used.
        memory_limit_mb: refuse a source whose columns alone would pass it.

    Raises:
        DataError: the source is empty or damaged, its batches do not agree, or it has too many examples for the memory limit.
        OSError: the features cannot be written.
    """
    first: Batch | None = None
    digest, count = hashlib.sha256(), 0
    clients, labels = Codes(), Codes()
    owners: list[npt.NDArray[np.int32]] = []
    ys: list[npt.NDArray[np.int32]] = []
    tests: list[npt.NDArray[np.bool_]] = []
    lengths: list[npt.NDArray[np.int64]] = []
    for batch in source.batches():
        first = first or batch
        _refuse_disagreement(batch, first, where, count)
        if isinstance(batch.x, list):
            lengths.append(np.array([len(one) for one in batch.x], np.int64))
        joined = np.concatenate(batch.x) if isinstance(batch.x, list) else batch.x
        features = np.ascontiguousarray(joined, dtype=joined.dtype.newbyteorder("<"))
        file.write(features.data)
        digest.update(features.data)
        ys.append(labels.add_texts([str(label) for label in batch.y]) if is_text(batch.y) else labels.add_numbers(np.asarray(batch.y)))
        if batch.clients is not None:
            owners.append(clients.add_texts(batch.clients))
        if batch.is_test is not None:
            tests.append(batch.is_test)
        count += len(batch.x)
        if count * ROW_BYTES > memory_limit_mb * 1_000_000:
            raise DataError(
                f"{where}: expected at most {memory_limit_mb * 1_000_000 // ROW_BYTES} examples under data.memory_limit_mb="
                f"{memory_limit_mb}, found more. Raise data.memory_limit_mb."
            )
    if first is None or not count:
        raise DataError(f"{where}: expected examples, found none.")
    file.flush()
    values, label_rank = labels.finish()
    num_classes, vocabulary, classes = classes_of(values, source.num_classes, where)
    y = classes[label_rank][np.concatenate(ys)]
    client_ids, owner = None, None
    if first.clients is not None:
        client_ids, client_rank = clients.finish()
        owner = client_rank[np.concatenate(owners)]
    is_test = np.concatenate(tests) if first.is_test is not None else None
    notes = (*label_notes(values, count, source.num_classes), *id_notes(client_ids or ()))
    sizes = np.concatenate(lengths) if lengths else None
    dtype, shape = _features_of(first)
    shape = shape if sizes is None else (int(sizes.max()),)
    for part in (f"{dtype.name}:{(count, *shape)}:{vocabulary}:{client_ids}:".encode(), y, owner, is_test):
        digest.update(part if isinstance(part, bytes) else b"none" if part is None else np.ascontiguousarray(part).data)
    if sizes is not None:
        digest.update(sizes.astype("<i8").data)
    rows = StoredRows(file, dtype.newbyteorder("<"), shape, count, sizes)
    return Pool(rows, y, num_classes, vocabulary, client_ids, owner, is_test, source.pixel_convention, digest.hexdigest(), notes)


def _features_of(batch: Batch) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of an example's features; -1 stands for a variable length."""
    if isinstance(batch.x, list):
        kinds = {one.dtype if one.ndim == 1 and len(one) else np.dtype(object) for one in batch.x}
        return (kinds.pop() if len(kinds) == 1 else np.dtype(object)), (-1,)
    return batch.x.dtype, batch.x.shape[1:]


def _refuse_disagreement(batch: Batch, first: Batch, where: str, row: int) -> None:
    """Refuse a batch whose columns are not what the first one's are, or differ in length."""
    dtype, shape = _features_of(batch)
    if dtype not in (np.uint8, np.int32, np.float32) or 0 in shape:
        raise DataError(f"{where}: expected uint8, int32 or float32 features with values, found {dtype} {shape} at row {row}.")
    kinds = [
        (*map(str, _features_of(one)), "texts" if is_text(one.y) else "whole numbers", one.clients is None, one.is_test is None)
        for one in (first, batch)
    ]
    if kinds[0] != kinds[1]:
        names = ("feature dtype", "feature shape", "labels", "no clients", "no test split")
        differing = [f"{name} {b} after {a}" for name, a, b in zip(names, *kinds, strict=True) if a != b]
        raise DataError(f"{where}: expected all examples alike, found {shorten(differing)} from row {row} on.")
    lengths = {len(column) for column in (batch.x, batch.y, batch.clients, batch.is_test) if column is not None}
    if len(lengths) != 1:
        raise DataError(f"{where}: expected columns of one length, found {sorted(lengths)} from row {row} on.")
