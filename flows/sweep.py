"""The sweep as a flow: many trainings beside each other, whose best becomes a params file.
`prefect.yaml` deploys it.

Trials are processes of this flow run, not flow runs: they share its cores and memory, and are
gone when it is. On a Dask cluster each is a task run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.runtime import flow_run

from fedpipe.orchestration.sweep_events import current_sweep
from fedpipe.project.paths import find_project
from fedpipe.sweep.sweep import SweepOptions, run_sweep
from fedpipe.sweep.trials import SweepWatcher
from fedpipe.system.log_redaction import scrubbed, watch_outlets
from fedpipe.tables.sweep import ABSENT
from fedpipe.tables.texts import markdown, markdown_code
from fedpipe.tracking.tags import PREFECT_FLOW_RUN_ID, PREFECT_FLOW_RUN_NAME, PREFECT_URL
from flows.artifacts import tag_run


@flow(name="federated-sweep", persist_result=False)
def federated_sweep(
    sweep: str = "sweep.yaml",
    overrides: list[str] | None = None,
    resume: bool = False,
    out: str | None = None,
) -> dict[str, Any]:
    """Search for settings: train with many, judged by validation examples.

    Args:
        sweep: the sweep's file, relative to the project's folder.
        overrides: settings that override those of the file, such as `rounds=50`.
        resume: resume a sweep that was interrupted, and do not start a new one.
        out: file for the best trial's settings; `params/sweep_NAME.yaml` if not given.

    Returns:
        The summary of the sweep, as `fedpipe sweep --json` prints it.
    """
    watch_outlets()
    project = find_project(Path.cwd())
    run_id = str(flow_run.id)
    about, watcher = current_sweep()
    about.values["flow_run_id"] = run_id
    tag_run(run_id, ("fedpipe", "sweep"))
    tags = {
        PREFECT_FLOW_RUN_ID: run_id,
        PREFECT_FLOW_RUN_NAME: str(flow_run.name),
        PREFECT_URL: str(flow_run.ui_url),
    }
    with scrubbed(), SweepArtifacts(watcher) as artifacts:
        path = project.root / sweep
        options = SweepOptions(resume=resume, out=Path(out) if out else None, watcher=artifacts)
        summary = run_sweep(project, path, overrides or (), tags=tags, pool=about.pool, **options)
        artifacts.show(summary)
    return summary


class SweepArtifacts:
    """A `SweepWatcher`: Prefect's page of the run has a bar of trials, and at the end their table
    and a link to MLflow.
    """

    def __init__(self, watcher: SweepWatcher | None) -> None:
        """Take another watcher, which is told all the same."""
        self._watcher = watcher
        self._progress = UUID(int=0)
        self._trials = 1
        self._ended = 0

    def __enter__(self) -> "SweepArtifacts":
        """Make the bar, at 0 %."""
        made = create_progress_artifact(progress=0.0, key="children", description="no trial yet")
        self._progress = made if isinstance(made, UUID) else self._progress
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it stands."""

    def begun(self, name: str, trials: int, ended: int) -> None:
        """Set the bar to what is there."""
        self._trials = trials
        self._ended = ended
        self._move()
        if self._watcher:
            self._watcher.begun(name, trials, ended)

    def trial_started(self, number: int, point: Mapping[str, Any], rounds: int) -> None:
        """Pass it on."""
        if self._watcher:
            self._watcher.trial_started(number, point, rounds)

    def trial_round(self, number: int, round_num: int, value: float) -> None:
        """Pass it on."""
        if self._watcher:
            self._watcher.trial_round(number, round_num, value)

    def trial_ended(self, number: int, state: str, value: float | None) -> None:
        """Move the bar."""
        self._ended += state != "interrupted"
        self._move()
        if self._watcher:
            self._watcher.trial_ended(number, state, value)

    def show(self, summary: Mapping[str, Any]) -> None:
        """Add the table of trials and the link to the parent run."""
        rows = [
            {"child": trial["number"], "state": trial["state"], summary["metric"]: trial["value"]}
            | {key: trial["params"].get(key, ABSENT) for key in summary["keys"]}
            for trial in summary["children"]
        ]
        create_table_artifact(
            table=rows,
            key="children-table",
            description=f"Sweep {markdown(summary['name'])}: each trial",
        )
        create_link_artifact(
            link=summary["url"],
            link_text=f"MLflow run {summary['run_id']}",
            key="mlflow-run",
            description=f"MLflow run {markdown_code(summary['run_id'])}, with its trials. Best "
            f"settings: {markdown_code(str(summary['preset']))}.",
        )

    def _move(self) -> None:
        update_progress_artifact(
            self._progress,
            100.0 * self._ended / self._trials,
            f"{self._ended} of {self._trials} trials",
        )
