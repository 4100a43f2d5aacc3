"""What Prefect's page of a run shows: a progress bar that moves each round, a table of rounds, a
link to the MLflow run.
"""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from fedpipe.runs.lineage import TrainingLineage
from fedpipe.runs.optional_parts import Parts
from fedpipe.runs.step_results import RecordRef, RegisteredRef
from fedpipe.tables.texts import markdown, markdown_code
from fedpipe.types import RoundReport

_BAR_SECONDS = 0.5
"""Least time between two moves of the progress bar: each is a request that a round waits for."""


class RoundArtifacts:
    """A `RoundSink`: moves a progress artifact with the rounds, and at the end, also of a failed
    training, moves it to the last round and writes the table.
    """

    def __init__(self, rounds: int) -> None:
        """Take the number of rounds that make 100 %."""
        self._rounds = rounds
        self._progress: UUID | None = None
        self._rows: list[dict[str, Any]] = []
        self._shown = 0  # round at which the bar stands
        self._moved_at = time.monotonic()

    def __enter__(self) -> "RoundArtifacts":
        """Create the progress artifact at 0 %."""
        artifact = create_progress_artifact(
            progress=0.0, key="rounds", description=f"0 of {self._rounds} rounds"
        )
        self._progress = artifact if isinstance(artifact, UUID) else None
        return self

    def round_done(self, report: RoundReport) -> None:
        """Keep the round's row, and move the bar if it stands for half a second."""
        row = {"round": report.round_num} | {
            key: round(value, 4) for key, value in report.all_metrics().items()
        }
        self._rows.append(row)
        if time.monotonic() - self._moved_at >= _BAR_SECONDS:
            self._move()

    def _move(self) -> None:
        """Move the bar to the last round, if it stands elsewhere."""
        last = self._rows[-1]["round"] if self._rows else 0
        if self._progress is not None and last != self._shown:
            update_progress_artifact(
                self._progress, 100.0 * last / self._rounds, f"{last} of {self._rounds} rounds"
            )
            self._shown = last
            self._moved_at = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Move the bar, and write the table of the rounds that were reported. That they cannot be
        written is a warning: the rounds are done.
        """
        Parts().attempt("Prefect's progress bar", self._move)
        if self._rows:
            Parts().attempt(
                "Prefect's table of rounds",
                lambda: create_table_artifact(
                    table=self._rows, key="rounds-table", description="Each round's metrics"
                ),
            )


def tag_run(flow_run_id: str, names: Iterable[str]) -> None:
    """Add tags to a flow run, however it was started: Prefect gives the tags of a flow's own block
    to its tasks alone.
    """
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(flow_run_id))
        client.update_flow_run(run.id, tags=sorted({*run.tags, *names}))


def link_to_mlflow(recorded: RecordRef) -> None:
    """Add a link from this task run to the MLflow run."""
    create_link_artifact(
        link=recorded.url,
        link_text=f"MLflow run {recorded.run_id}",
        key="mlflow-run",
        description=f"MLflow run {markdown_code(recorded.run_id)}. Open the store with "
        f"{markdown_code(recorded.open_with)}.",
    )


def _champion_sentence(registered: RegisteredRef) -> str:
    """Return what became of the alias `champion`, without its subject."""
    before = registered.champion_before
    version = f"{registered.name}/{registered.version}"
    if before is None and registered.alias != "champion":
        return "is given to no version"
    if before is None:
        return f"is given to {version}"
    if registered.alias != "champion" or before == registered.version:
        return f"stays with {registered.name}/{before}"
    return f"moves from {registered.name}/{before} to {version}"


def _figure(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4f}"


def show_registered(registered: RegisteredRef) -> None:
    """Add what became of the run's model in the registry, and of the alias `champion`, as a page of
    this task run.
    """
    name = registered.name
    before = registered.champion_before
    rows = {
        "version": markdown(f"{name}/{registered.version}"),
        "alias": markdown_code(registered.alias),
        "alias `champion`": markdown(_champion_sentence(registered)),
        "reason": markdown(registered.reason),
        registered.metric: _figure(registered.validation_accuracy),
        "the champion's before, on the same examples": "there was none"
        if before is None
        else _figure(registered.champion_accuracy),
        "tracking.min_improvement": f"{registered.min_improvement:g}",
    }
    table = "\n".join(
        [
            "| what | value |",
            "| --- | --- |",
            *(f"| {key} | {value} |" for key, value in rows.items()),
        ]
    )
    create_markdown_artifact(
        f"{table}\n",
        key="registry",
        description=markdown(f"{name}/{registered.version} is {registered.alias}"),
    )


def show_lineage(lineage: TrainingLineage, url: str) -> None:
    """Add the lineage from commit to MLflow run, as a page of this task run."""
    dirty = " with uncommitted changes" if lineage.git.dirty else ""
    place = "" if lineage.dvc.data_in_lock else ", not in dvc.lock"
    rows = {
        "git commit": markdown_code(str(lineage.git.commit)) + dirty,
        "data (DVC md5)": markdown_code(str(lineage.dvc.data_md5)) + place,
        "Prefect flow run": f"{markdown(str(lineage.prefect.flow_run_name))} "
        f"{markdown_code(str(lineage.prefect.flow_run_id))}",
        "MLflow run": f"[{markdown(lineage.mlflow.run_id)}]({url})",
        "weights (SHA-256)": markdown_code(lineage.weights_sha256),
    }
    table = "\n".join(
        [
            "| link | id |",
            "| --- | --- |",
            *(f"| {name} | {value} |" for name, value in rows.items()),
        ]
    )
    create_markdown_artifact(
        f"{table}\n\n`uv run fedpipe lineage {lineage.mlflow.run_id}` shows the same.\n",
        key="lineage",
        description="Where the model comes from",
    )
