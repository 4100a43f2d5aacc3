import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpipe.config.schema import CohortConfig
from fedpipe.data.cohort_plan import plan_cohorts
from fedpipe.errors import PlanError

IDS = [f"c{i:03d}" for i in range(100)]
FIXED, UNIFORM = CohortConfig(size=10, strategy="fixed"), CohortConfig(size=10, strategy="uniform")


@given(
    st.permutations(IDS[:30]),
    st.integers(0, 2**40),
    st.sampled_from(["fixed", "uniform"]),
    st.integers(1, 30),
)
def test_a_plan_ignores_the_order_of_ids_and_draws_each_client_once(
    ids: list[str], seed: int, strategy: str, size: int
) -> None:
    config = CohortConfig.model_validate({"size": size, "strategy": strategy})
    plan = plan_cohorts(ids, config, 3, seed)
    assert plan == plan_cohorts(sorted(ids), config, 3, seed)
    for cohort in plan.cohorts:
        assert list(cohort) == sorted(set(cohort))
        assert len(cohort) == size
        assert set(cohort) <= set(ids)


def test_fixed_takes_the_first_draw_for_every_round() -> None:
    plan = plan_cohorts(IDS, FIXED, 15, 1)
    assert len(plan) == 15
    assert len(set(plan.cohorts)) == 1
    assert plan.cohort(1) == plan_cohorts(IDS, UNIFORM, 1, 1).cohort(1)


def test_uniform_draws_anew_each_round() -> None:
    assert len(set(plan_cohorts(IDS, UNIFORM, 50, 1).cohorts)) == 50


@pytest.mark.parametrize("config", [FIXED, UNIFORM])
def test_a_round_depends_on_neither_the_other_rounds_nor_their_number(config: CohortConfig) -> None:
    assert plan_cohorts(IDS, config, 5, 1).cohorts == plan_cohorts(IDS, config, 50, 1).cohorts[:5]


@pytest.mark.parametrize("config", [FIXED, UNIFORM])
def test_seed_and_ids_change_the_draw(config: CohortConfig) -> None:
    first = plan_cohorts(IDS, config, 1, 1).cohorts
    assert plan_cohorts(IDS, config, 1, 2).cohorts != first
    assert plan_cohorts([f"x{i}" for i in IDS], config, 1, 1).cohorts != first


def test_every_client_is_drawn_about_as_often() -> None:
    # 2,000 rounds of 10 of 100: 200 draws a client, standard deviation sqrt(2000 * 0.1 * 0.9) = 13.4; five of them are 67.
    drawn = [client for cohort in plan_cohorts(IDS, UNIFORM, 2000, 1).cohorts for client in cohort]
    counts = [drawn.count(client) for client in IDS]
    assert max(counts) - 200 < 67
    assert 200 - min(counts) < 67


def test_the_whole_population_may_be_the_cohort() -> None:
    assert plan_cohorts(IDS[:10], FIXED, 1, 1).cohort(1) == tuple(IDS[:10])


def test_a_cohort_larger_than_the_population_is_refused() -> None:
    with pytest.raises(
        PlanError,
        match=r"^cohort\.size=10: expected at most the population, found 9 clients\. Lower cohort\.size to 9",
    ):
        plan_cohorts(IDS[:9], FIXED, 1, 1)


def test_an_id_given_twice_is_refused() -> None:
    with pytest.raises(PlanError, match=r"found twice: c000\.$"):
        plan_cohorts([*IDS, "c000"], FIXED, 1, 1)
