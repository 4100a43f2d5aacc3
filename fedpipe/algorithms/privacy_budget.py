"""Noise and rounds of a private run: the noise multiplier that `privacy.epsilon` needs, the rounds
that `privacy.max_epsilon` allows, and the plans that `tree` refuses.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from fedpipe.algorithms.accountant import Accountant
from fedpipe.config import Config
from fedpipe.errors import ConfigError, PlanError, shorten
from fedpipe.types import CohortPlan

_TOLERANCE = 2e-4
_MAX_NOISE = 2.0**20

logger = logging.getLogger("fedpipe.privacy")


def account(config: Config, clients: int, plan: CohortPlan) -> Accountant:
    """Return the accountant of a private run, its noise calibrated if `privacy.epsilon` asks for
    it.

    Args:
        config: the settings.
        clients: number of clients that may be sampled.
        plan: the cohort of every round.

    Raises:
        PlanError: a client has two rounds of one tree.
        ConfigError: no noise gives `privacy.epsilon`, or delta is too large to mean anything.
    """
    privacy = config.privacy
    if privacy.delta is not None and privacy.delta * clients >= 1:
        raise ConfigError(
            f"privacy.delta={privacy.delta}: expected less than 1 / {clients} clients, else to "
            "publish a client at random would count as private. Lower it."
        )
    if privacy.mechanism == "tree":
        _refuse_two_rounds_of_a_tree(plan, privacy.restart_rounds or len(plan))
    if privacy.noise_multiplier is not None:
        return Accountant(config, clients, plan)
    accountant = Accountant(_with_noise(config, _calibrate(config, clients, plan)), clients, plan)
    logger.info(
        "privacy: epsilon %s needs noise multiplier %.6g.",
        privacy.epsilon,
        accountant.config.privacy.noise_multiplier,
    )
    return accountant


def within_budget(accountant: Accountant) -> CohortPlan:
    """Return the rounds of the plan that the budget allows, with a warning if these are not all.

    Raises:
        ConfigError: not even one round is within it.
    """
    plan = accountant.plan
    budget = accountant.config.privacy.max_epsilon
    if budget is None or accountant.epsilon(len(plan)) <= budget:
        return plan
    rounds = accountant.rounds_within(budget)
    if not rounds:
        raise ConfigError(
            f"privacy.max_epsilon={budget}: expected at least one round within it, the first has "
            f"epsilon {accountant.epsilon(1):.4g}. Raise privacy.noise_multiplier or "
            "privacy.max_epsilon."
        )
    logger.warning(
        "privacy: the budget max_epsilon=%s is reached: training ends after round %d of %d, with "
        "epsilon %.4g.",
        *(budget, rounds, len(plan), accountant.epsilon(rounds)),
    )
    return replace(plan, cohorts=plan.cohorts[:rounds], turnouts=plan.turnouts[:rounds])


def _with_noise(config: Config, noise_multiplier: float) -> Config:
    known = {"noise_multiplier": noise_multiplier, "max_epsilon": config.privacy.epsilon}
    return config.model_copy(update={"privacy": config.privacy.model_copy(update=known)})


def _calibrate(config: Config, clients: int, plan: CohortPlan) -> float:
    """Return the least noise multiplier, to a thousandth or so, whose epsilon after the last round
    is at most `privacy.epsilon`.
    """
    from scipy.optimize import brentq

    target = config.privacy.epsilon or 0.0

    @cache
    def excess(noise: float) -> float:  # each costs up to a second
        epsilon = Accountant(_with_noise(config, noise), clients, plan).epsilon(len(plan))
        if epsilon:
            return math.log(epsilon / target)
        return -math.inf

    high = 1.0
    while excess(high) > 0:
        high *= 2
        if high > _MAX_NOISE:
            raise ConfigError(
                f"privacy.epsilon={target}: expected noise that gives it in {len(plan)} rounds, "
                "found none. Raise it."
            )
    low = high / 2
    while low > 1 / _MAX_NOISE and excess(low) <= 0:
        low, high = low / 2, low
    if excess(low) <= 0:
        return low
    noise = float(brentq(excess, low, high, xtol=_TOLERANCE * high, rtol=_TOLERANCE))
    while excess(noise) > 0:
        noise *= 1 + _TOLERANCE
    return noise


def _refuse_two_rounds_of_a_tree(plan: CohortPlan, tree_rounds: int) -> None:
    for number, clients in enumerate(_clients_of_trees(plan, tree_rounds)):
        repeated = sorted(client for client, times in Counter(clients).items() if times > 1)
        if repeated:
            first = number * tree_rounds + 1
            last = min(first + tree_rounds - 1, len(plan))
            raise PlanError(
                "privacy.mechanism=tree: expected each client at most once in the rounds of a "
                f"tree, found in rounds {first} to {last} more of "
                f"{shorten(repeated, 3)}. Set privacy.restart_rounds to "
                f"{_rounds_without_repeat(plan)} or less, or choose a cohort.strategy that asks "
                "clients less often."
            )


def _rounds_without_repeat(plan: CohortPlan) -> int:
    """Return how long every tree of a plan may be at most, so that none has a client twice."""
    for tree_rounds in range(len(plan), 1, -1):
        trees = _clients_of_trees(plan, tree_rounds)
        if all(len(clients) == len(set(clients)) for clients in trees):
            return tree_rounds
    return 1


def _clients_of_trees(plan: CohortPlan, tree_rounds: int) -> Iterator[list[str]]:
    """Yield the clients of all rounds of each tree, one after the other."""
    for start in range(0, len(plan), tree_rounds):
        cohorts = plan.cohorts[start : start + tree_rounds]
        yield [client for cohort in cohorts for client in cohort]
