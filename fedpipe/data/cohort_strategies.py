"""Samples the clients of a round by `cohort.strategy`, as indices into the sorted client ids.

Each round's draw starts from the seed and the round's number. `shuffled` also looks at the number
of its pass, `min_separation` at the rounds before. A round takes one pass over arrays of the
population.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fedpipe.config.cohort import CohortConfig
from fedpipe.data.array_types import Bools, Floats, Int64s
from fedpipe.errors import PlanError
from fedpipe.seeding import generator

Indices = Int64s
Available = Callable[[int], Bools | None]
"""Round -> bool [clients], who can be asked; None is everybody."""

_CERTAIN = 1 - 1e-9


def sample_each_round(
    config: CohortConfig,
    count: int,
    clients: int,
    examples: Int64s | None,
    rounds: int,
    seed: int,
    available: Available,
) -> Iterator[Indices]:
    """Return for each round, from 1, the sorted indices of the clients that it asks.

    Args:
        config: its strategy is read.
        count: clients to ask, at most as many as there are.
        clients: number of clients.
        examples: int64 [clients], training examples; `weighted` alone needs them.
        rounds: number of rounds.
        seed: the run's.
        available: who can be asked. If they are fewer than `count`, all of them are asked.

    Raises:
        PlanError: the population is too small for `separation_rounds`, or `weighted` has no
            examples.
    """
    if config.strategy == "fixed":
        return iter([_uniform(generator(seed, "cohort", 1), np.arange(clients), count)] * rounds)
    if config.strategy == "shuffled":
        return _shuffled(clients, count, rounds, seed)
    if config.strategy == "min_separation":
        return _separated(
            clients, count, _separation(config, clients, count), rounds, seed, available
        )
    if config.strategy == "weighted" and (examples is None or not examples.all()):
        raise PlanError(
            "cohort.strategy=weighted: expected training examples at every client, found "
            "none. Choose uniform."
        )
    draws = {
        "uniform": lambda rng, who: _uniform(rng, who, count),
        "poisson": lambda rng, who: who[rng.random(clients)[who] < count / clients],
        "weighted": lambda rng, who: _weighted(rng, who, count, examples),
    }
    return _each(clients, rounds, seed, available, draws[config.strategy])


def inclusion_probabilities(weights: Floats, count: int) -> Floats:
    """Return the probability of each to be among `count` that are drawn in proportion to positive
    weights without replacement.

    count * weight / sum of weights, at most 1; what is above 1 is shared by the others, in the same
    proportion.

    >>> inclusion_probabilities(np.array([1.0, 1.0, 2.0, 20.0]), 2).tolist()
    [0.25, 0.25, 0.5, 1.0]
    """
    certain = np.zeros(len(weights), np.bool_)
    while True:
        rest = weights[~certain].sum()
        chances = np.where(
            certain, 1.0, weights * ((count - certain.sum()) / rest if rest else 0.0)
        )
        above = (chances >= _CERTAIN) & ~certain
        if not above.any():
            return chances
        certain |= above


def systematic(rng: np.random.Generator, weights: Floats, count: int) -> Indices:
    """Return `count` sorted indices, each drawn with exactly its inclusion probability.

    Systematic sampling from a random order (Hartley and Rao 1962): the probabilities are put end
    to end, and of the points u, u + 1, u + 2, ... each takes the one that it falls on. `numpy`'s
    weighted choice without replacement does not keep the probabilities.
    """
    chances = inclusion_probabilities(weights, count)
    certain = np.flatnonzero(chances == 1.0)
    order = rng.permutation(np.flatnonzero(chances < 1.0))
    points = rng.random() + np.arange(count - len(certain))
    ends = np.cumsum(chances[order])
    if len(points):
        ends[-1] = max(ends[-1], len(points))  # the sum but for rounding
    return np.sort(np.concatenate([certain, order[np.searchsorted(ends, points, side="right")]]))


def _each(
    clients: int,
    rounds: int,
    seed: int,
    available: Available,
    draw: Callable[[np.random.Generator, Indices], Any],
) -> Iterator[Indices]:
    for round_num in range(1, rounds + 1):
        mask = available(round_num)
        who = np.arange(clients) if mask is None else np.flatnonzero(mask)
        yield np.sort(draw(generator(seed, "cohort", round_num), who))


def _uniform(rng: np.random.Generator, who: Indices, count: int) -> Indices:
    return np.sort(who[rng.choice(len(who), min(count, len(who)), replace=False, shuffle=False)])


def _weighted(rng: np.random.Generator, who: Indices, count: int, examples: Any) -> Indices:
    weights = examples[who].astype(np.float64)
    return who[systematic(rng, weights, min(count, len(who)))]


def _shuffled(clients: int, count: int, rounds: int, seed: int) -> Iterator[Indices]:
    """Give passes of as few rounds as `count` allows, whose cohorts differ in size by one at
    most.
    """
    per_pass = -(-clients // count)
    parts: list[Indices] = []
    for index in range(rounds):
        if index % per_pass == 0:
            parts = np.array_split(
                generator(seed, "pass", index // per_pass).permutation(clients), per_pass
            )
        yield np.sort(parts[index % per_pass])


def _separation(config: CohortConfig, clients: int, count: int) -> int:
    separation = config.separation_rounds or clients // count
    if separation * count > clients:
        raise PlanError(
            f"cohort.separation_rounds={separation}: expected at least {separation} x {count} "
            f"clients, found {clients}. Lower it to {clients // count} or less, or lower "
            "cohort.size."
        )
    return separation


def _separated(
    clients: int, count: int, separation: int, rounds: int, seed: int, available: Available
) -> Iterator[Indices]:
    last = np.full(clients, -separation)
    for round_num in range(1, rounds + 1):
        rested = last <= round_num - separation
        mask = available(round_num)
        chosen = _uniform(
            generator(seed, "cohort", round_num),
            np.flatnonzero(rested if mask is None else rested & mask),
            count,
        )
        last[chosen] = round_num
        yield chosen
