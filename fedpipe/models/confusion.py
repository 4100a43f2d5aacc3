"""Confusion counts of a classifier, kept for the pairs that occur: memory follows the predictions,
not the number of classes squared.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """Counts of (actual, predicted) classes, sorted by both; pairs that never occur are left out.

    Attributes:
        num_classes: number of classes.
        actual: int64 [pairs], number of the label's class.
        predicted: int64 [pairs], number of the predicted class.
        counts: int64 [pairs], predictions, at least 1.
    """

    num_classes: int
    actual: Ints
    predicted: Ints
    counts: Ints

    @classmethod
    def count(
        cls, labels: npt.NDArray[Any], predicted: npt.NDArray[Any], num_classes: int
    ) -> "Confusion":
        """Return the counts of predictions.

        Args:
            labels: int [predictions], each in 0..num_classes - 1.
            predicted: int [predictions], each in 0..num_classes - 1.
            num_classes: number of classes.

        >>> Confusion.count(np.array([0, 2, 0]), np.array([1, 2, 1]), 3).pairs()
        [(0, 1, 2), (2, 2, 1)]
        """
        codes, counts = np.unique(
            labels.astype(np.int64) * num_classes + predicted, return_counts=True
        )
        return cls(num_classes, codes // num_classes, codes % num_classes, counts.astype(np.int64))

    @property
    def total(self) -> int:
        """Return the number of predictions."""
        return int(self.counts.sum())

    @property
    def right(self) -> int:
        """Return the number of predictions that are the label."""
        return int(self.counts[self.actual == self.predicted].sum())

    def pairs(self) -> list[tuple[int, int, int]]:
        """Return the pairs as (actual, predicted, count)."""
        return list(
            zip(self.actual.tolist(), self.predicted.tolist(), self.counts.tolist(), strict=True)
        )

    def examples(self) -> Ints:
        """Return the number of predictions of each actual class, int64 [classes]."""
        return _sums(self.actual, self.counts, self.num_classes)

    def hits(self) -> Ints:
        """Return the number of right predictions of each actual class, int64 [classes]."""
        is_right = self.actual == self.predicted
        return _sums(self.actual[is_right], self.counts[is_right], self.num_classes)

    def predicted_classes(self) -> Ints:
        """Return the numbers of the classes that are predicted at least once, rising."""
        return np.unique(self.predicted)

    def worst_pairs(self, most: int) -> list[tuple[int, int, int]]:
        """Return the pairs that are confused most often as (actual, predicted, count), the most
        frequent first.

        >>> Confusion.count(np.array([0, 0, 1, 1]), np.array([1, 0, 0, 0]), 2).worst_pairs(2)
        [(1, 0, 2), (0, 1, 1)]
        """
        wrong = np.flatnonzero(self.actual != self.predicted)
        ranked = wrong[np.argsort(-self.counts[wrong], kind="stable")[:most]]
        return [
            (int(self.actual[i]), int(self.predicted[i]), int(self.counts[i]))
            for i in ranked.tolist()
        ]

    def most_confused(self, most: int) -> Ints:
        """Return the numbers of at most `most` classes, rising: those in most wrong predictions,
        then those with most examples.
        """
        if self.num_classes <= most:
            return np.arange(self.num_classes)
        is_wrong = self.actual != self.predicted
        wrong = _sums(self.actual[is_wrong], self.counts[is_wrong], self.num_classes)
        wrong += _sums(self.predicted[is_wrong], self.counts[is_wrong], self.num_classes)
        ranked = np.lexsort((np.arange(self.num_classes), -self.examples(), -wrong))
        return np.sort(ranked[:most])

    def among(self, classes: Ints) -> Ints:
        """Return the counts between some classes as a matrix, int64 [len(classes), len(classes)]:
        row = actual, column = predicted.
        """
        position = np.full(self.num_classes, -1, np.int64)
        position[classes] = np.arange(len(classes))
        is_inside = (position[self.actual] >= 0) & (position[self.predicted] >= 0)
        matrix = np.zeros((len(classes), len(classes)), np.int64)
        matrix[position[self.actual[is_inside]], position[self.predicted[is_inside]]] = self.counts[
            is_inside
        ]
        return matrix


def _sums(classes: Ints, counts: Ints, num_classes: int) -> Ints:
    """Return the sum of counts by class, exact, int64 [classes]."""
    sums = np.zeros(num_classes, np.int64)
    np.add.at(sums, classes, counts)
    return sums
