"""One thin task per step. Tasks take and return references: paths, ids and digests, never tensors.

Only `load_data` retries: it alone reads what may be away for a moment, a download or a DVC remote.
Nothing is cached by
Prefect: DVC knows what is up to date, and a training runs when it is asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from fedpipe.config import Config
from fedpipe.orchestration.listeners import current_listeners
from fedpipe.orchestration.run_log import FIGURES, say
from fedpipe.pipeline.evaluate import evaluate as evaluate_step
from fedpipe.pipeline.preflight import borrow_data, may_pass
from fedpipe.pipeline.record import record as record_step
from fedpipe.pipeline.sample_clients import sample_clients as sample_clients_step
from fedpipe.pipeline.train import train as train_step
from fedpipe.project.paths import Project
from fedpipe.runs.lineage import read_lineage
from fedpipe.runs.parts import Parts
from fedpipe.runs.refs import DataRef, EvalRef, PlanRef, RecordRef, TrainRef
from fedpipe.runs.shards import load_data as load_data_step
from fedpipe.system.log_redaction import scrubbed
from flows.artifacts import RoundArtifacts, link_to_mlflow, show_lineage, show_registered

_KEPT: Any = {"cache_policy": NO_CACHE, "persist_result": False}
"""Prefect would keep results as pickles, if it were told to by its settings."""


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Return whether a failed `load_data` is worth another try: a lost connection is, a wrong
    setting is not.
    """
    return may_pass(state.result(raise_on_failure=False))


@task(
    name="load_data", retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=_may_pass, **_KEPT
)
def load_data(config: Config, project: Project) -> DataRef:
    """Bring the shards up to date through DVC, unless whoever called the flow has done so just
    now.
    """
    with scrubbed():
        data = borrow_data(config) or load_data_step(config, project)
        say(f"data of {config.data.source}: {data.how}; md5 {data.md5[:12]}, {data.seconds:.1f} s")
        return data


@task(name="sample_clients", **_KEPT)
def sample_clients(config: Config, data: DataRef, run_dir: Path) -> PlanRef:
    """Draw the cohort of every round."""
    with scrubbed():
        plan = sample_clients_step(config, data, run_dir)
        say(f"cohorts of {config.rounds} rounds drawn: {plan.path}")
        return plan


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
        trained = train_step(
            config, data, plan, project, run_name, tags, [artifacts, *current_listeners()]
        )
        say(
            f"{trained.rounds} rounds of {config.algorithm.name} on {config.model.name} in "
            f"{trained.seconds:.1f} s"
        )
        return trained


@task(name="evaluate", **_KEPT)
def evaluate(config: Config, data: DataRef, trained: TrainRef, project: Project) -> EvalRef:
    """Evaluate the weights before and after on the central test set."""
    with scrubbed():
        evaluated = evaluate_step(config, data, trained, Path(trained.run_dir), project)
        figures = (
            (when, values, key)
            for key in FIGURES
            for when, values in (("before", evaluated.initial), ("after", evaluated.final))
        )
        say(
            ", ".join(
                f"{key.replace('/', ' ')} {values[key]:.4f} {when}"
                for when, values, key in figures
                if key in values
            )
        )
        return evaluated


@task(name="record", **_KEPT)
def record(
    config: Config, data: DataRef, trained: TrainRef, evaluated: EvalRef, project: Project
) -> RecordRef:
    """Complete the MLflow run: final model, pictures, figures, registry; link it from Prefect's
    page.
    """
    with scrubbed():
        recorded = record_step(config, data, trained, evaluated, project)
        pages = Parts()  # of Prefect alone: the run is recorded
        pages.attempt("Prefect's link to MLflow", lambda: link_to_mlflow(recorded))
        pages.attempt(
            "Prefect's page of the lineage",
            lambda: show_lineage(read_lineage(Path(trained.run_dir)), recorded.url),
        )
        if recorded.registered is not None:
            registered = recorded.registered
            pages.attempt(
                "Prefect's page of the registered model", lambda: show_registered(registered)
            )
            say(f"model {registered.name}/{registered.version} is {registered.alias}")
        say(f"recorded: {recorded.url}")
        return recorded
