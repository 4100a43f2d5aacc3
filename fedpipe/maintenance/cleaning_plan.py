"""What a cleaning removes: which runs were asked for, the files of each run, and what becomes of
them.
"""

from dataclasses import asdict, dataclass
from typing import Any

from fedpipe.status import RunStatus

STATUSES = (
    RunStatus.FINISHED,
    RunStatus.FAILED,
    RunStatus.PRUNED,
    RunStatus.INTERRUPTED,
    RunStatus.DELETED,
)
"""Statuses that can be asked for. `running` cannot: such a run is never removed."""


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
