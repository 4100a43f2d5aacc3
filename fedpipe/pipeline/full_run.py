"""The pipeline, written once: load data, sample clients, train, evaluate, record.

The training flow runs it with Prefect's tasks as steps, a trial of a sweep with the plain
functions. DVC's stages run the same functions, each in a process of its own.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedpipe.pipeline import load_data, sample_clients
from fedpipe.runs.context import RunContext
from fedpipe.runs.step_results import DataRef, EvalRef, PlanRef, RecordRef, TrainRef
from fedpipe.runs.summary import summarize
from fedpipe.status import RunStatus


@dataclass(frozen=True)
class Steps:
    """The five steps; each takes the run and what the steps before it returned."""

    load_data: Callable[[RunContext], DataRef]
    sample_clients: Callable[[RunContext, DataRef], PlanRef]
    train: Callable[[RunContext, DataRef, PlanRef, Mapping[str, str]], TrainRef]
    evaluate: Callable[[RunContext, DataRef, TrainRef], EvalRef]
    record: Callable[[RunContext, DataRef, TrainRef, EvalRef], RecordRef]


def plain_steps() -> Steps:
    """Return the steps as functions of this process. A step imports TensorFlow when it runs."""
    from fedpipe.pipeline.evaluate import evaluate
    from fedpipe.pipeline.record import record
    from fedpipe.pipeline.train import train

    return Steps(load_data.load_data, sample_clients.sample_clients, train, evaluate, record)


def run_pipeline(
    run: RunContext,
    steps: Steps,
    tags: Mapping[str, str],
    flow_run_id: str | None = None,
    start: float | None = None,
) -> dict[str, Any]:
    """Run all steps of a run, or those that are left; return its summary, JSON-able.

    Args:
        run: the run.
        steps: see `Steps`.
        tags: more tags of the MLflow run.
        flow_run_id: Prefect's id, for the summary.
        start: `time.perf_counter()` when the run started, for the summary; default: now.

    Raises:
        FedpipeError: what a step raised. If it failed after training, the MLflow run is marked as
            failed, as training itself does.
    """
    start = time.perf_counter() if start is None else start
    data = steps.load_data(run)
    plan = steps.sample_clients(run, data)
    trained = steps.train(run, data, plan, tags)
    with mlflow_run_fails_with_block(run, trained.run_id):
        evaluated = steps.evaluate(run, data, trained)
        recorded = steps.record(run, data, trained, evaluated)
    seconds = time.perf_counter() - start
    return summarize(run.project, data, trained, evaluated, recorded, flow_run_id, seconds)


@contextmanager
def mlflow_run_fails_with_block(run: RunContext, run_id: str) -> Iterator[None]:
    """Mark the MLflow run as failed if the block fails, or as killed if it is terminated."""
    try:
        yield
    except BaseException as err:
        from fedpipe.tracking.run import TrackedRun
        from fedpipe.tracking.store import open_store

        experiment = run.config.tracking.experiment
        store = open_store(run.project.root, experiment, artifacts_needed=False)
        mlflow_run = TrackedRun.attach(store, run_id)
        mlflow_run.fail(f"{type(err).__name__}: {err}", killed=not isinstance(err, Exception))
        raise


def mark_finished(run: RunContext, summary: Mapping[str, Any], **values: Any) -> None:
    """Note in the run's state that nothing is left to do; `values` are noted beside the summary."""
    if run.state is not None:
        incomplete = summary["incomplete"]
        run.state.update(
            status=RunStatus.FINISHED, summary=summary, incomplete=incomplete, **values
        )
