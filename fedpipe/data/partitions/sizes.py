"""Partitions that set the clients' sizes alone, and the arithmetic of shares for all partitions."""

import heapq

import numpy as np

from fedpipe.data.array_types import Floats, Int32s, Int64s
from fedpipe.errors import DataError
from fedpipe.seeding import generator

MIN_EXAMPLES = 2
"""Examples that every client gets: one to train with, one to test with."""

MAX_SIGMA = 5.0
"""What `quantity_partition` takes: with 5 the largest of 100 clients has most of the examples."""


def iid_partition(examples: int, clients: int, seed: int) -> Int32s:
    """Return for each example the number of its client, 0..clients - 1, at random; sizes differ by
    one at most.

    Args:
        examples: number of examples, at least two a client.
        clients: number of clients, at least 1.
        seed: seed of the partition.

    Raises:
        DataError: there are fewer than two examples a client.

    Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from
        Decentralized Data", section 3, "IID".
    """
    refuse_too_few(examples, clients)
    return generator(seed, "partition", "iid").permutation(
        np.arange(examples, dtype=np.int32) % np.int32(clients)
    )


def quantity_partition(examples: int, clients: int, sigma: float, seed: int) -> Int32s:
    """Return for each example the number of its client, at random; clients' sizes are log-normal.

    With z_i ~ N(0, 1), client i has a size in proportion to exp(sigma z_i), rounded by largest
    remainders; a client that would have fewer than two examples has two, and the others share what
    is left in the same proportions. So the logarithms of the sizes have the standard deviation
    sigma where few clients are that small.

    Args:
        examples: number of examples, at least two a client.
        clients: number of clients, at least 1.
        sigma: standard deviation of the logarithm of sizes, from 0 (they differ by one at most) to
            `MAX_SIGMA`.
        seed: seed of the partition.

    Raises:
        DataError: there are fewer than two examples a client, or `sigma` is out of its range.

    Source: the synthetic data of Li et al. 2020, "Federated Optimization in Heterogeneous
        Networks": their code draws sizes from a log-normal with sigma = 2 (and adds 50); the paper
        speaks of a power law.
    """
    refuse_too_few(examples, clients)
    if not 0 <= sigma <= MAX_SIGMA:
        raise DataError(
            f"data.sigma={sigma}: expected a value between 0 and {MAX_SIGMA}. At 0 sizes are "
            "equal, at the end one client has all."
        )
    rng = generator(seed, "partition", "quantity")
    logs = sigma * rng.standard_normal(clients)
    sizes = apportion(
        np.exp(logs - logs.max()),
        examples,
        np.full(clients, MIN_EXAMPLES),
        np.full(clients, examples),
    )
    return rng.permutation(np.repeat(np.arange(clients, dtype=np.int32), sizes))


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
