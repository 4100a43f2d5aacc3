"""Which files does each run have, here and in the store, and how large are they?"""

from typing import TYPE_CHECKING

from fedpipe.errors import shorten
from fedpipe.maintenance.cleaning_plan import RunFiles
from fedpipe.project.paths import Project
from fedpipe.runs.state import RunState, all_states
from fedpipe.status import MlflowStatus, RunStatus
from fedpipe.system.folder_size import size_of

if TYPE_CHECKING:
    from fedpipe.tracking.removal import StoredRun
    from fedpipe.tracking.store import Store

_OF_MLFLOW: dict[str, RunStatus] = {
    MlflowStatus.FINISHED: RunStatus.FINISHED,
    MlflowStatus.FAILED: RunStatus.FAILED,
    MlflowStatus.KILLED: RunStatus.INTERRUPTED,
    MlflowStatus.RUNNING: RunStatus.RUNNING,
    MlflowStatus.SCHEDULED: RunStatus.RUNNING,
}


def all_runs(
    project: Project, store: "Store | None", stored: "dict[str, StoredRun]"
) -> list[RunFiles]:
    """Return the runs that have a folder here and, where the store is this project's own, those
    that only the store has.
    """
    from fedpipe.tracking.removal import size_of_files
    from fedpipe.tracking.store import is_own_store

    runs = []
    for state in all_states(project):
        run_id = str(state.values.get("mlflow_run_id") or "")
        record = stored.get(run_id)
        runs.append(
            RunFiles(
                name=state.name,
                run_id=run_id,
                status=_status(state, record),
                ended=(state.folder / "run_state.json").stat().st_mtime,
                folder=str(state.folder),
                folder_bytes=size_of(state.folder),
                record_bytes=size_of_files(store, run_id) if store and record else 0,
                models=record.models if record else (),
                sweep=str(state.values.get("sweep") or ""),
                data_md5=str(state.values.get("data_md5") or (record.data_md5 if record else "")),
                pending=_pending(state),
            )
        )
    if store is not None and is_own_store(project.root):
        here = {run.run_id for run in runs}
        runs += [
            _without_folder(record, stored, size)
            for record in stored.values()
            if record.run_id not in here
            # without a size it was removed before
            if (size := size_of_files(store, record.run_id)) or not record.deleted
        ]
    return sorted(runs, key=lambda run: run.ended, reverse=True)


def _without_folder(
    record: "StoredRun", stored: "dict[str, StoredRun]", record_bytes: int
) -> RunFiles:
    """Return a run that only the store has."""
    sweep = record if record.is_sweep else stored.get(record.sweep_run_id)
    return RunFiles(
        name=record.name,
        run_id=record.run_id,
        status=RunStatus.DELETED
        if record.deleted
        else _OF_MLFLOW.get(record.status, RunStatus.INTERRUPTED),
        ended=record.ended,
        folder=None,
        folder_bytes=0,
        record_bytes=record_bytes,
        models=record.models,
        sweep=sweep.name if sweep else "",
        data_md5=record.data_md5,
    )


def _status(state: RunState, record: "StoredRun | None") -> str:
    if state.is_alive():
        return RunStatus.RUNNING
    if record is not None and record.deleted:
        return RunStatus.DELETED
    if state.has_ended:
        return str(state.values["status"])
    return RunStatus.INTERRUPTED


def _pending(state: RunState) -> str:
    if state.incomplete:
        return f"its record lacks {shorten(state.incomplete, 3)}; `fedpipe record` adds it"
    if state.finished and state.values.get("told") is False:
        return "it was killed before it showed its result; `fedpipe resume` shows it"
    return ""
