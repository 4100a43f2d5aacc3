"""Step `sample_clients`: the cohort of every round, drawn before the first, as a file."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config import Config
from fedpipe.errors import PlanError
from fedpipe.runs.context import RunContext
from fedpipe.runs.step_results import DataRef, PlanRef
from fedpipe.system.atomic_files import write_atomic
from fedpipe.types import CohortPlan

if TYPE_CHECKING:
    from fedpipe.data.population import Population

PLAN_NAME = "cohorts.json"


def sample_clients(run: RunContext, data: DataRef) -> PlanRef:
    """Draw the plan over the clients of `data` that may train and write it to the run's folder.

    Raises:
        PlanError: a cohort is larger than the population.
    """
    from fedpipe.data.population import Population

    population = Population.open(Path(data.path), verify=False)
    text = draw_plan(run.config, population, run.config.rounds).to_json()
    path = run.folder / PLAN_NAME
    write_atomic(path, text)
    return PlanRef(str(path), hashlib.sha256(text.encode()).hexdigest())


def draw_plan(config: Config, population: "Population", rounds: int) -> CohortPlan:
    """Return the cohorts of the first `rounds` rounds. Raises PlanError if a cohort is larger than
    the population.
    """
    from fedpipe.data.cohort_plan import plan_cohorts
    from fedpipe.models.federated import training_clients

    clients = training_clients(config, population)
    examples = (
        population.training_sizes(clients).tolist()
        if config.cohort.strategy == "weighted"
        else None
    )
    return plan_cohorts(clients, config.cohort, rounds, config.seed, examples)


def read_plan(ref: PlanRef) -> CohortPlan:
    """Return the plan in the file, if it is the one that was drawn.

    Raises:
        PlanError: the file is not there, or is another than the reference says.
    """
    try:
        text = Path(ref.path).read_text(encoding="utf-8")
    except OSError as err:
        raise PlanError(
            f"{ref.path}: expected the run's cohort plan, cannot read it: {err}. Start the run "
            "again."
        ) from err
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    if sha256 != ref.sha256:
        raise PlanError(
            f"{ref.path}: expected a plan with sha256 {ref.sha256[:12]}, found {sha256[:12]}. "
            "Start the run again."
        )
    return CohortPlan.from_json(text)
