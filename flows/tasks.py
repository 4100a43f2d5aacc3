"""One thin task per step. Tasks take and return references: paths, ids and digests, never tensors.

Only `load_data` retries: it alone reads what may be away for a moment, a download or a DVC remote. Nothing is cached by
Prefect: DVC knows what is up to date, and a training runs when it is asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from fedpipe.config import Config
from fedpipe.outlets import scrubbed
from fedpipe.steps.chain import read_chain
from fedpipe.steps.data import load_data as load_data_step
from fedpipe.steps.early import borrow_data, may_pass
from fedpipe.steps.evaluate import evaluate as evaluate_step
from fedpipe.steps.project import Project
from fedpipe.steps.record import record as record_step
from fedpipe.steps.refs import DataRef, EvalRef, PlanRef, RecordRef, TrainRef
from fedpipe.steps.sample import sample_clients as sample_clients_step
from fedpipe.steps.train import train as train_step
from flows.artifacts import RoundArtifacts, link_to_mlflow, show_chain, show_registered
from flows.listeners import current_listeners

_KEPT: Any = {"cache_policy": NO_CACHE, "persist_result": False}
"""Prefect would keep results as pickles, if it were told to by its settings."""


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Return whether a failed `load_data` is worth another try: a lost connection is, a wrong setting is not."""
    return may_pass(state.result(raise_on_failure=False))


@task(name="load_data", retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=_may_pass, **_KEPT)
def load_data(config: Config, project: Project) -> DataRef:
    """Bring the shards up to date through DVC, unless whoever called the flow has done so just now."""
    with scrubbed():
        return borrow_data(config) or load_data_step(config, project)


@task(name="sample_clients", **_KEPT)
def sample_clients(config: Config, data: DataRef, run_dir: Path) -> PlanRef:
    """Draw the cohort of every round."""
    with scrubbed():
        return sample_clients_step(config, data, run_dir)


@task(name="train", **_KEPT)
def train(
    config: Config,
    data: DataRef,
    plan: PlanRef,
    project: Project,
    run_name: str,
    tags: Mapping[str, str],
) -> TrainRef:
    """Run the rounds; Prefect's page of the run shows a progress bar and a table of rounds."""
    with scrubbed(), RoundArtifacts(config.rounds) as artifacts:
        return train_step(config, data, plan, project, run_name, tags, [artifacts, *current_listeners()])


@task(name="evaluate", **_KEPT)
def evaluate(config: Config, data: DataRef, trained: TrainRef) -> EvalRef:
    """Evaluate the weights before and after on the central test set."""
    with scrubbed():
        return evaluate_step(config, data, trained, Path(trained.run_dir))


@task(name="record", **_KEPT)
def record(config: Config, data: DataRef, trained: TrainRef, evaluated: EvalRef, project: Project) -> RecordRef:
    """Complete the MLflow run: final model, pictures, figures, registry; link it from Prefect's page."""
    with scrubbed():
        recorded = record_step(config, data, trained, evaluated, project)
        link_to_mlflow(recorded)
        show_chain(read_chain(Path(trained.run_dir)), recorded.url)
        if recorded.registered is not None:
            show_registered(recorded.registered)
        return recorded
