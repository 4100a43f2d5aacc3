"""Which rows of a long table are shown."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` items at even steps, the first and the last among them.

    >>> evenly_spaced("abc", 10), evenly_spaced(range(101), 5)
    (['a', 'b', 'c'], [0, 25, 50, 75, 100])
    """
    indices = np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)
    return [items[index] for index in indices.tolist()]
