"""The pool: all examples of a source on disk; memory holds only what grows with clients and labels.

A source gives batches; to sort them by client takes two passes. The first, here, writes the
features to a file without a name, which vanishes with the process however it ends, and the other
columns (client, label, test mark) to files like it. The second, `prepare`, sorts the rows by client
(`data.disk_columns`) and takes the features of one shard at a time. So memory grows neither with
the number of examples nor with their size.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedpipe.config.task import TaskKind
from fedpipe.data.array_types import Bools, Int32s, Int64s
from fedpipe.data.disk_columns import DiskColumn, Scratch, chunk_bounds
from fedpipe.data.labels import (
    Codes,
    classes_of,
    id_notes,
    is_text,
    label_notes,
    require_two_labels,
)
from fedpipe.data.sources.base import Batch, PixelConvention, Source
from fedpipe.data.stored_rows import StoredRows
from fedpipe.data.targets import StoredTargets, TargetColumn, stored_targets, target_notes
from fedpipe.errors import DataError, shorten

ROW_BYTES = 64
"""Memory that a partition which makes the clients needs for an example: labels, their order,
owners.
"""
NAME_BYTES = 300
"""Memory that preparation needs for a client of the source's own, or for a label: its name, its
number, its counts.
"""


@dataclass(frozen=True)
class Pool:
    """All examples of a source; example `i` of each column is the same example, and `i` is its
    `source_row` in the shards.

    Attributes:
        x: the features.
        num_classes: number of classes, or of the groups of `manifest.Targets`.
        vocabulary: the labels' names in the order of their classes, or None where the labels are
            the classes.
        kind: `task.kind`.
        targets: of multilabel and regression; else None.
        tokens: of tokens the highest token and 1; else None.
        client_ids: sorted ids of the source's own clients, or None.
        pixel_convention: what 1.0 means, or None.
        sha256: of features, labels, clients and test split.
        notes: warnings about labels and ids, one line each.
        has_split: whether the source has a test split of its own.
        columns: the numbers of labels and clients in the order in which they came, and the test
            marks.
        class_of, client_of: int32, the class of each label's number and the place of each client's
            number in `client_ids`.
    """

    x: StoredRows
    num_classes: int
    vocabulary: tuple[str, ...] | None
    kind: TaskKind
    targets: StoredTargets | None
    tokens: int | None
    client_ids: tuple[str, ...] | None
    pixel_convention: PixelConvention | None
    sha256: str
    notes: tuple[str, ...]
    has_split: bool
    columns: "_Columns"
    class_of: Int32s
    client_of: Int32s

    @property
    def count(self) -> int:
        """Return the number of examples."""
        return self.x.count

    def y(self, start: int = 0, end: int | None = None) -> Int32s:
        """Return int32 [n], the classes or groups of these rows; of all in memory at once without
        a range.
        """
        classes: Int32s = self.class_of[self.columns.labels.read(start, end)]
        return classes

    def owner(self, start: int, end: int) -> Int32s:
        """Return int32 [n], for each of these rows the index of its client in `client_ids`, which
        is not None.
        """
        owners: Int32s = self.client_of[self.columns.clients.read(start, end)]
        return owners

    def is_test(self, start: int = 0, end: int | None = None) -> Bools | None:
        """Return bool [n], the source's own test marks of these rows, or None."""
        if self.has_split:
            return self.columns.tests.read(start, end)
        return None


class _Columns:
    """Labels, clients, test marks and sequence lengths of all examples, on disk."""

    def __init__(self, scratch: Scratch, kind: TaskKind) -> None:
        self._kind = kind
        self.targets = TargetColumn(scratch)
        self.highest_token = 0
        self.labels = DiskColumn(scratch, np.int32)
        self.clients = DiskColumn(scratch, np.int32)
        self.tests = DiskColumn(scratch, np.bool_)
        self.starts = DiskColumn(scratch, np.int64)
        self.label_codes = Codes()
        self.client_codes = Codes()
        self._end = 0

    def add(self, batch: Batch) -> None:
        """Append a batch's columns."""
        self._add_labels(batch)
        if batch.clients is not None:
            self.clients.append(self.client_codes.add_texts(batch.clients))
        if batch.is_test is not None:
            self.tests.append(batch.is_test)
        if isinstance(batch.x, list):
            ends = self._end + np.cumsum([len(sequence) for sequence in batch.x], dtype=np.int64)
            if not len(self.starts):
                self.starts.append(np.zeros(1, np.int64))
            self.starts.append(ends)
            self._end = int(ends[-1])

    def _add_labels(self, batch: Batch) -> None:
        y: Any = batch.y
        if self._kind == "tokens":
            sequences = batch.x if isinstance(batch.x, list) else [batch.x]
            highest = max(int(sequence.max(initial=0)) for sequence in sequences)
            self.highest_token = max(self.highest_token, highest)
            self.labels.append(np.zeros(len(batch.x), np.int32))
        elif self._kind in ("multilabel", "regression"):
            self.targets.add(y)
        elif is_text(y):
            self.labels.append(self.label_codes.add_texts(list(map(str, y))))
        else:
            self.labels.append(self.label_codes.add_numbers(np.asarray(y)))


def read_pool(
    source: Source,
    where: str,
    scratch: Scratch,
    memory_limit_mb: int,
    makes_clients: bool,
    kind: TaskKind = "classification",
    label_columns: Sequence[str] = (),
) -> Pool:
    """Read all batches of a source.

    Args:
        source: the source.
        where: its name, for errors.
        scratch: for the features and the other columns; it must stay open as long as the pool is
            used.
        memory_limit_mb: refuse a source with so many clients and labels that what is kept of them
            would pass it; with `makes_clients`, or if the source has no clients, one with so many
            examples.
        makes_clients: whether `data.partition` makes the clients.
        kind: `task.kind`.
        label_columns: names of the targets or labels, where the source says none.

    Raises:
        DataError: the source is empty or damaged, its batches do not agree, its labels do not fit
            the kind, or it is too large for the memory limit.
        OSError: the columns cannot be written.
    """
    first: Batch | None = None
    digest = hashlib.sha256()
    count = 0
    limit = memory_limit_mb * 1_000_000
    columns = _Columns(scratch, kind)
    file = scratch.file()
    for batch in source.batches():
        if not len(batch.x):
            continue
        first = first or batch
        _refuse_disagreement(batch, first, where, count, kind)
        joined = np.concatenate(batch.x) if isinstance(batch.x, list) else batch.x
        features = np.ascontiguousarray(joined, dtype=joined.dtype.newbyteorder("<"))
        file.write(features.data)
        digest.update(features.data)
        columns.add(batch)
        count += len(batch.x)
        _refuse_too_much(
            where, columns, count if makes_clients or batch.clients is None else 0, limit
        )
    if first is None or not count:
        raise DataError(f"{where}: expected examples, found none.")
    file.flush()
    labels = _labels_of(columns, source, where, kind, count, label_columns)
    ids, client_of = columns.client_codes.finish()
    client_ids = ids if first.clients is not None else None
    dtype, shape = _features_of(first)
    starts = columns.starts if isinstance(first.x, list) else None
    if starts is not None:
        shape = (max(int(lengths.max()) for lengths in _lengths(starts)),)
    notes = (*labels.notes, *id_notes(client_ids or ()))
    rows = StoredRows(file, dtype.newbyteorder("<"), shape, count, starts)
    pool = Pool(
        x=rows,
        num_classes=labels.num_classes,
        vocabulary=labels.vocabulary,
        kind=kind,
        targets=labels.targets,
        tokens=columns.highest_token + 1 if kind == "tokens" else None,
        client_ids=client_ids,
        pixel_convention=source.pixel_convention,
        sha256="",
        notes=notes,
        has_split=first.is_test is not None,
        columns=columns,
        class_of=labels.class_of,
        client_of=client_of,
    )
    return replace(pool, sha256=_sha256(digest, pool, dtype))


@dataclass(frozen=True)
class _PoolLabels:
    """What the labels of all batches are; the attributes are those of `Pool`."""

    num_classes: int
    vocabulary: tuple[str, ...] | None
    class_of: Int32s
    notes: Sequence[str]
    targets: StoredTargets | None = None


def _labels_of(
    columns: _Columns,
    source: Source,
    where: str,
    kind: TaskKind,
    count: int,
    label_columns: Sequence[str],
) -> _PoolLabels:
    """Return the labels once all batches are read; targets get their groups in `columns.labels`."""
    if kind == "tokens":
        return _PoolLabels(1, None, np.zeros(1, np.int32), ())
    if kind in ("multilabel", "regression"):
        targets, groups = stored_targets(
            columns.targets, kind, source.target_names or label_columns, where
        )
        for part in groups:
            columns.labels.append(part)
        number = len(targets.groups)
        notes = target_notes(targets, kind)
        class_of = np.arange(number, dtype=np.int32)
        return _PoolLabels(number, targets.groups, class_of, notes, targets)
    values, rank = columns.label_codes.finish()
    if kind == "binary":
        require_two_labels(values, where)
    num_classes, vocabulary, classes = classes_of(values, source.num_classes, where)
    notes = label_notes(values, count, source.num_classes)
    if kind == "binary" and num_classes != 2:
        raise DataError(
            f"{where}: expected the source's num_classes to be 2 for task.kind=binary, found "
            f"{num_classes}. Correct it or leave it out."
        )
    return _PoolLabels(num_classes, vocabulary, classes[rank], notes)


def _sha256(digest: Any, pool: Pool, dtype: np.dtype[Any]) -> str:
    """Return the digest of the features that were read and of the other columns of the pool."""
    digest.update(
        f"{dtype.name}:{(pool.count, *pool.x.shape)}:{pool.vocabulary}:{pool.client_ids}:".encode()
    )
    columns = (
        (pool.y, True),
        (pool.owner, pool.client_ids is not None),
        (pool.is_test, pool.has_split),
    )
    for column, exists in columns:
        if not exists:
            digest.update(b"none")
            continue
        for start, end in chunk_bounds(pool.count):
            digest.update(np.ascontiguousarray(column(start, end)).data)
    if pool.x.starts is not None:
        for lengths in _lengths(pool.x.starts):
            digest.update(lengths.astype("<i8").data)
    if pool.targets is not None:
        digest.update(f"{pool.kind}:{pool.targets.names}:".encode())
        for targets in pool.targets.chunks():
            digest.update(np.ascontiguousarray(targets, "<f4").data)
    return str(digest.hexdigest())


def _lengths(starts: DiskColumn) -> Iterator[Int64s]:
    """Yield the lengths of all sequences, some at a time."""
    for start, end in chunk_bounds(len(starts) - 1):
        yield np.diff(starts.read(start, end + 1))


def _refuse_too_much(where: str, columns: _Columns, examples_in_memory: int, limit: int) -> None:
    """Raise DataError if clients, labels or examples need more memory than the limit."""
    in_mb = limit // 1_000_000
    if examples_in_memory * ROW_BYTES > limit:
        raise DataError(
            f"{where}: expected at most {limit // ROW_BYTES} examples under "
            f"data.memory_limit_mb={in_mb}, found more. Raise data.memory_limit_mb: a partition "
            "that makes the clients holds the labels of all examples in memory."
        )
    for kind, number in (
        ("clients", len(columns.client_codes)),
        ("different labels", len(columns.label_codes) + len(columns.targets.codes)),
    ):
        if number * NAME_BYTES * 2 > limit:
            raise DataError(
                f"{where}: expected at most {limit // NAME_BYTES // 2} {kind} under "
                f"data.memory_limit_mb={in_mb}, found more. Raise data.memory_limit_mb."
            )


def _features_of(batch: Batch) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of an example's features; -1 stands for a variable length."""
    if isinstance(batch.x, list):
        dtypes = {sequence.dtype for sequence in batch.x}
        if len(dtypes) > 1 or not all(sequence.ndim == 1 and len(sequence) for sequence in batch.x):
            return np.dtype(object), (-1,)
        return dtypes.pop(), (-1,)
    return batch.x.dtype, batch.x.shape[1:]


def _kind_of_labels(batch: Batch, kind: TaskKind) -> str:
    """Return what the labels are, in words."""
    y: Any = batch.y
    if y is None:
        return "none"
    if kind not in ("multilabel", "regression"):
        return "texts" if is_text(y) else "whole numbers"
    if isinstance(y, np.ndarray):
        return f"rows of {y.shape[1]}"
    return "lists of labels"


def _kinds_of_columns(batch: Batch, kind: TaskKind) -> dict[str, str]:
    """Return what each column holds, in words."""
    dtype, shape = _features_of(batch)
    presence = {True: "none", False: "given"}
    return {
        "feature dtype": str(dtype),
        "feature shape": str(shape),
        "labels": _kind_of_labels(batch, kind),
        "clients": presence[batch.clients is None],
        "test split": presence[batch.is_test is None],
    }


def _refuse_disagreement(batch: Batch, first: Batch, where: str, row: int, kind: TaskKind) -> None:
    """Refuse a batch whose columns are not what the first one's are, or differ in length."""
    dtype, shape = _features_of(batch)
    if kind == "tokens" and (dtype != np.int32 or len(shape) != 1):
        raise DataError(
            f"{where}: expected sequences of tokens for task.kind=tokens, found {dtype} features "
            f"of shape {list(shape)}. Set data.feature_dtype=int32 if they are tokens, or another "
            "task.kind."
        )
    if dtype not in (np.uint8, np.int32, np.float32) or 0 in shape:
        raise DataError(
            f"{where}: expected uint8, int32 or float32 features with values, found {dtype} "
            f"{shape} from row {row} on."
        )
    expected = _kinds_of_columns(first, kind)
    kinds = _kinds_of_columns(batch, kind)
    differing = [
        f"{name} {kind} after {expected[name]}"
        for name, kind in kinds.items()
        if kind != expected[name]
    ]
    if differing:
        raise DataError(
            f"{where}: expected all examples alike, found {shorten(differing)} from row {row} on."
        )
    columns = (batch.x, batch.y, batch.clients, batch.is_test)
    lengths = {len(column) for column in columns if column is not None}
    if len(lengths) != 1:
        raise DataError(
            f"{where}: expected columns of one length, found {sorted(lengths)} from row {row} on."
        )
