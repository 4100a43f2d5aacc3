"""Removes what runs leave on disk and nobody needs: a plan first, which says of each run why it
goes or stays, then the removal.

Two levels. The folder of a finished run, `.fedpipe/runs/NAME`, has nothing that MLflow has not; it
goes alone, unless `records` asks for the run's files in MLflow too. Shards and client caches that
no run uses any more go with either.
"""

import fnmatch
import json
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from fedpipe.errors import ConfigError, DataError, shorten
from fedpipe.project.paths import Project
from fedpipe.runs.state import RunState, all_states
from fedpipe.status import ENDED, MlflowStatus, RunStatus
from fedpipe.sweep.state import STATE_NAME as SWEEP_STATE_NAME

if TYPE_CHECKING:
    from fedpipe.tracking.removal import StoredRun
    from fedpipe.tracking.store import Store

STATUSES = (
    RunStatus.FINISHED,
    RunStatus.FAILED,
    RunStatus.PRUNED,
    RunStatus.INTERRUPTED,
    RunStatus.DELETED,
)
"""Statuses that can be asked for. `running` cannot: such a run is never removed."""
_OF_MLFLOW: dict[str, RunStatus] = {
    MlflowStatus.FINISHED: RunStatus.FINISHED,
    MlflowStatus.FAILED: RunStatus.FAILED,
    MlflowStatus.KILLED: RunStatus.INTERRUPTED,
    MlflowStatus.RUNNING: RunStatus.RUNNING,
    MlflowStatus.SCHEDULED: RunStatus.RUNNING,
}
_WILDCARDS = frozenset("*?[")
_REMOVED = "removed"


@dataclass(frozen=True)
class Selection:
    """Which runs to remove: those that satisfy all that is given.

    Attributes:
        older_than_seconds: time since the run ended, at least.
        statuses: of `STATUSES`; empty: all but `interrupted`.
        names: patterns as of a shell; empty: all.
        keep: so many of the newest selected runs stay.
        records: remove the files in MLflow too.
    """

    older_than_seconds: float | None = None
    statuses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    keep: int = 1
    records: bool = False


@dataclass(frozen=True)
class RunFiles:
    """A run, what it takes on disk, and what becomes of it.

    Attributes:
        name, run_id: of the run; no id if it died before MLflow gave it one.
        status: one of `STATUSES`, or `running`.
        ended: in seconds since 1970.
        folder: on this machine, None if there is none.
        folder_bytes: size of the folder.
        record_bytes: size of its files in MLflow, without what stays of a removed run.
        remove: whether it is to be removed.
        reason: why it stays; empty if it goes.
        models: registered versions that it trained.
        sweep: name of the sweep that it belongs to or is; empty if none.
        data_md5: DVC's md5 of its data; empty if not known.
        pending: what a command still does with the folder of this finished run; empty if nothing.
    """

    name: str
    run_id: str
    status: str
    ended: float
    folder: str | None
    folder_bytes: int
    record_bytes: int
    remove: bool = True
    reason: str = ""
    models: tuple[str, ...] = ()
    sweep: str = ""
    data_md5: str = ""
    pending: str = ""

    @property
    def size_bytes(self) -> int:
        """Return the size of all its files."""
        return self.folder_bytes + self.record_bytes


@dataclass(frozen=True)
class SharedFiles:
    """Files that several runs may use: shards, client caches, the folder of a sweep, remains of an
    earlier removal.
    """

    what: str
    path: str
    size_bytes: int
    remove: bool
    reason: str = ""


@dataclass(frozen=True)
class CleaningPlan:
    """All runs and shared files of a project, and what is to be removed of them.

    Attributes:
        runs: the newest first.
        shared: files of no single run.
        records: whether files in MLflow are removed too.
    """

    runs: tuple[RunFiles, ...]
    shared: tuple[SharedFiles, ...]
    records: bool

    @property
    def removable_bytes(self) -> int:
        """Return how much room the removal makes."""
        runs = sum(
            run.folder_bytes + (run.record_bytes if self.records else 0)
            for run in self.runs
            if run.remove
        )
        return runs + sum(files.size_bytes for files in self.shared if files.remove)

    def to_json(self) -> dict[str, Any]:
        """Return the plan for `--json`."""
        return {
            "records": self.records,
            "runs": [asdict(run) for run in self.runs],
            "shared": [asdict(files) for files in self.shared],
            "removable_bytes": self.removable_bytes,
        }


def plan_cleaning(project: Project, selection: Selection) -> CleaningPlan:
    """Return what a removal would do; nothing is changed.

    Raises:
        ConfigError: a status is unknown, a name selects no run, or `records` would select every
            run.
        TrackingError: the store cannot be read, so that nobody knows what its models need.
    """
    _check(selection)
    store, stored = _read_store(project)
    runs = _all_runs(project, store, stored)
    if selection.names and not any(_named(run, selection.names) for run in runs):
        raise ConfigError(
            f"--name {shorten(selection.names)}: no run has such a name. `fedpipe clean` lists "
            "all runs."
        )
    judged = _judge(
        runs, stored, selection, _unfinished_sweeps(project), has_store=store is not None
    )
    return CleaningPlan(
        tuple(judged), tuple(_shared_files(project, judged, stored, selection)), selection.records
    )


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
    with _nobody_prepares(project) as alone:
        for files in plan.shared:
            if files.remove and (alone or files.what not in ("shards", "client cache")):
                _remove_folder(project, Path(files.path))
    shared = plan.shared
    if not alone:
        shared = tuple(
            replace(files, remove=False, reason="data are being prepared")
            if files.remove and files.what in ("shards", "client cache")
            else files
            for files in plan.shared
        )
    return replace(plan, runs=tuple(runs), shared=shared)


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


def _all_runs(
    project: Project, store: "Store | None", stored: "dict[str, StoredRun]"
) -> list[RunFiles]:
    """Return the runs that have a folder here and, where the store is this project's own, those
    that only the store has.
    """
    from fedpipe.tracking.removal import size_of_files
    from fedpipe.tracking.store import is_own_store

    runs = []
    seen = set()
    for state in all_states(project):
        run_id = str(state.values.get("mlflow_run_id") or "")
        seen.add(run_id)
        record = stored.get(run_id)
        runs.append(
            RunFiles(
                name=state.name,
                run_id=run_id,
                status=_status(state, record),
                ended=(state.folder / "run_state.json").stat().st_mtime,
                folder=str(state.folder),
                folder_bytes=_size(state.folder),
                record_bytes=size_of_files(store, run_id) if store and record else 0,
                models=record.models if record else (),
                sweep=str(state.values.get("sweep") or ""),
                data_md5=str(state.values.get("data_md5") or (record.data_md5 if record else "")),
                pending=_pending(state),
            )
        )
    if store is not None and is_own_store(project.root):
        for record in stored.values():
            if record.run_id in seen:
                continue
            size = size_of_files(store, record.run_id)
            if record.deleted and not size:
                continue  # removed before
            status = (
                RunStatus.DELETED
                if record.deleted
                else _OF_MLFLOW.get(record.status, RunStatus.INTERRUPTED)
            )
            sweep = (
                record.name
                if record.is_sweep
                else stored[record.sweep_run_id].name
                if record.sweep_run_id in stored
                else ""
            )
            runs.append(
                RunFiles(
                    record.name,
                    record.run_id,
                    status,
                    record.ended,
                    None,
                    0,
                    size,
                    True,
                    "",
                    record.models,
                    sweep,
                    record.data_md5,
                )
            )
    return sorted(runs, key=lambda run: run.ended, reverse=True)


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


def _judge(
    runs: Sequence[RunFiles],
    stored: "dict[str, StoredRun]",
    selection: Selection,
    unfinished_sweeps: set[str],
    *,
    has_store: bool,
) -> list[RunFiles]:
    """Say of each run whether it goes, or why it stays."""
    judged: list[RunFiles] = []
    kept_for_keep = 0
    for run in runs:
        reason = _why_needed(
            run, stored, selection, unfinished_sweeps, has_store
        ) or _why_not_selected(run, selection)
        if not reason and kept_for_keep < selection.keep:
            kept_for_keep += 1
            reason = "the newest" if selection.keep == 1 else f"one of the {selection.keep} newest"
        if not reason and run.folder is None and not selection.records:
            reason = "has no folder here; --records removes its files in MLflow"
        judged.append(replace(run, remove=not reason, reason=reason))
    return judged


def _why_needed(
    run: RunFiles,
    stored: "dict[str, StoredRun]",
    selection: Selection,
    unfinished_sweeps: set[str],
    has_store: bool,
) -> str:
    """Return why a run must stay whatever is selected, empty if it need not."""
    from fedpipe.tracking.journal import unsent

    record = stored.get(run.run_id)
    if run.status == RunStatus.RUNNING:
        return RunStatus.RUNNING
    if run.models:
        return f"registered as {shorten(run.models, 3)}"
    if run.sweep in unfinished_sweeps:
        return f"its sweep {run.sweep} is not finished"
    whole_sweep = run.sweep and run.sweep in selection.names
    if record is not None and not whole_sweep:
        if record.is_sweep:
            return "a sweep; --name with its exact name removes it and its runs"
        if any(other.sweep_best == run.run_id and not other.deleted for other in stored.values()):
            return f"the best of sweep {run.sweep}"
    exactly_named = any(
        name in (run.name, run.run_id) and not _WILDCARDS & set(name) for name in selection.names
    )
    if (
        run.status == RunStatus.INTERRUPTED
        and not exactly_named
        and RunStatus.INTERRUPTED not in selection.statuses
    ):
        return "interrupted; `fedpipe resume` can continue it, --status interrupted removes it"
    if run.folder is not None and run.status in ENDED and not exactly_named:
        if run.run_id and record is None:
            if has_store:
                return "the MLflow store does not have it"
            return "there is no MLflow store that has it"
        if run.run_id and unsent(Path(run.folder)):
            return "MLflow does not have all of its records; `fedpipe sync` sends them"
        return run.pending
    return ""


def _why_not_selected(run: RunFiles, selection: Selection) -> str:
    if selection.statuses and run.status not in selection.statuses:
        return f"is {run.status}"
    if selection.names and not _named(run, selection.names):
        return "has another name"
    if (
        selection.older_than_seconds is not None
        and time.time() - run.ended < selection.older_than_seconds
    ):
        return "is younger"
    return ""


def _named(run: RunFiles, patterns: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(name, pattern) or name == pattern
        for pattern in patterns
        for name in (run.name, run.run_id, run.sweep)
        if name
    )


def _unfinished_sweeps(project: Project) -> set[str]:
    """Return the names of sweeps that have no result yet, or are running."""
    unfinished = set()
    for path in sorted((project.private / "sweeps").glob(f"*/{SWEEP_STATE_NAME}")):
        try:
            concluded = "concluded" in json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            concluded = False  # nobody knows: its runs stay
        if not concluded or _is_held(path.parent / "lock"):
            unfinished.add(path.parent.name)
    return unfinished


def _shared_files(
    project: Project, runs: Sequence[RunFiles], stored: "dict[str, StoredRun]", selection: Selection
) -> Iterator[SharedFiles]:
    """Yield the files of no single run, and whether a run that stays needs them."""
    from fedpipe.data.digest import dvc_md5

    running = next((run.name for run in runs if run.status == RunStatus.RUNNING), None)
    gone = {
        run.run_id
        for run in runs
        if run.remove and (selection.records or run.status == RunStatus.DELETED)
    }
    users: dict[str, str] = {}
    for run in runs:
        if not run.remove or run.run_id not in gone:
            users.setdefault(run.data_md5, run.name)
    for record in stored.values():
        if not record.deleted and record.run_id not in gone:
            users.setdefault(record.data_md5, record.name)
    populations = [project.shards]
    folders = [
        folder for folder in sorted((project.private / "shards").glob("*")) if folder.is_dir()
    ]
    later = _later_versions(project, runs) if folders else {}
    for folder in folders:
        try:
            user = running or users.get(dvc_md5(folder)) or later.get(folder)
        except DataError as err:
            user = f"nobody knows: {err}"
        if user:
            populations.append(folder)
        reason = f"used by {user}" if user else ""
        yield SharedFiles("shards", str(folder), _size(folder), not user, reason)
    yield from _client_caches(project, populations, running)
    for folder in sorted((project.private / "sweeps").glob("*")):
        members = [run for run in runs if run.sweep == folder.name]
        whole = (
            folder.name in selection.names
            and selection.records
            and all(run.remove for run in members)
        )
        yield SharedFiles(
            "sweep",
            str(folder),
            _size(folder),
            whole,
            "" if whole else "its search can be continued or extended",
        )
    for folder in sorted((project.private / _REMOVED).glob("*")):
        yield SharedFiles("remains of a removal", str(folder), _size(folder), True)


def _later_versions(project: Project, runs: Sequence[RunFiles]) -> dict[Path, str]:
    """Return the shards that the settings of the runs that stay make now, after clients were
    forgotten, and whose they are.
    """
    from fedpipe.runs.shards import shards_folder

    staying = {run.folder for run in runs if not run.remove}
    versions = {}
    for state in all_states(project):
        if str(state.folder) in staying:
            try:
                versions[shards_folder(state.config.data, project)] = state.name
            except (
                ConfigError,
                DataError,
            ):  # settings of another version of fedpipe, or a source that is gone: nothing makes them
                continue
    return versions


def _client_caches(
    project: Project, populations: Sequence[Path], running: str | None
) -> Iterator[SharedFiles]:
    from fedpipe.data.manifest import read_manifest
    from fedpipe.data.resident import cache_key

    used = set()
    for folder in populations:
        try:
            used.add(cache_key(read_manifest(folder)))
        except DataError:  # no shards there, or damaged ones: they have no cache to keep, it is made again from good ones
            continue
    for folder in sorted(project.client_cache.glob("*")):
        if folder.is_dir():
            needed = running is not None or folder.name in used
            reason = (
                f"{running} is running"
                if running
                else "of shards that are there; `fedpipe cache --clear` removes it"
            )
            yield SharedFiles(
                "client cache", str(folder), _size(folder), not needed, reason if needed else ""
            )


def _remove_run(project: Project, store: "Store | None", run: RunFiles) -> RunFiles:
    from fedpipe.tracking.removal import remove_files

    def remove() -> None:
        if store is not None and run.run_id:
            remove_files(store, run.run_id)
        if run.folder is not None:
            _remove_folder(project, Path(run.folder))

    if run.folder is None:
        remove()
        return run
    lock = FileLock(Path(run.folder) / "lock", timeout=0)
    try:
        with lock:
            remove()
    except Timeout:
        return replace(run, remove=False, reason="is running now", status=RunStatus.RUNNING)
    return run


def _remove_folder(project: Project, folder: Path) -> None:
    """Remove a folder, which nobody finds any more from the first moment on; what a kill leaves of
    it goes with the next removal.
    """
    trash = project.private / _REMOVED
    if folder.parent != trash:
        trash.mkdir(parents=True, exist_ok=True)
        folder = folder.rename(trash / f"{folder.name}-{uuid.uuid4().hex[:8]}")
    shutil.rmtree(folder)


@contextmanager
def _nobody_prepares(project: Project) -> Iterator[bool]:
    """Hold the lock of `load_data`; give whether that succeeded."""
    project.private.mkdir(parents=True, exist_ok=True)
    lock = FileLock(project.private / "prepare.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except FileNotFoundError:  # a run that is running replaces its files
            continue
    return total
