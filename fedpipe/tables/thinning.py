"""Which rows of a long table are shown."""

import numpy as np
import numpy.typing as npt


def evenly_spaced(total: int, most: int) -> npt.NDArray[np.int64]:
    """Return the indices of at most `most` of `total` rows, the first and the last among them.

    >>> evenly_spaced(3, 10).tolist(), evenly_spaced(101, 5).tolist()
    ([0, 1, 2], [0, 25, 50, 75, 100])
    """
    return np.unique(np.linspace(0, total - 1, min(most, total)).astype(np.int64))
