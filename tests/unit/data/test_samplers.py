"""The laws of the sampling strategies: who is asked how often, and that it follows from ids, seed and round alone."""

import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpipe.config.cohort import CohortConfig
from fedpipe.data.cohort_plan import plan_cohorts
from fedpipe.data.cohort_strategies import inclusion_probabilities, systematic
from fedpipe.errors import PlanError
from fedpipe.seeding import generator

IDS = [f"c{i:03d}" for i in range(100)]
STRATEGIES = ["fixed", "uniform", "poisson", "weighted", "shuffled", "min_separation"]


def config(strategy: str, size: int = 10, **more: Any) -> CohortConfig:
    return CohortConfig.model_validate({"strategy": strategy, "size": size, **more})


@given(
    st.permutations(range(24)),
    st.integers(0, 2**40),
    st.sampled_from(STRATEGIES),
    st.integers(1, 12),
    st.booleans(),
)
def test_a_plan_follows_from_ids_seed_and_round(
    order: list[int], seed: int, strategy: str, size: int, faults: bool
) -> None:
    more: dict[str, Any] = (
        {"dropout_fraction": 0.2, "latency_median_seconds": 5.0, "round_deadline_seconds": 9.0}
        if faults
        else {}
    )
    ids, sizes = [IDS[i] for i in order], [1 + i for i in order]
    plan = plan_cohorts(ids, config(strategy, size, **more), 5, seed, sizes)
    assert plan == plan_cohorts(IDS[:24], config(strategy, size, **more), 5, seed, range(1, 25))
    assert (
        plan.cohorts
        == plan_cohorts(ids, config(strategy, size, **more), 9, seed, sizes).cohorts[:5]
    )
    assert all(
        list(cohort) == sorted(set(cohort)) and set(cohort) <= set(ids) for cohort in plan.cohorts
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_seed_changes_the_draw(strategy: str) -> None:
    sizes = range(1, 101)
    assert (
        plan_cohorts(IDS, config(strategy), 3, 1, sizes).cohorts
        != plan_cohorts(IDS, config(strategy), 3, 2, sizes).cohorts
    )


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**40))
def test_shuffled_takes_every_client_once_per_pass(clients: int, size: int, seed: int) -> None:
    size = min(size, clients)
    per_pass = -(-clients // size)
    plan = plan_cohorts(IDS[:clients], config("shuffled", size), 3 * per_pass, seed)
    for start in range(0, len(plan), per_pass):
        cohorts = plan.cohorts[start : start + per_pass]
        assert sorted(one for cohort in cohorts for one in cohort) == IDS[:clients]
        assert max(map(len, cohorts)) <= size
        assert max(map(len, cohorts)) - min(map(len, cohorts)) <= 1


def test_each_pass_of_shuffled_is_drawn_anew() -> None:
    cohorts = plan_cohorts(IDS, config("shuffled"), 30, 1).cohorts
    assert len({cohorts[start : start + 10] for start in (0, 10, 20)}) == 3


@given(st.integers(1, 40), st.integers(1, 10), st.integers(1, 8), st.integers(0, 2**40))
def test_separation_is_kept_and_cohorts_are_full(
    clients: int, size: int, separation: int, seed: int
) -> None:
    if size * separation > clients:
        with pytest.raises(
            PlanError,
            match=rf"separation_rounds={separation}: expected at least {separation} x|expected at most the pop",
        ):
            plan_cohorts(
                IDS[:clients], config("min_separation", size, separation_rounds=separation), 1, seed
            )
        return
    plan = plan_cohorts(
        IDS[:clients], config("min_separation", size, separation_rounds=separation), 20, seed
    )
    last: dict[str, int] = {}
    for round_num, cohort in enumerate(plan.cohorts, start=1):
        assert len(cohort) == size
        assert all(round_num - last.get(one, -separation) >= separation for one in cohort)
        last |= dict.fromkeys(cohort, round_num)


def test_separation_is_as_long_as_the_population_allows_unless_set() -> None:
    # 100 clients in cohorts of 30: three rounds without a repetition, so any three in a row have 90 different clients.
    plan = plan_cohorts(IDS, config("min_separation", 30), 12, 1)
    assert all(
        len({one for cohort in plan.cohorts[i : i + 3] for one in cohort}) == 90 for i in range(10)
    )


def test_poisson_draws_each_client_by_itself() -> None:
    # 4,000 rounds: a client is in 400 of them, standard deviation sqrt(4000 * 0.1 * 0.9) = 19; cohorts have mean 10, variance 9.
    plan = plan_cohorts(IDS, config("poisson"), 4000, 1)
    counts = Counter(one for cohort in plan.cohorts for one in cohort)
    assert max(abs(counts[one] - 400) for one in IDS) < 5 * 19
    sizes = np.array(list(map(len, plan.cohorts)))
    assert abs(sizes.mean() - 10) < 5 * 3 / np.sqrt(4000)
    assert abs(sizes.var() - 9) < 1
    both = sum("c000" in cohort and "c001" in cohort for cohort in plan.cohorts)
    assert abs(both - 40) < 5 * np.sqrt(40)  # 4000 * 0.1 * 0.1: they do not know of each other


def test_an_empty_poisson_cohort_is_a_round_that_is_skipped() -> None:
    plan = plan_cohorts(IDS[:10], config("poisson", 1), 200, 1)
    empty = [number for number in range(1, 201) if not plan.cohort(number)]
    assert abs(len(empty) - 200 * 0.9**10) < 40
    assert {plan.metrics(number)["cohort/skipped"] for number in empty} == {1.0}
    assert plan.metrics(next(n for n in range(1, 201) if n not in empty))["cohort/skipped"] == 0.0


def test_too_few_reports_skip_a_round_and_say_who_would_have_come() -> None:
    plan = plan_cohorts(IDS, config("uniform", 4, min_reports=4, dropout_fraction=0.5), 30, 1)
    assert {len(cohort) for cohort in plan.cohorts} == {0, 4}
    turnout = next(
        turnout for turnout, cohort in zip(plan.turnouts, plan.cohorts, strict=True) if not cohort
    )
    assert len(turnout.reported) + len(turnout.dropped) == turnout.asked == 4


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.data())
def test_inclusion_probabilities_are_in_proportion_up_to_certainty(
    sizes: list[int], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(sizes)))
    weights = np.array(sizes, float)
    chances = inclusion_probabilities(weights, count)
    assert chances.sum() == pytest.approx(count)
    assert chances.max() <= 1
    below = chances < 1
    ratios = chances[below] / weights[below]
    assert np.ptp(ratios) <= 1e-9 * ratios.max() if below.any() else count == len(sizes)
    chosen = systematic(generator(1, "t", count), weights, count)
    assert len(set(chosen.tolist())) == len(chosen) == count


def test_weighted_keeps_the_probabilities() -> None:
    # Ten clients of 1 to 10 examples, three a round: client k is in 3 k / 55 of them. Of 6,000 rounds at most sqrt(6000 / 4) = 39 off.
    plan = plan_cohorts(IDS[:10], config("weighted", 3), 6000, 1, range(1, 11))
    counts = Counter(one for cohort in plan.cohorts for one in cohort)
    for k in range(1, 11):
        assert abs(counts[IDS[k - 1]] - 6000 * 3 * k / 55) < 5 * 39
    assert {len(cohort) for cohort in plan.cohorts} == {3}


def test_weighted_without_examples_is_refused() -> None:
    with pytest.raises(
        PlanError, match=r"cohort\.strategy=weighted: expected training examples at every client"
    ):
        plan_cohorts(IDS, config("weighted"), 1, 1)


@pytest.mark.parametrize("strategy", ["uniform", "poisson", "weighted", "min_separation"])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**40))
def test_a_day_has_hours_in_which_a_client_is_not_asked(strategy: str, seed: int) -> None:
    plan = plan_cohorts(
        IDS,
        config(strategy, 5, day_rounds=12, available_fraction=0.25, min_reports=1),
        48,
        seed,
        range(1, 101),
    )
    rounds: dict[str, set[int]] = {}
    for round_num, turnout in enumerate(plan.turnouts, start=1):
        for one in (*turnout.reported, *turnout.dropped):
            rounds.setdefault(one, set()).add((round_num - 1) % 12)
    # A quarter of twelve rounds: three hours, one after the other round the clock.
    for hours in rounds.values():
        assert any(all((hour - start) % 12 < 3 for hour in hours) for start in hours)
    available = [turnout.available for turnout in plan.turnouts]
    assert (
        min(available) == 0
    )  # days begin within half a day of each other: at some hours everybody sleeps
    assert max(available) > 25


def test_100_000_clients_take_no_loop_over_clients() -> None:
    ids = [f"client{i:06d}" for i in range(100_000)]
    start = time.perf_counter()
    for strategy in STRATEGIES:
        plan_cohorts(ids, config(strategy, 50), 50, 1, np.arange(1, 100_001))
    assert time.perf_counter() - start < 20  # 2 s; a loop in Python would take minutes
