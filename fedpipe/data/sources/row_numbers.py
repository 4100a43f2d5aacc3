"""Detects columns that number the rows, in any order of rows: a table that was sorted or shuffled
keeps the numbers it had before.

Such a column is no feature. Where the rows were sorted by label when they were numbered, it tells
the label.
"""

import numpy as np

from fedpipe.data.array_types import Array, Bools

_MOST_EXACT_FLOAT32 = 2**24
_MANY_ROWS = 20
"""So many different numbers with gaps are no chance."""


class DistinctNumbers:
    """Whether a column holds a different whole number in each row. Takes a byte for each number of
    the range that they span.
    """

    def __init__(self, most_bytes: int) -> None:
        """Take the bytes that may be used; a column that spans more counts as none that numbers the
        rows.
        """
        self._most = most_bytes
        self._seen: Bools = np.zeros(0, np.bool_)
        self._first = self._low = self._high = 0
        self._rows = 0

    def add(self, numbers: Array) -> bool:
        """Take the next numbers, whole ones [n] with n > 0; return False once one came twice, or
        they span too much.
        """
        low = int(numbers.min())
        high = int(numbers.max())
        if high > np.iinfo(np.int64).max:
            return False
        self._low = min(low, self._low if self._rows else low)
        self._high = max(high, self._high if self._rows else high)
        if not self._make_room():
            return False
        places = numbers.astype(np.int64) - self._first
        if len(np.unique(places)) < len(places) or self._seen[places].any():
            return False
        self._seen[places] = True
        self._rows += len(places)
        return True

    def number_rows(self, gaps: bool) -> bool:
        """Return whether the numbers that came, all different, are those of rows: without gaps, or
        with `gaps` many of them.
        """
        return self._rows > 1 and (
            self._high - self._low + 1 == self._rows or (gaps and self._rows >= _MANY_ROWS)
        )

    def _make_room(self) -> bool:
        """Let `_seen` reach from the lowest number to the highest, and as far again where it grew;
        False if that is too much.
        """
        held = len(self._seen)
        needed = self._high - self._low + 1
        if needed > self._most:
            return False
        below = self._low < self._first
        above = self._high >= self._first + held
        if held and not below and not above:
            return True
        more = min(held, self._most - needed)
        first = self._low - more if below else self._low
        end = self._high + 1 + (0 if below else more)
        seen = np.zeros(end - first, np.bool_)
        low = max(first, self._first)
        high = min(end, self._first + held)
        if low < high:
            seen[low - first : high - first] = self._seen[low - self._first : high - self._first]
        self._first = first
        self._seen = seen
        return True


class RowNumberColumns:
    """Which of the columns of features hold each whole number of a range once, by the sums of
    numbers and squares.
    """

    def __init__(self) -> None:
        self._rows = 0

    def add(self, x: Array) -> None:
        """Take the next rows, [n, columns] with n > 0."""
        if not self._rows:
            self._left = np.arange(x.shape[1])
            self._low = np.full(x.shape[1], np.inf)
            self._high = -self._low
            self._sum, self._squares = np.zeros((2, x.shape[1]))
        self._rows += len(x)
        if not len(self._left):
            return
        values = x[:, self._left].astype(np.float64)
        self._low = np.minimum(self._low, values.min(axis=0))
        self._high = np.maximum(self._high, values.max(axis=0))
        self._sum += values.sum(axis=0)
        self._squares += (values**2).sum(axis=0)
        can_number = (values == np.trunc(values)).all(axis=0)
        can_number &= self._high - self._low + 1 >= self._rows
        can_number &= np.maximum(np.abs(self._low), np.abs(self._high)) < _MOST_EXACT_FLOAT32
        for name in ("_left", "_low", "_high", "_sum", "_squares"):
            setattr(self, name, getattr(self, name)[can_number])

    def places(self) -> list[int]:
        """Return the places of the columns that number the rows; none of fewer than ten rows."""
        count = self._rows
        if count < 10:
            return []
        sums = count * self._low + count * (count - 1) / 2
        squares = (
            count * self._low**2
            + self._low * count * (count - 1)
            + (count - 1) * count * (2 * count - 1) / 6
        )
        numbers = (
            (self._high - self._low + 1 == count)
            & np.isclose(self._sum, sums, 1e-12, 0.5)
            & np.isclose(self._squares, squares, 1e-12, 0.5)
        )
        return [int(place) for place in self._left[numbers]]
