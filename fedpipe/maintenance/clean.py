"""Removes what runs leave on disk and nobody needs: a plan first, which says of each run why it
goes or stays, then the removal.

Two levels. The folder of a finished run, `.fedpipe/runs/NAME`, has nothing that MLflow has not; it
goes alone, unless `records` asks for the run's files in MLflow too. Shards and client caches that
no run uses any more go with either.
"""

import json
import shutil
import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.errors import ConfigError, shorten
from fedpipe.maintenance.cleaning_plan import STATUSES, CleaningPlan, RunFiles, Selection
from fedpipe.maintenance.run_files import all_runs
from fedpipe.maintenance.shared_files import REMOVED, shared_files
from fedpipe.maintenance.why_runs_stay import is_named, judge
from fedpipe.project.paths import Project
from fedpipe.status import RunStatus
from fedpipe.sweep.state import STATE_NAME as SWEEP_STATE_NAME
from fedpipe.system.locks import lock_if_free

if TYPE_CHECKING:
    from fedpipe.tracking.removal import StoredRun
    from fedpipe.tracking.store import Store


def plan_cleaning(project: Project, selection: Selection) -> CleaningPlan:
    """Return what a removal would do; nothing is changed.

    Raises:
        ConfigError: a status is unknown, a name selects no run, or `records` would select every
            run.
        TrackingError: the store cannot be read, so that nobody knows what its models need.
    """
    _check(selection)
    store, stored = _read_store(project)
    runs = all_runs(project, store, stored)
    if selection.names and not any(is_named(run, selection.names) for run in runs):
        raise ConfigError(
            f"--name {shorten(selection.names)}: no run has such a name. `fedpipe clean` lists "
            "all runs."
        )
    judged = judge(
        runs, stored, selection, _unfinished_sweeps(project), has_store=store is not None
    )
    shared = shared_files(project, judged, stored, selection)
    return CleaningPlan(tuple(judged), tuple(shared), selection.records)


def clean(project: Project, plan: CleaningPlan) -> CleaningPlan:
    """Remove what a plan says, and return the plan with what was really removed: a run that someone
    resumed meanwhile stays.

    Raises:
        TrackingError: the store does not answer. What was removed before stays removed; the same
            command continues.
        OSError: a file cannot be removed.
    """
    store, _ = _read_store(project) if plan.records else (None, {})
    runs = [_remove_run(project, store, run) if run.remove else run for run in plan.runs]
    shared = []
    with lock_if_free(project.private / "prepare.lock") as nobody_prepares:
        for files in plan.shared:
            if files.remove and not nobody_prepares and files.what in ("shards", "client cache"):
                files = replace(files, remove=False, reason="data are being prepared")
            if files.remove:
                _remove_folder(project, Path(files.path))
            shared.append(files)
    return replace(plan, runs=tuple(runs), shared=tuple(shared))


def _check(selection: Selection) -> None:
    unknown = [status for status in selection.statuses if status not in STATUSES]
    if unknown:
        raise ConfigError(
            f"--status {unknown[0]}: choose from {', '.join(STATUSES)}. A run that is running is "
            "never removed."
        )
    if selection.records and not (
        selection.statuses
        or selection.names
        or selection.older_than_seconds is not None
        or selection.keep > 1
    ):
        raise ConfigError(
            "--records removes files that nothing brings back: say of which runs, with "
            "--older-than, --status, --name or --keep 2 or more."
        )


def _read_store(project: Project) -> "tuple[Store | None, dict[str, StoredRun]]":
    from fedpipe.tracking.removal import stored_runs
    from fedpipe.tracking.store import has_store, read_store

    if not has_store(project.root):
        return None, {}
    store = read_store(project.root)
    return store, {run.run_id: run for run in stored_runs(store)}


def _unfinished_sweeps(project: Project) -> set[str]:
    """Return the names of sweeps that have no result yet, or are running."""
    unfinished = set()
    for path in project.private.glob(f"sweeps/*/{SWEEP_STATE_NAME}"):
        try:
            concluded = "concluded" in json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            concluded = False  # nobody knows: its runs stay
        with lock_if_free(path.parent / "lock") as nobody_runs_it:
            if not concluded or not nobody_runs_it:
                unfinished.add(path.parent.name)
    return unfinished


def _remove_run(project: Project, store: "Store | None", run: RunFiles) -> RunFiles:
    from fedpipe.tracking.removal import remove_files

    with ExitStack() as stack:
        if run.folder is not None and not stack.enter_context(
            lock_if_free(Path(run.folder) / "lock")
        ):
            return replace(run, remove=False, reason="is running now", status=RunStatus.RUNNING)
        if store is not None and run.run_id:
            remove_files(store, run.run_id)
        if run.folder is not None:
            _remove_folder(project, Path(run.folder))
    return run


def _remove_folder(project: Project, folder: Path) -> None:
    """Remove a folder, which nobody finds any more from the first moment on; what a kill leaves of
    it goes with the next removal.
    """
    trash = project.private / REMOVED
    if folder.parent != trash:
        trash.mkdir(parents=True, exist_ok=True)
        folder = folder.rename(trash / f"{folder.name}-{uuid.uuid4().hex[:8]}")
    shutil.rmtree(folder)
