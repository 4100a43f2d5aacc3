"""Epsilon is the tightest that is known, and never below what is true; budgets and calibration keep to it."""

import json
import math
from typing import Any

import dp_accounting
import pytest
from scipy.stats import norm

from fedpipe.algorithms.accountant import Accountant, split_noise
from fedpipe.algorithms.epsilon_composition import Mechanism, epsilon_of
from fedpipe.algorithms.privacy_budget import account, within_budget
from fedpipe.config import Config
from fedpipe.errors import ConfigError, PlanError
from fedpipe.types import CohortPlan

Relation = dp_accounting.NeighboringRelation
CLIENTS, SIZE, DELTA = 100, 10, 1e-5


def settings(strategy: str, **privacy: Any) -> Config:
    values = {"mechanism": "gaussian", "clip_norm": 1.0, "delta": DELTA, **privacy}
    if "epsilon" not in values:
        values.setdefault("noise_multiplier", 2.0)
    config = Config.model_validate({"privacy": values, "cohort": {"size": SIZE}})
    return config.model_copy(
        update={"cohort": config.cohort.model_copy(update={"strategy": strategy})}
    )


def plan_of(rounds: int, strategy: str) -> CohortPlan:
    """`shuffled`: ten clients a round, each once in ten rounds; else the same ten."""
    cohorts = [
        tuple(
            f"c{(index % 10 if strategy == 'shuffled' else 0) * SIZE + i:03d}" for i in range(SIZE)
        )
        for index in range(rounds)
    ]
    return CohortPlan(strategy, 1, tuple(cohorts))


def accountant_of(strategy: str, rounds: int, **privacy: Any) -> Accountant:
    return account(settings(strategy, **privacy), CLIENTS, plan_of(rounds, strategy))


def gaussian_delta(epsilon: float, noise: float) -> float:
    """Balle and Wang 2018, Theorem 8, for sensitivity 1."""
    shift = 1 / (2 * noise)
    return float(
        norm.cdf(shift - epsilon * noise) - math.exp(epsilon) * norm.cdf(-shift - epsilon * noise)
    )


# From outside: dp-accounting 0.6 and pfl (PLD), Opacus (PRV); without replacement a PLD written from Zhu, Dong and Wang 2022, with the
# value that a pair of populations attains below it. Columns: clients, cohort, rounds, noise, delta, lowest and highest allowed epsilon.
POISSON = [
    (100, 10, 15, 1.0, 1e-4, 2.5752),
    (100, 10, 50, 1.0, 1e-5, 5.1483),
    (1000, 100, 100, 0.8, 1e-5, 10.9764),
    (3400, 50, 500, 1.0, 1e-5, 1.9975),
    (20000, 200, 200, 0.6, 1e-6, 5.4616),
    (3400, 50, 500, 4.0, 1e-5, 0.2857),
    (100, 100, 10, 2.0, 1e-4, 6.6197),
    (1000, 10, 20, 0.4, 1e-4, 6.5254),
]
UNIFORM = [
    (100, 10, 15, 1.0, 1e-4, 11.897),
    (100, 10, 50, 1.0, 1e-5, 23.992),
    (1000, 100, 100, 0.8, 1e-5, 57.40),
    (3400, 50, 500, 1.0, 1e-5, 15.008),
    (20000, 200, 200, 0.6, 1e-6, 40.70),
    (3400, 50, 500, 4.0, 1e-5, 0.7508),
    (1000, 10, 20, 0.4, 1e-4, 35.91),
    (100, 100, 10, 2.0, 1e-4, 16.103),
]
TABLE = [("poisson", *row) for row in POISSON] + [("uniform", *row) for row in UNIFORM]


@pytest.mark.parametrize(
    ("strategy", "clients", "size", "rounds", "noise", "delta", "tightest"), TABLE
)
def test_epsilon_with_sampling_is_the_tightest_known(
    strategy: str, clients: int, size: int, rounds: int, noise: float, delta: float, tightest: float
) -> None:
    config = settings(strategy, noise_multiplier=noise, delta=delta)
    config = config.model_copy(update={"cohort": config.cohort.model_copy(update={"size": size})})
    plan = CohortPlan(strategy, 1, tuple([tuple(f"c{i}" for i in range(size))] * rounds))
    epsilon = account(config, clients, plan).epsilon(rounds)
    # The table's last digit is rounded: half of it may be missing.
    assert tightest * (1 - 4e-4) <= epsilon <= 1.02 * tightest


@pytest.mark.parametrize(("strategy", "times"), [("fixed", 12), ("shuffled", 2)])
def test_epsilon_without_sampling_is_exact(strategy: str, times: int) -> None:
    # Two passes are begun in twelve rounds of ten clients out of a hundred: no client has more than two.
    accountant = accountant_of(strategy, 12)
    assert accountant.relation is Relation.REPLACE_SPECIAL
    assert gaussian_delta(accountant.epsilon(12), 2.0 / math.sqrt(times)) == pytest.approx(
        DELTA, rel=1e-6
    )
    assert accountant.epsilon(0) == 0.0
    assert accountant.epsilon(1) <= accountant.epsilon(11) <= accountant.epsilon(12)


def test_a_tree_costs_its_depth_once_a_pass() -> None:
    # Trees of 5 rounds are ceil(log2(6)) = 3 Gaussian mechanisms deep; 12 rounds are two passes begun: 6 in all.
    accountant = accountant_of("shuffled", 12, mechanism="tree", restart_rounds=5)
    for rounds, times in ((12, 6), (10, 3), (1, 1)):
        assert gaussian_delta(accountant.epsilon(rounds), 2.0 / math.sqrt(times)) == pytest.approx(
            DELTA, rel=1e-6
        )


def test_the_count_of_adaptive_clipping_is_paid_for() -> None:
    """A client whose update becomes zero is counted still, as below the clip: the count may move by 1, not by 1/2."""
    for strategy, moves in (("fixed", 1.0), ("shuffled", 1.0), ("poisson", 0.5), ("uniform", 0.5)):
        for noise, size in ((4.0, 10), (1.0, 100)):
            cohort = settings(strategy).cohort.model_copy(update={"size": size})
            of_sum, of_count = split_noise(noise, cohort)
            assert of_sum**-2 + (of_count / moves) ** -2 == pytest.approx(noise**-2, rel=1e-12)
            assert of_sum < 1.16 * noise
    assert accountant_of(
        "fixed", 15, mechanism="adaptive", noise_multiplier=4.0, delta=1e-4
    ).epsilon(15) == pytest.approx(3.6616, abs=1e-4)


def test_runs_compose_to_no_more_than_the_sum_and_no_less_than_the_largest() -> None:
    parts = [
        accountant_of(strategy, 12).released(12) for strategy in ("poisson", "uniform", "fixed")
    ]
    alone = [epsilon_of(part, DELTA) for part in parts]
    together = epsilon_of([mechanism for part in parts for mechanism in part], DELTA)
    assert max(alone) < together < sum(alone)
    twice = epsilon_of([*parts[2], *parts[2]], DELTA)
    assert gaussian_delta(twice, 2.0 / math.sqrt(24)) == pytest.approx(DELTA, rel=1e-6)


def test_a_poisson_client_whose_zero_update_is_counted_costs_more() -> None:
    """Leaving a client out moves the count of adaptive clipping by 1/2, making its update zero by 1."""
    [(left_out, _)] = [
        accountant_of("poisson", 3, mechanism="adaptive", noise_multiplier=1.0).mechanism(3)
    ]
    [(zeroed, _)] = accountant_of(
        "poisson", 3, mechanism="adaptive", noise_multiplier=1.0
    ).released(3)
    of_sum, of_count = split_noise(1.0, settings("poisson").cohort)
    assert zeroed.noise == pytest.approx((of_sum**-2 + of_count**-2) ** -0.5)
    assert zeroed.noise < left_out.noise


@pytest.mark.parametrize(
    ("rounds", "restart", "first", "last"), [(12, None, 1, 12), (12, 11, 1, 11)]
)
def test_two_rounds_of_a_client_in_a_tree_are_refused(
    rounds: int, restart: int | None, first: int, last: int
) -> None:
    words = rf"found in rounds {first} to {last} more of c000, c001.* Set privacy\.restart_rounds to 10 or less"
    with pytest.raises(PlanError, match=words):
        accountant_of("shuffled", rounds, mechanism="tree", restart_rounds=restart)
    accountant_of("shuffled", 10, mechanism="tree")


@pytest.mark.parametrize("strategy", ["poisson", "shuffled"])
def test_calibrated_noise_keeps_to_the_target_and_no_less_would_do(strategy: str) -> None:
    accountant = accountant_of(strategy, 20, epsilon=3.0)
    noise = accountant.config.privacy.noise_multiplier
    assert noise is not None
    assert 0.99 * 3.0 < accountant.epsilon(20) <= 3.0
    less = (
        Mechanism("poisson", 0.998 * noise, 0.1)
        if strategy == "poisson"
        else Mechanism("gaussian", 0.998 * noise)
    )
    assert epsilon_of([(less, 20 if strategy == "poisson" else 2)], DELTA) > 3.0


def test_a_budget_ends_before_the_round_that_would_pass_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    free = accountant_of("fixed", 30)
    accountant = accountant_of("fixed", 30, max_epsilon=free.epsilon(7) + 1e-9)
    allowed = within_budget(accountant)
    assert len(allowed) == 7
    assert free.epsilon(8) > accountant.config.privacy.max_epsilon  # type: ignore[operator]
    assert "is reached: training ends after round 7 of 30, with epsilon" in caplog.text
    assert within_budget(free) is free.plan


def test_a_budget_below_one_round_is_an_error() -> None:
    with pytest.raises(
        ConfigError,
        match=r"max_epsilon=0\.001: expected at least one round within it, the first has epsilon \d",
    ):
        within_budget(accountant_of("fixed", 3, max_epsilon=0.001))


def test_a_run_that_ends_early_says_what_it_spent() -> None:
    accountant = accountant_of("poisson", 6)
    assert (
        accountant.summary(2)["epsilon"] == accountant.epsilon(2) < accountant.summary(6)["epsilon"]
    )
    assert (
        accountant.epsilon_text(2)
        == repr(accountant.epsilon(2))
        != accountant.info["privacy.epsilon"]
    )


def test_without_noise_there_is_no_epsilon() -> None:
    accountant = accountant_of("fixed", 3, noise_multiplier=0.0)
    assert accountant.epsilon(1) == float("inf")
    assert accountant.info["privacy.epsilon"] == "infinite"
    assert accountant.summary(3)["epsilon"] is None


def test_a_delta_that_means_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"delta=0\.01: expected less than 1 / 100 clients"):
        accountant_of("fixed", 3, delta=0.01)


def test_the_run_says_what_is_assumed() -> None:
    info = accountant_of("uniform", 3).info
    assert info["privacy.neighbours"] == "replace one client by another"
    assert (
        info["privacy.sampling"]
        == "uniform: 10 of 100 clients without replacement, each round anew"
    )
    assert info["privacy.accountant"].startswith("PLD of sampling without replacement")
    assert "if the plan is secret" in info["privacy.covers"]
    assert json.loads(info["privacy.released"]) == [
        {"kind": "without_replacement", "noise": 1.0, "probability": 0.1, "count": 3}
    ]


def test_a_repeatable_run_says_that_it_protects_nobody() -> None:
    info = accountant_of("uniform", 3, repeatable=True).info
    assert "protects nobody" in info["privacy.noise"]
    assert "privacy.released" not in info
