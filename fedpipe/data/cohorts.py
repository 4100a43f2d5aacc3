"""The clients of every round, drawn before the first: a pure function of client ids, settings and seed."""

from collections.abc import Sequence
from itertools import pairwise

from fedpipe.config.schema import CohortConfig
from fedpipe.errors import PlanError, shorten
from fedpipe.seeding import generator
from fedpipe.types import CohortPlan


def plan_cohorts(client_ids: Sequence[str], config: CohortConfig, rounds: int, seed: int) -> CohortPlan:
    """Return the cohorts of rounds 1..rounds, each sorted, drawn without replacement.

    The draw of a round depends on the ids, the cohort's size, the seed and the round alone: not on the order of `client_ids`,
    and not on the other rounds. `uniform` draws anew each round; `fixed` takes the draw of round 1 for every round.

    Args:
        client_ids: the population; each id once.
        config: `cohort.size` and `cohort.strategy`.
        rounds: number of rounds, at least 1.
        seed: the run's seed.

    Raises:
        PlanError: the cohort is larger than the population, or an id occurs twice.

    >>> plan = plan_cohorts(["a", "b", "c"], CohortConfig(size=2, strategy="fixed"), rounds=3, seed=1)
    >>> len(plan), plan.cohort(1) == plan.cohort(3)
    (3, True)
    """
    population = sorted(client_ids)
    twice = {one for one, other in pairwise(population) if one == other}
    if twice:
        raise PlanError(f"cohorts: expected each client id once, found twice: {shorten(sorted(twice))}.")
    if config.size > len(population):
        raise PlanError(
            f"cohort.size={config.size}: expected at most the population, found {len(population)} clients. "
            f"Lower cohort.size to {len(population)} or less, or prepare more clients (data.clients)."
        )

    def draw(round_num: int) -> tuple[str, ...]:
        rng = generator(seed, "cohort", round_num)
        return tuple(population[i] for i in sorted(rng.choice(len(population), config.size, replace=False, shuffle=False).tolist()))

    if config.strategy == "fixed":
        return CohortPlan(config.strategy, seed, (draw(1),) * rounds)
    return CohortPlan(config.strategy, seed, tuple(draw(round_num) for round_num in range(1, rounds + 1)))
