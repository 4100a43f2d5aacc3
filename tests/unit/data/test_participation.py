"""Drop-outs, stragglers and over-selection: everyone asked is accounted for, and each client's fate is its own."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpipe.config import Config
from fedpipe.config.cohort import CohortConfig
from fedpipe.data.cohort_plan import plan_cohorts
from fedpipe.data.participation import latencies, turn_out
from fedpipe.errors import PlanError
from fedpipe.types import CohortPlan

IDS = [f"c{i:04d}" for i in range(2000)]


def config(**settings: Any) -> CohortConfig:
    return CohortConfig.model_validate({"strategy": "uniform", "size": 10, **settings})


@given(
    st.integers(1, 30),
    st.floats(0, 0.9),
    st.floats(0.1, 2),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(1, 50),
    st.integers(0, 2**40),
)
def test_everyone_asked_is_accounted_for(
    size: int, dropout: float, deadline: float, over: float, round_num: int, seed: int
) -> None:
    settings = config(
        size=size,
        dropout_fraction=dropout,
        latency_median_seconds=1.0,
        round_deadline_seconds=deadline,
        over_selection_fraction=over,
    )
    asked = IDS[: size + int(size * over)]
    found = turn_out(settings, asked, 2000, round_num, seed)
    assert sorted((*found.reported, *found.dropped, *found.late, *found.surplus)) == asked
    assert len(found.reported) <= size or not over
    assert not found.surplus or len(found.reported) == size
    seconds = dict(zip(asked, latencies(settings, asked, round_num, seed), strict=True))
    assert all(seconds[one] <= deadline for one in (*found.reported, *found.surplus))
    assert all(seconds[one] > deadline for one in found.late)
    assert max((seconds[one] for one in found.reported), default=0) <= min(
        (seconds[one] for one in found.surplus), default=np.inf
    )
    assert found.seconds is not None
    assert found.seconds <= deadline


def test_each_group_of_clients_is_sorted_although_reports_arrive_in_any_order() -> None:
    settings = config(
        over_selection_fraction=1.0,
        dropout_fraction=0.1,
        latency_median_seconds=1.0,
        round_deadline_seconds=2.0,
    )
    turnout = turn_out(settings, IDS[:30], 2000, 1, 1)
    groups = (turnout.reported, turnout.dropped, turnout.late, turnout.surplus)
    assert all(len(group) > 1 for group in groups)
    assert [list(group) for group in groups] == [sorted(group) for group in groups]


def test_a_clients_fate_does_not_depend_on_who_else_is_asked() -> None:
    settings = config(dropout_fraction=0.3, latency_median_seconds=1.0, round_deadline_seconds=1.5)
    together = turn_out(settings, IDS[:200], 2000, 3, 1)
    for one in IDS[:50]:
        alone = turn_out(settings, [one], 2000, 3, 1)
        assert [one in group for group in (alone.reported, alone.dropped, alone.late)] == [
            one in group for group in (together.reported, together.dropped, together.late)
        ]
    assert (
        turn_out(settings, IDS[:200], 2000, 4, 1)
        != together
        != turn_out(settings, IDS[:200], 2000, 3, 2)
    )


def test_drop_outs_are_as_many_as_the_setting_says() -> None:
    # Binomial(2000, 0.1): 200, standard deviation 13.4.
    assert (
        abs(len(turn_out(config(dropout_fraction=0.1), IDS, 2000, 1, 1).dropped) - 200) < 5 * 13.4
    )


def test_latency_has_its_median_and_half_its_variance_is_the_clients_own() -> None:
    settings = config(latency_median_seconds=30.0, latency_sigma=0.8)
    first, second = (np.log(latencies(settings, IDS, round_num, 1)) for round_num in (1, 2))
    assert np.exp(np.median(first)) == pytest.approx(30, rel=0.1)
    assert first.std() == pytest.approx(0.8, rel=0.1)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.5, abs=0.1)


def test_the_round_is_over_with_enough_reports_at_the_deadline_or_with_the_last_report() -> None:
    seconds = latencies(config(latency_median_seconds=1.0), IDS[:20], 1, 1)
    enough = turn_out(
        config(latency_median_seconds=1.0, over_selection_fraction=1.0), IDS[:20], 2000, 1, 1
    )
    assert enough.seconds == np.sort(seconds)[9]
    late = turn_out(
        config(
            size=20, latency_median_seconds=1.0, round_deadline_seconds=float(np.median(seconds))
        ),
        IDS[:20],
        2000,
        1,
        1,
    )
    assert (late.seconds, len(late.late)) == (np.median(seconds), 10)
    assert (
        turn_out(config(size=20, latency_median_seconds=1.0), IDS[:20], 2000, 1, 1).seconds
        == seconds.max()
    )


def test_a_plan_with_turnouts_survives_json_and_adds_up_its_time() -> None:
    plan = plan_cohorts(
        IDS,
        config(latency_median_seconds=1.0, round_deadline_seconds=1.2, dropout_fraction=0.2),
        5,
        1,
    )
    assert CohortPlan.from_json(plan.to_json()) == plan
    seconds = [plan.metrics(number)["cohort/simulated_seconds"] for number in range(1, 6)]
    assert plan.metrics(5)["cohort/simulated_seconds_total"] == pytest.approx(sum(seconds))
    assert plan.metrics(0) == {}
    assert plan_cohorts(IDS, config(), 5, 1).metrics(1) == {}


def test_over_selection_asks_more_than_the_size() -> None:
    plan = plan_cohorts(IDS, config(over_selection_fraction=0.3, dropout_fraction=0.1), 50, 1)
    assert {turnout.asked for turnout in plan.turnouts} == {13}
    assert max(map(len, plan.cohorts)) == 10
    with pytest.raises(
        PlanError,
        match=r"cohort\.size=10 with over_selection_fraction=0\.3: expected .* found 12 clients. Lower cohort.size to 9 ",
    ):
        plan_cohorts(IDS[:12], config(over_selection_fraction=0.3, dropout_fraction=0.1), 1, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"separation_rounds": 3},
            r"cohort\.separation_rounds=3 is set but cohort\.strategy=uniform ignores it",
        ),
        (
            {"latency_sigma": 1.0},
            r"cohort\.latency_sigma=1\.0 is set but without cohort\.latency_median_seconds it is ignored",
        ),
        (
            {"round_deadline_seconds": 9.0},
            r"round_deadline_seconds=9\.0 is set but without cohort\.latency_median_seconds",
        ),
        (
            {"available_fraction": 0.1},
            r"available_fraction=0\.1 is set but without cohort\.day_rounds it is ignored",
        ),
        ({"over_selection_fraction": 0.3}, r"asks clients whose reports would all be thrown away"),
        (
            {"strategy": "poisson", "over_selection_fraction": 0.3, "dropout_fraction": 0.1},
            r"does not go with cohort\.strategy=poisson",
        ),
        (
            {"strategy": "shuffled", "day_rounds": 24},
            r"cohort\.day_rounds=24 does not go with cohort\.strategy=shuffled",
        ),
    ],
)
def test_settings_that_would_be_ignored_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config.model_validate({"cohort": {"strategy": "uniform", "size": 10, **settings}})
