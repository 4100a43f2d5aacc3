"""Sizes of clients: the least that each gets, and the arithmetic of shares for all partitions."""

import heapq

import numpy as np

from fedpipe.data.array_types import Floats, Int32s, Int64s
from fedpipe.errors import DataError

MIN_EXAMPLES = 2
"""Examples that every client gets: one to train with, one to test with."""


def apportion(
    weights: Floats,
    total: int,
    low: Int64s,
    high: Int64s,
) -> Int64s:
    """Return whole numbers that sum to `total`, in proportion to `weights` within the bounds,
    rounded by largest remainders.

    Quotas are clip(c w_i, low_i, high_i) with the c at which they sum to `total`; each is rounded
    down, and what is missing is given, one each, to the largest fractions; of equal ones the first
    has it.

    Args:
        weights: float64 [n], above 0 or so small that they have become 0.
        total: what to share out, from the sum of `low` to the sum of `high`.
        low: int64 [n].
        high: int64 [n], not below `low`.

    >>> apportion(np.array([6.0, 3.0, 1.0, 0.1]), 10, np.full(4, 1), np.full(4, 5))
    array([5, 3, 1, 1])
    """
    # 2000 halvings reach any float64 from any other; a few hundred are used.
    below = 0.0
    above = 1.0
    while np.clip(above * weights, low, high).sum() < total and above < 1e300:
        above *= 2
    for _ in range(2000):
        middle = (below + above) / 2
        if middle in (below, above):
            break
        below, above = (
            (middle, above)
            if np.clip(middle * weights, low, high).sum() <= total
            else (below, middle)
        )
    quotas = np.clip(below * weights, low, high)
    whole = np.floor(quotas).astype(np.int64)
    order = np.argsort(np.where(whole < high, whole - quotas, np.inf), kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def fill_up(owner: Int32s, clients: int, least: int, rng: np.random.Generator) -> int:
    """Let clients with fewer than `least` examples take from the largest, the first of equal ones,
    in place; return how many clients did.

    A heap finds the largest and each giver's rows are listed once, so that this takes O(n log n)
    and not O(n) for each example moved. A client that was filled up never gives: while one has
    fewer than `least`, another has more.
    """
    sizes = np.bincount(owner, minlength=clients)
    poor = np.flatnonzero(sizes < least)
    if not len(poor):
        return 0
    by_owner = np.argsort(owner, kind="stable")
    ends = np.cumsum(sizes)
    givers = [(-int(size), client) for client, size in enumerate(sizes) if size > least]
    heapq.heapify(givers)
    rows_left: dict[int, list[int]] = {}
    for taker in np.repeat(poor, least - sizes[poor]):
        minus_size, giver = givers[0]
        if giver not in rows_left:
            rows_left[giver] = by_owner[ends[giver] + minus_size : ends[giver]].tolist()
        owner[rows_left[giver].pop(int(rng.integers(-minus_size)))] = taker
        heapq.heapreplace(givers, (minus_size + 1, giver))
    return len(poor)


def refuse_too_few(examples: int, clients: int) -> None:
    """Raise DataError unless there are `MIN_EXAMPLES` examples a client."""
    if examples < MIN_EXAMPLES * clients:
        raise DataError(
            f"data.clients={clients}: expected at least {MIN_EXAMPLES} examples a client, found "
            f"{examples} examples in all. Set data.clients to {examples // MIN_EXAMPLES} or less."
        )
