"""Number of examples of each label at each client, as sparse counts: of 10,000 classes most clients
have few.
"""

from dataclasses import dataclass

import numpy as np

from fedpipe.data.array_types import Int32s, Int64s, Ints
from fedpipe.data.disk_columns import DiskColumn, Scratch


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """Counts of some clients: client `i` has `counts[k]` examples of class `labels[k]`, k from
    `starts[i]` to before `starts[i + 1]`.

    Attributes:
        starts: int64 [clients + 1].
        labels: int32 [pairs], ascending within a client.
        counts: int32 [pairs], above 0.
        num_classes: number of classes.
    """

    starts: Int64s
    labels: Int32s
    counts: Int32s
    num_classes: int

    @classmethod
    def count(
        cls,
        owner: Ints,
        y: Int32s,
        clients: int,
        num_classes: int,
    ) -> "LabelCounts":
        """Return the counts of examples with owners 0..clients - 1 and classes `y`, both [n].

        >>> owner, y = np.array([0, 0, 2]), np.array([1, 1, 0], np.int32)
        >>> LabelCounts.count(owner, y, clients=3, num_classes=2).dense().tolist()
        [[0, 2], [0, 0], [1, 0]]
        """
        pairs, counts = np.unique(owner.astype(np.int64) * num_classes + y, return_counts=True)
        starts = np.searchsorted(pairs, np.arange(clients + 1, dtype=np.int64) * num_classes)
        return cls(
            starts, (pairs % num_classes).astype(np.int32), counts.astype(np.int32), num_classes
        )

    @classmethod
    def of_dense(cls, counts: Ints) -> "LabelCounts":
        """Return the counts of a table [clients, classes]."""
        clients, labels = np.nonzero(counts)
        starts = np.searchsorted(clients, np.arange(len(counts) + 1))
        return cls(
            starts,
            labels.astype(np.int32),
            counts[clients, labels].astype(np.int32),
            counts.shape[1],
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def owners(self) -> Int64s:
        """Return int64 [pairs], the client of each pair."""
        return np.repeat(np.arange(len(self)), self.distinct())

    def sizes(self) -> Int64s:
        """Return int64 [clients], examples of each."""
        return self._ends(np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)]))

    def distinct(self) -> Int64s:
        """Return int64 [clients], labels of which each has an example."""
        distinct: Int64s = np.diff(self.starts)
        return distinct

    def totals(self) -> Int64s:
        """Return int64 [classes], examples of each label."""
        return np.bincount(self.labels, self.counts, self.num_classes).astype(np.int64)

    def rows(self, chosen: Ints) -> "LabelCounts":
        """Return the counts of some clients, in the order of `chosen`."""
        sizes = self.distinct()[chosen]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        pairs = np.repeat(self.starts[chosen] - starts[:-1], sizes) + np.arange(starts[-1])
        return LabelCounts(starts, self.labels[pairs], self.counts[pairs], self.num_classes)

    def dense(self, labels: Ints | None = None) -> Int32s:
        """Return the counts as a table, int32 [clients, labels]; of all classes, or of `labels`.
        For a few clients and labels.
        """
        chosen = np.arange(self.num_classes) if labels is None else np.asarray(labels)
        order = np.argsort(chosen, kind="stable")
        place = np.searchsorted(chosen[order], self.labels)
        is_chosen = place < len(chosen)
        is_chosen[is_chosen] = chosen[order][place[is_chosen]] == self.labels[is_chosen]
        table = np.zeros((len(self), len(chosen)), np.int32)
        table[self.owners()[is_chosen], order[place[is_chosen]]] = self.counts[is_chosen]
        return table

    def most_frequent(self, most: int) -> Int64s:
        """Return the `most` classes with the most examples, ascending."""
        return np.sort(np.argsort(-self.totals(), kind="stable")[:most])

    def _ends(self, sums: Int64s) -> Int64s:
        sizes: Int64s = sums[self.starts[1:]] - sums[self.starts[:-1]]
        return sizes


class LabelCountsOnDisk:
    """The label counts of all clients, added some clients at a time and read in any part."""

    def __init__(self, scratch: Scratch, num_classes: int) -> None:
        """Make empty columns."""
        self._num_classes = num_classes
        self._labels, self._counts, self._ends = (
            DiskColumn(scratch, dtype) for dtype in (np.int32, np.int32, np.int64)
        )
        self._ends.append(np.zeros(1, np.int64))

    def add(self, counts: LabelCounts) -> None:
        """Add the clients that come next."""
        self._ends.append(counts.starts[1:] + len(self._labels))
        self._labels.append(counts.labels)
        self._counts.append(counts.counts)

    def read(self, first: int, end: int) -> LabelCounts:
        """Return the counts of clients `first` to before `end`."""
        ends = self._ends.read(first, end + 1)
        labels, counts = (
            column.read(int(ends[0]), int(ends[-1])) for column in (self._labels, self._counts)
        )
        return LabelCounts(ends - ends[0], labels, counts, self._num_classes)


def joined(parts: list[LabelCounts]) -> LabelCounts:
    """Return the counts of the clients of all parts, in their order; there is at least one."""
    offsets = np.cumsum([0, *(counts.starts[-1] for counts in parts)])
    starts = [table.starts[1:] + offset for table, offset in zip(parts, offsets[:-1], strict=True)]
    return LabelCounts(
        np.concatenate([[0], *starts]).astype(np.int64),
        np.concatenate([counts.labels for counts in parts]),
        np.concatenate([counts.counts for counts in parts]),
        parts[0].num_classes,
    )
