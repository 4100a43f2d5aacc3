"""Epsilon is what dp-accounting says when it is asked directly; budgets and calibration keep to it."""

from typing import Any

import dp_accounting
import pytest

from fedpipe.algorithms.accountant import Accountant, account, within_budget
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
    return config.model_copy(update={"cohort": config.cohort.model_copy(update={"strategy": strategy})})


def plan_of(rounds: int, strategy: str) -> CohortPlan:
    """`shuffled`: ten clients a round, each once in ten rounds; else the same ten."""
    cohorts = [tuple(f"c{(index % 10 if strategy == 'shuffled' else 0) * SIZE + i:03d}" for i in range(SIZE)) for index in range(rounds)]
    return CohortPlan(strategy, 1, tuple(cohorts))


def accountant_of(strategy: str, rounds: int, **privacy: Any) -> Accountant:
    return account(settings(strategy, **privacy), CLIENTS, plan_of(rounds, strategy))


def direct(relation: Any, event: Any, times: int) -> float:
    accountant = dp_accounting.rdp.RdpAccountant(neighboring_relation=relation).compose(event, times)
    return float(accountant.get_epsilon(DELTA))


@pytest.mark.parametrize(
    ("strategy", "relation", "event", "times"),
    [
        ("poisson", Relation.ADD_OR_REMOVE_ONE, dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(2.0)), 12),
        # Replaced by another, an update moves the sum by twice the clip.
        ("uniform", Relation.REPLACE_ONE, dp_accounting.SampledWithoutReplacementDpEvent(100, 10, dp_accounting.GaussianDpEvent(1.0)), 12),
        ("fixed", Relation.REPLACE_SPECIAL, dp_accounting.GaussianDpEvent(2.0), 12),
        # Two passes begun: no client has more than two rounds.
        ("shuffled", Relation.REPLACE_SPECIAL, dp_accounting.GaussianDpEvent(2.0), 2),
    ],
)
def test_epsilon_of_each_strategy_is_dp_accountings(strategy: str, relation: Any, event: Any, times: int) -> None:
    accountant = accountant_of(strategy, 12)
    assert accountant.relation is relation
    assert accountant.epsilon(12) == pytest.approx(direct(relation, event, times), rel=1e-12)
    assert accountant.event(12) == dp_accounting.SelfComposedDpEvent(event, times)
    assert accountant.epsilon(0) == 0.0
    assert accountant.epsilon(1) <= accountant.epsilon(11) <= accountant.epsilon(12)


def test_a_tree_costs_its_depth_once_a_pass() -> None:
    # Trees of 5 rounds are ceil(log2(6)) = 3 Gaussian mechanisms deep; 12 rounds are two passes begun: 6 in all.
    accountant = accountant_of("shuffled", 12, mechanism="tree", restart_rounds=5)
    assert accountant.epsilon(12) == pytest.approx(direct(Relation.REPLACE_SPECIAL, dp_accounting.GaussianDpEvent(2.0), 6), rel=1e-12)
    assert accountant.epsilon(10) == pytest.approx(direct(Relation.REPLACE_SPECIAL, dp_accounting.GaussianDpEvent(2.0), 3), rel=1e-12)
    assert accountant.epsilon(1) == pytest.approx(direct(Relation.REPLACE_SPECIAL, dp_accounting.GaussianDpEvent(2.0), 1), rel=1e-12)


@pytest.mark.parametrize(("rounds", "restart", "first", "last"), [(12, None, 1, 12), (12, 11, 1, 11)])
def test_two_rounds_of_a_client_in_a_tree_are_refused(rounds: int, restart: int | None, first: int, last: int) -> None:
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
    gaussian = dp_accounting.GaussianDpEvent(0.998 * noise)
    event = dp_accounting.PoissonSampledDpEvent(0.1, gaussian) if strategy == "poisson" else gaussian
    assert direct(accountant.relation, event, 20 if strategy == "poisson" else 2) > 3.0


def test_a_budget_ends_before_the_round_that_would_pass_it(caplog: pytest.LogCaptureFixture) -> None:
    free = accountant_of("fixed", 30)
    accountant = accountant_of("fixed", 30, max_epsilon=free.epsilon(7) + 1e-9)
    allowed = within_budget(accountant)
    assert len(allowed) == 7
    assert free.epsilon(8) > accountant.config.privacy.max_epsilon  # type: ignore[operator]
    assert "is reached: training ends after round 7 of 30, with epsilon" in caplog.text
    assert within_budget(free) is free.plan


def test_a_budget_below_one_round_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"max_epsilon=0\.001: expected at least one round within it, the first has epsilon \d"):
        within_budget(accountant_of("fixed", 3, max_epsilon=0.001))


def test_a_run_that_ends_early_says_what_it_spent() -> None:
    accountant = accountant_of("poisson", 6)
    assert accountant.summary(2)["epsilon"] == accountant.epsilon(2) < accountant.summary(6)["epsilon"]
    assert accountant.epsilon_text(2) == repr(accountant.epsilon(2)) != accountant.info["privacy.epsilon"]


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
    assert info["privacy.sampling"] == "uniform: 10 of 100 clients without replacement, each round anew"
    assert "secret" in info["privacy.covers"]
