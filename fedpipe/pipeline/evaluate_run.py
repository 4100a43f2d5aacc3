"""A finished run's weights evaluated again: on the data as they are now, without training."""

import logging
from pathlib import Path
from typing import Any

from fedpipe.errors import ConfigError, ModelError, shorten
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.state import RunState, all_states

logger = logging.getLogger(__name__)


def finished_run(project: Project, name: str | None) -> RunState:
    """Return the finished run called `name` (MLflow run id, name or folder), or the newest one.

    Raises:
        ConfigError: there is none, or it did not finish.
    """

    def matches(state: RunState) -> bool:
        if name is None:
            return state.finished
        return state.is_called(name)

    states = all_states(project)
    run = next(filter(matches, states), None)
    if run is None:
        known = shorten([state.folder.name for state in states], 3) or "none"
        raise ConfigError(
            f"run {name or ''}: expected a finished run of this project, found {known}. "
            "`fedpipe run` makes one."
        )
    if not run.finished:
        raise ConfigError(
            f"run {run.name}: expected a finished run, found one that was interrupted. `fedpipe "
            "resume` resumes it."
        )
    return run


def evaluate_run(project: Project, run_name: str | None, name: str) -> dict[str, Any]:
    """Evaluate the weights of a run on the data that its settings give now; return the figures,
    JSON-able.

    The tables go to `.fedpipe/evaluations/NAME` and to the artifacts of the MLflow run, in
    `evaluations/NAME`.

    Args:
        project: where.
        run_name: see `finished_run`.
        name: of this evaluation.

    Raises:
        ConfigError, DataError, ModelError, TrackingError: see there.
    """
    from fedpipe.pipeline.evaluate import CENTRAL, evaluate
    from fedpipe.pipeline.record import read_trained
    from fedpipe.runs.shards import ensure_shards
    from fedpipe.tracking.run import TrackedRun
    from fedpipe.tracking.store import open_store

    state = finished_run(project, run_name)
    config = state.config
    data = ensure_shards(config, project)
    trained = read_trained(state.folder)
    context = RunContext.of_state(project, state, config)
    evaluated = evaluate(context, data, trained, project.private / "evaluations" / name)
    if CENTRAL in evaluated.missing:  # its figures would be those of the training
        raise ModelError(
            f"run {state.name}: expected to evaluate its weights, found: "
            f"{evaluated.missing[CENTRAL]}."
        )
    run = TrackedRun.attach(open_store(project.root, config.tracking.experiment), trained.run_id)
    for path in map(Path, evaluated.tables):
        if path.exists():
            run.log_file(path, f"evaluations/{name}")
    if evaluated.missing:
        reasons = "; ".join(f"{missing}: {reason}" for missing, reason in evaluated.missing.items())
        logger.warning("evaluation %s of run %s is incomplete: %s", name, state.name, reasons)
    return {
        "run": state.name,
        "run_id": trained.run_id,
        "url": run.url,
        "data_md5": data.md5,
        "same_data": state.values.get("data_md5") == data.md5,
        "incomplete": evaluated.missing,
        "initial": evaluated.initial,
        "final": evaluated.final,
        "best": evaluated.best,
    }
