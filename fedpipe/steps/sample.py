"""Step `sample_clients`: the cohort of every round, drawn before the first, as a file."""

import hashlib
from pathlib import Path

from fedpipe.config import Config
from fedpipe.errors import PlanError
from fedpipe.steps.files import write_atomic
from fedpipe.steps.refs import DataRef, PlanRef
from fedpipe.types import CohortPlan

PLAN_NAME = "cohorts.json"


def sample_clients(config: Config, data: DataRef, run_dir: Path) -> PlanRef:
    """Draw the plan over the clients of `data` that may train and write it to the run's folder.

    Raises:
        PlanError: a cohort is larger than the population.
    """
    from fedpipe.data.cohorts import plan_cohorts
    from fedpipe.data.population import Population
    from fedpipe.models.federated import training_clients

    population = Population.open(Path(data.path), verify=False)
    clients = training_clients(config, population)
    examples = population.training_sizes(clients).tolist() if config.cohort.strategy == "weighted" else None
    text = plan_cohorts(clients, config.cohort, config.rounds, config.seed, examples).to_json()
    path = run_dir / PLAN_NAME
    write_atomic(path, text)
    return PlanRef(str(path), hashlib.sha256(text.encode()).hexdigest(), str(run_dir))


def read_plan(ref: PlanRef) -> CohortPlan:
    """Return the plan in the file, if it is the one that was drawn.

    Raises:
        PlanError: the file is not there, or is another than the reference says.
    """
    try:
        text = Path(ref.path).read_text(encoding="utf-8")
    except OSError as err:
        raise PlanError(f"{ref.path}: expected the run's cohort plan, cannot read it: {err}. Start the run again.") from err
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != ref.sha256:
        raise PlanError(f"{ref.path}: expected a plan with sha256 {ref.sha256[:12]}, found {found[:12]}. Start the run again.")
    return CohortPlan.from_json(text)
