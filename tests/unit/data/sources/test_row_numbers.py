"""Row numbers are told apart in bounded memory."""

import numpy as np

from fedpipe.data.sources.row_numbers import DistinctNumbers


def test_row_numbers_are_told_apart_within_a_bound_of_memory() -> None:
    generator = np.random.default_rng(1)
    for first in (0, -5, 10**15):
        numbers = DistinctNumbers(20_000)
        assert all(
            numbers.add(part) for part in np.split(first + generator.permutation(10_000), 10)
        )
        assert numbers.number_rows(gaps=False)
        assert not numbers.add(np.array([first + 17]))
    numbers = DistinctNumbers(20_000)
    assert numbers.add(np.arange(0, 40, 2))
    assert (numbers.number_rows(gaps=False), numbers.number_rows(gaps=True)) == (False, True)
    assert not numbers.add(np.array([10**9]))
    assert not DistinctNumbers(100).add(np.array([2**64 - 1], np.uint64))
