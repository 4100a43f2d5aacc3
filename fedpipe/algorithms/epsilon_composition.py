"""Composes Gaussian mechanisms: exactly without sampling, by privacy-loss distributions (PLDs)
with it.

A mechanism adds N(0, z^2) to a sum that one client moves by at most 1:

    gaussian             no sampling; k of them are one with noise z / sqrt(k), whose delta is known
                         in closed form (Balle and Wang 2018, arXiv 1805.06530, Theorem 8)
    poisson              each client with probability q: the PLD of `dp_accounting`, both directions
    without_replacement  a fixed number of clients, q of all. The dominating pair of subset sampling
                         with a replaced record (Zhu, Dong and Wang 2022, arXiv 2106.08567):
                         (1-q) N(0) + q N(1) against N(0) where losses are positive,
                         N(0) against (1-q) N(0) + q N(1) where they are negative

PLDs are discretized by connecting dots (Doroshenko et al. 2022, arXiv 2207.04380), which never
gives less than the true epsilon.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from dp_accounting.pld import pld_pmf
from dp_accounting.pld.privacy_loss_distribution import (
    PrivacyLossDistribution,
    from_gaussian_mechanism,
)
from dp_accounting.pld.privacy_loss_mechanism import AdjacencyType, GaussianPrivacyLoss
from scipy.optimize import brentq

ACCOUNTANTS = {
    "gaussian": "exact Gaussian (Balle and Wang 2018)",
    "poisson": "PLD, dp-accounting",
    "without_replacement": "PLD of sampling without replacement (Zhu et al. 2022), dp-accounting",
}
_POINTS = 20_000
_FINEST = 1e-5
_LARGEST_EPSILON = 1e6


@dataclass(frozen=True)
class Mechanism:
    """One release.

    Attributes:
        kind: how its clients are sampled.
        noise: standard deviation of the noise over what one client can move the sum by, above 0.
        probability: of a client to be sampled; 1 without sampling.
    """

    kind: Literal["gaussian", "poisson", "without_replacement"]
    noise: float
    probability: float = 1.0


def epsilon_of(parts: Sequence[tuple[Mechanism, int]], delta: float) -> float:
    """Return the epsilon of independent mechanisms together; infinite if one has no noise.

    Args:
        parts: mechanisms and how many times each is run.
        delta: above 0, below 1.

    >>> round(epsilon_of([(Mechanism("gaussian", 4.0), 15)], 1e-4), 4)
    3.6616
    """
    parts = [(mechanism, count) for mechanism, count in parts if count]
    if not parts:
        return 0.0
    if any(mechanism.noise == 0 for mechanism, _ in parts):
        return math.inf
    sampled = [(mechanism, count) for mechanism, count in parts if mechanism.probability < 1]
    precision = sum(
        count / mechanism.noise**2 for mechanism, count in parts if mechanism.probability >= 1
    )
    if not sampled:
        return _gaussian_epsilon(precision**-0.5, delta)
    if precision:
        sampled.append((Mechanism("gaussian", precision**-0.5), 1))
    step = max(_step_of(mechanism) for mechanism, _ in sampled)
    first, *others = [
        _distribution(mechanism, step).self_compose(count) for mechanism, count in sampled
    ]
    composed = first
    for distribution in others:
        composed = composed.compose(distribution)
    return float(composed.get_epsilon_for_delta(delta))


def _gaussian_epsilon(noise: float, delta: float) -> float:
    loss = GaussianPrivacyLoss(noise)

    def excess(epsilon: float) -> float:
        return float(loss.get_delta_for_epsilon(float(epsilon))) - delta

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
        if high > _LARGEST_EPSILON:
            return math.inf
    epsilon = float(brentq(excess, 0.0, high, xtol=1e-12))
    if excess(epsilon) <= 0:
        return epsilon
    return float(np.nextafter(epsilon * (1 + 1e-12), math.inf))


@lru_cache(maxsize=64)
def _distribution(mechanism: Mechanism, step: float) -> PrivacyLossDistribution:
    """Return the PLD of one run of the mechanism, its losses multiples of `step`."""
    if mechanism.kind != "without_replacement" or mechanism.probability >= 1:
        return from_gaussian_mechanism(
            mechanism.noise,
            sampling_prob=min(1.0, mechanism.probability),
            value_discretization_interval=step,
        )
    remove, add = _both(mechanism)
    lowest = math.floor(add.connect_dots_bounds().epsilon_lower / step)
    highest = math.ceil(remove.connect_dots_bounds().epsilon_upper / step)
    losses = np.arange(lowest, highest + 1) * step
    negative = losses < 0
    deltas = np.concatenate(
        [
            add.get_delta_for_epsilon(losses[negative]),
            remove.get_delta_for_epsilon(losses[~negative]),
        ]
    )
    # Both curves are convex in e^epsilon and meet at 0; rounding may let one rise by its last bit.
    deltas = np.minimum.accumulate(deltas)
    return PrivacyLossDistribution(
        pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(step, lowest, highest, deltas)
    )


def _both(mechanism: Mechanism) -> tuple[Any, Any]:
    """Return the losses of removing and of adding a client."""
    q = min(1.0, mechanism.probability)
    remove = GaussianPrivacyLoss(
        mechanism.noise, sampling_prob=q, adjacency_type=AdjacencyType.REMOVE
    )
    add = GaussianPrivacyLoss(mechanism.noise, sampling_prob=q, adjacency_type=AdjacencyType.ADD)
    return remove, add


def _step_of(mechanism: Mechanism) -> float:
    """Return a step that covers the mechanism's losses with about twenty thousand points: a power
    of ten times 1, 2, 5 or 10.

    Rounded up so, few different steps occur, and cached distributions are used again: only
    distributions of one step compose.
    """
    remove, add = _both(mechanism)
    width = remove.connect_dots_bounds().epsilon_upper - add.connect_dots_bounds().epsilon_lower
    rough = max(_FINEST, width / _POINTS)
    power = 10.0 ** math.floor(math.log10(rough))
    return float(
        power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    )
