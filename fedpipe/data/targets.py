"""Targets of multilabel and regression: float32 rows on disk, and the group of each example that
partitions use in place of a class.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fedpipe.config.task import TaskKind
from fedpipe.data.array_types import Array, Floats, Int32s, Int64s
from fedpipe.data.disk_columns import DiskColumn, Scratch, chunk_bounds
from fedpipe.data.labels import Codes
from fedpipe.data.manifest import TargetRange
from fedpipe.data.stored_rows import StoredRows
from fedpipe.errors import DataError, shorten

GROUPS = 10
"""Groups of regression, by the tenths of the first target."""
NO_LABEL = "no label"
"""Name of the group of the examples that have none of the labels."""
_HALF_KEYS = 1 << 16


@dataclass(frozen=True)
class StoredTargets:
    """The targets of all examples.

    Attributes:
        rows: float32 [n, targets].
        names: of the targets, or of the labels.
        groups: names of the groups.
    """

    rows: StoredRows
    names: tuple[str, ...]
    groups: tuple[str, ...]

    def chunks(self) -> Iterator[Array]:
        """Yield all targets in order, some at a time."""
        return _chunks(self.rows)


def stored_targets(
    column: "TargetColumn", kind: TaskKind, names: Sequence[str], where: str
) -> tuple[StoredTargets, Iterator[Int32s]]:
    """Return the targets of all examples, and their groups, int32, some at a time.

    Args:
        column: the targets of all batches.
        kind: multilabel or regression.
        names: of the targets or labels, as far as the source or the settings say them.
        where: name of the source, for errors.

    Raises:
        DataError: no example has a label, or some labels are texts and some are numbers.
    """
    if len(column.label_types) > 1:
        raise DataError(
            f"{where}: expected labels of one kind for task.kind=multilabel, found texts and whole "
            "numbers. Write all labels in the same way."
        )
    rows, names = column.finish(names)
    if not names:
        raise DataError(
            f"{where}: expected labels for task.kind=multilabel, found none in any example. Name "
            "another column in data.label_column."
        )
    if kind == "multilabel":
        groups = label_groups(names)
        return StoredTargets(rows, names, groups), map(first_label, _chunks(rows))
    bounds = tenths(rows)
    stored = StoredTargets(rows, names, range_names(names[0], bounds))
    return stored, (tenth_of(chunk, bounds) for chunk in _chunks(rows))


class TargetColumn:
    """Collects the targets of a source's batches on disk: rows of numbers, or sets of labels.

    Attributes:
        codes: the labels of the sets.
        label_types: their types, int or str.
    """

    def __init__(self, scratch: Scratch) -> None:
        """Make an empty column."""
        self._scratch = scratch
        self._rows = DiskColumn(scratch, "<f4")
        self._labels = DiskColumn(scratch, np.int32)
        self._ends = DiskColumn(scratch, np.int64)
        self._ends.append(np.zeros(1, np.int64))
        self.codes = Codes()
        self.label_types: set[type] = set()
        self._width = 0
        self._count = 0

    def add(self, targets: Array | Sequence[Sequence[Any]]) -> None:
        """Append targets [n, targets], or n lists of labels."""
        self._count += len(targets)
        if isinstance(targets, np.ndarray):
            self._width = targets.shape[1]
            self._rows.append(targets.reshape(-1))
            return
        flat = [label for labels in targets for label in labels]
        ends = len(self._labels) + np.cumsum([len(labels) for labels in targets], dtype=np.int64)
        self.label_types.update(map(type, flat))
        self._labels.append(self.codes.add_texts(flat))
        self._ends.append(ends)

    def finish(self, names: Sequence[str] | None) -> tuple[StoredRows, tuple[str, ...]]:
        """Return the targets of all examples and their names: `names`, if there are as many as
        targets; of sets the labels that occur, sorted.
        """
        if len(self._ends) > 1:
            return self._sets()
        given = tuple(names or ())
        if len(given) != self._width:
            stem = given[0] if len(given) == 1 else "target"
            given = tuple(f"{stem}_{number}" for number in range(self._width))
        return self._stored(self._rows, self._width), given

    def _sets(self) -> tuple[StoredRows, tuple[str, ...]]:
        labels, rank = self.codes.finish()
        rows = DiskColumn(self._scratch, "<f4")
        for start, end in chunk_bounds(self._count, len(labels)):
            ends = self._ends.read(start, end + 1)
            table = np.zeros((end - start, len(labels)), np.float32)
            owners = np.repeat(np.arange(end - start), np.diff(ends))
            table[owners, rank[self._labels.read(int(ends[0]), int(ends[-1]))]] = 1
            rows.append(table.reshape(-1))
        return self._stored(rows, len(labels)), tuple(map(str, labels))

    def _stored(self, column: DiskColumn, width: int) -> StoredRows:
        return StoredRows(column.file(), np.dtype("<f4"), (width,), self._count)


def label_groups(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the groups of multilabel."""
    return (*names, NO_LABEL)


def first_label(targets: Array) -> Int32s:
    """Return int32 [n], the first label that each example has; the number of labels for those
    without one.

    >>> first_label(np.array([[0, 1, 1], [0, 0, 0]])).tolist()
    [1, 3]
    """
    groups: Int32s = np.where(targets.any(axis=1), targets.argmax(axis=1), targets.shape[1]).astype(
        np.int32
    )
    return groups


def tenths(rows: StoredRows) -> Floats:
    """Return the values of the first target at which the second to the last group begin, float32,
    ascending: nine, or fewer where targets are equal. Each group has examples.

    Exact, in memory that does not grow with the examples: the first pass counts the upper halves of
    the floats' bits, the second the lower halves of those that hold a bound.
    """
    upper = np.zeros(_HALF_KEYS, np.int64)
    for chunk in _chunks(rows):
        upper += np.bincount(_keys(chunk) >> 16, minlength=_HALF_KEYS)
    ranks = np.arange(1, GROUPS, dtype=np.int64) * rows.count // GROUPS
    before = np.concatenate([[0], np.cumsum(upper)])
    halves = np.searchsorted(before, ranks, side="right") - 1
    lower = {int(half): np.zeros(_HALF_KEYS, np.int64) for half in halves}
    smallest = _HALF_KEYS * _HALF_KEYS
    for chunk in _chunks(rows):
        keys = _keys(chunk)
        smallest = min(smallest, int(keys.min()))
        for half, counts in lower.items():
            counts += np.bincount(keys[keys >> 16 == half] & 0xFFFF, minlength=_HALF_KEYS)
    bounds = set()
    for rank, half in zip(ranks.tolist(), halves.tolist(), strict=True):
        within = np.cumsum(lower[half])
        place = int(np.searchsorted(within, rank - before[half], side="right"))
        bounds.add((half << 16) + place)
    keys = np.array(sorted(bounds - {smallest}), np.int64)
    return _values(keys)


def tenth_of(targets: Array, bounds: Floats) -> Int32s:
    """Return int32 [n], the group of each example by its first target.

    >>> tenth_of(np.array([[1.0], [2.0], [9.0]]), np.array([2.0, 5.0])).tolist()
    [0, 1, 2]
    """
    groups: Int32s = np.searchsorted(bounds, targets[:, 0], side="right").astype(np.int32)
    return groups


def range_names(name: str, bounds: Floats) -> tuple[str, ...]:
    """Return names of the groups of regression.

    >>> range_names("price", np.array([2.0, 5.0]))
    ('price below 2', 'price from 2 to below 5', 'price from 5')
    """
    if not len(bounds):
        return (name,)
    shown = [f"{bound:.6g}" for bound in bounds.tolist()]
    between = [f"{name} from {low} to below {high}" for low, high in pairwise(shown)]
    return (f"{name} below {shown[0]}", *between, f"{name} from {shown[-1]}")


class TargetSums:
    """Sums of targets, from which their ranges follow; in float64."""

    def __init__(self, rows: StoredRows) -> None:
        """Take the targets of all examples; none is summed yet."""
        width = rows.shape[0]
        self._rows = rows
        self._count = 0
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)
        self._min = np.full(width, np.inf)
        self._max = np.full(width, -np.inf)

    def add(self, rows: Int64s) -> None:
        """Add the targets of some examples, by their numbers in the source."""
        for start, end in chunk_bounds(len(rows), self._rows.shape[0]):
            self._add(self._rows.take(rows[start:end]).astype(np.float64))

    def _add(self, values: Floats) -> None:
        """Add targets [n, targets] by the update of Chan et al. 1979, which loses no digits."""
        mean = values.mean(axis=0)
        count = self._count + len(values)
        shift = mean - self._mean
        self._squares += ((values - mean) ** 2).sum(axis=0)
        self._squares += shift**2 * (self._count * len(values) / count)
        self._mean += shift * (len(values) / count)
        self._count = count
        self._min = np.minimum(self._min, values.min(axis=0))
        self._max = np.maximum(self._max, values.max(axis=0))

    def ranges(self) -> tuple[TargetRange, ...]:
        """Return mean, standard deviation and bounds of each target."""
        stds = np.sqrt(self._squares / max(1, self._count))
        figures = (self._mean, stds, self._min, self._max)
        return tuple(
            TargetRange(mean=mean, std=std, min=low, max=high)
            for mean, std, low, high in zip(*(figure.tolist() for figure in figures), strict=True)
        )


def target_notes(targets: StoredTargets, kind: str) -> list[str]:
    """Return warnings about targets that look like mistakes, one line each."""
    low, high = np.full((2, len(targets.names)), np.nan)
    for chunk in targets.chunks():
        low = np.fmin(low, chunk.min(axis=0))
        high = np.fmax(high, chunk.max(axis=0))
    constant = [
        f"{name} ({value:g})"
        for name, value, equal in zip(targets.names, low.tolist(), low == high, strict=True)
        if equal
    ]
    if not constant:
        return []
    problem = "labels that every example has (1) or none has (0)"
    if kind == "regression":
        problem = "targets that are the same in all examples"
    return [f"{problem}, so that there is nothing to learn: {shorten(constant, 5)}"]


def _chunks(rows: StoredRows) -> Iterator[Array]:
    for start, end in chunk_bounds(rows.count, rows.shape[0]):
        yield rows.take(np.arange(start, end))


def _keys(targets: Array) -> Int64s:
    """Return the first targets as whole numbers in the same order, 0 to 2**32 - 1."""
    values = np.ascontiguousarray(targets[:, 0], np.float32) + np.float32(0)  # -0.0 becomes 0.0
    bits = values.view(np.uint32).astype(np.int64)
    keys: Int64s = np.where(bits >> 31, 0xFFFFFFFF - bits, bits + 0x80000000)
    return keys


def _values(keys: Int64s) -> Floats:
    bits = np.where(keys >= 0x80000000, keys - 0x80000000, 0xFFFFFFFF - keys)
    return bits.astype(np.uint32).view(np.float32)
