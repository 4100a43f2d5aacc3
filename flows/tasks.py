"""One thin task per step. Tasks take and return references: paths, ids and digests, never tensors.

Only `load_data` retries: it alone reads what may be away for a moment, a download or a DVC remote.
Nothing is cached by Prefect: DVC knows what is up to date, and a training runs when it is asked
for.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from fedpipe.orchestration.run_log import figures_line, say
from fedpipe.pipeline.full_run import Steps, plain_steps
from fedpipe.pipeline.load_data import may_pass
from fedpipe.runs.context import RunContext
from fedpipe.runs.lineage import read_lineage
from fedpipe.runs.optional_parts import Parts
from fedpipe.runs.step_results import DataRef, EvalRef, PlanRef, RecordRef, TrainRef
from fedpipe.system.log_redaction import scrubbed
from flows.artifacts import RoundArtifacts, link_to_mlflow, show_lineage, show_registered

_PLAIN = plain_steps()
_OPTIONS: Any = {"cache_policy": NO_CACHE, "persist_result": False}
"""Prefect would keep results as pickles, if it were told to by its settings."""


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Return whether a failed `load_data` is worth another try: a lost connection is, a wrong
    setting is not.
    """
    return may_pass(state.result(raise_on_failure=False))


@task(
    name="load_data",
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=_may_pass,
    **_OPTIONS,
)
def load_data(run: RunContext) -> DataRef:
    """Bring the shards up to date through DVC, unless the caller of the flow has just done so."""
    with scrubbed():
        data = _PLAIN.load_data(run)
        source = run.config.data.source
        say(f"data of {source}: {data.how}; md5 {data.md5[:12]}, {data.seconds:.1f} s")
        return data


@task(name="sample_clients", **_OPTIONS)
def sample_clients(run: RunContext, data: DataRef) -> PlanRef:
    """Draw the cohort of every round."""
    with scrubbed():
        plan = _PLAIN.sample_clients(run, data)
        say(f"cohorts of {run.config.rounds} rounds drawn: {plan.path}")
        return plan


@task(name="train", **_OPTIONS)
def train(run: RunContext, data: DataRef, plan: PlanRef, tags: Mapping[str, str]) -> TrainRef:
    """Run the rounds; Prefect's page of the run shows a progress bar and a table of rounds."""
    config = run.config
    with scrubbed(), RoundArtifacts(config.rounds) as artifacts:
        shown = replace(run, sinks=(artifacts, *run.sinks))
        trained = _PLAIN.train(shown, data, plan, tags)
        say(
            f"{trained.rounds} rounds of {config.algorithm.name} on {config.model.name} in "
            f"{trained.seconds:.1f} s"
        )
        return trained


@task(name="evaluate", **_OPTIONS)
def evaluate(run: RunContext, data: DataRef, trained: TrainRef) -> EvalRef:
    """Evaluate the weights before and after on the central test set."""
    with scrubbed():
        evaluated = _PLAIN.evaluate(run, data, trained)
        metric = run.config.task.shown_metric
        say(figures_line(evaluated.initial, evaluated.final, metric))
        return evaluated


@task(name="record", **_OPTIONS)
def record(run: RunContext, data: DataRef, trained: TrainRef, evaluated: EvalRef) -> RecordRef:
    """Complete the MLflow run: final model, pictures, figures, registry; link it from Prefect's
    page.
    """
    with scrubbed():
        recorded = _PLAIN.record(run, data, trained, evaluated)
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


STEPS = Steps(load_data, sample_clients, train, evaluate, record)
"""The pipeline's steps as tasks."""
