"""The clients of every round, planned before the first: a pure function of client ids, settings and
seed.
"""

from collections.abc import Sequence
from itertools import pairwise, starmap
from operator import lt

import numpy as np

from fedpipe.config.cohort import CohortConfig
from fedpipe.data.cohort_strategies import sample_each_round
from fedpipe.data.participation import availability, clients_to_ask, is_simulated, turn_out
from fedpipe.errors import PlanError, shorten
from fedpipe.types import CohortPlan


def plan_cohorts(
    client_ids: Sequence[str],
    config: CohortConfig,
    rounds: int,
    seed: int,
    examples: Sequence[int] | None = None,
) -> CohortPlan:
    """Return the cohorts of rounds 1..rounds, each sorted, each client once in a round at most.

    The draw of a round depends on the ids, the settings, the seed and the round alone: not on the
    order of `client_ids`, not on the number of rounds. Of the rounds before it depends with
    `min_separation` only. Where drop-outs, latency, days or `poisson` make cohorts vary, the plan
    also says what became of everyone that was asked; a round that would have fewer reports than
    `cohort.min_reports` has an empty cohort: it is skipped.

    Args:
        client_ids: the population; each id once.
        config: the settings under `cohort`.
        rounds: number of rounds, at least 1.
        seed: the run's seed.
        examples: training examples of each client, in the order of `client_ids`; `weighted` alone
            needs them.

    Raises:
        PlanError: more clients are to be asked than there are, `separation_rounds` is too large for
            them, or an id occurs twice.

    >>> config = CohortConfig(size=2, strategy="fixed")
    >>> plan = plan_cohorts(["a", "b", "c"], config, rounds=3, seed=1)
    >>> len(plan), plan.cohort(1) == plan.cohort(3)
    (3, True)
    """
    population = client_ids
    if not all(starmap(lt, pairwise(client_ids))):
        population = sorted(client_ids)
        twice = {client_id for client_id, after in pairwise(population) if client_id == after}
        if twice:
            raise PlanError(
                f"cohorts: expected each client id once, found twice: {shorten(sorted(twice))}."
            )
    count = clients_to_ask(config)
    if count > len(population):
        more = ""
        if count != config.size:
            more = f" with over_selection_fraction={config.over_selection_fraction}"
        raise PlanError(
            f"cohort.size={config.size}{more}: expected at most the population, found "
            f"{len(population)} clients. Lower cohort.size to "
            f"{int(len(population) / (1 + config.over_selection_fraction))} or less, or prepare "
            "more clients (data.clients)."
        )
    sizes = None
    if examples is not None:
        order = np.argsort(np.array(client_ids, object), kind="stable")
        sizes = np.array(examples, np.int64)[order]
    available = availability(config, population, seed)
    asked = sample_each_round(config, count, len(population), sizes, rounds, seed, available)
    if not is_simulated(config):
        known: dict[bytes, tuple[str, ...]] = {}  # a cohort that comes again is one object
        cohorts = (
            known.setdefault(who.tobytes(), tuple(population[i] for i in who.tolist()))
            for who in asked
        )
        return CohortPlan(config.strategy, seed, tuple(cohorts))
    turnouts = []
    for round_num, who in enumerate(asked, start=1):
        mask = available(round_num)
        could = len(population) if mask is None else int(mask.sum())
        turnouts.append(
            turn_out(config, [population[i] for i in who.tolist()], could, round_num, seed)
        )
    cohorts = (
        turnout.reported if len(turnout.reported) >= config.min_reports else ()
        for turnout in turnouts
    )
    return CohortPlan(config.strategy, seed, tuple(cohorts), tuple(turnouts))
