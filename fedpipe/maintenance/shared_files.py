"""Which files belong to no single run, and does a run that stays need them: shards, client caches,
the folders of sweeps.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.errors import ConfigError, DataError
from fedpipe.maintenance.cleaning_plan import RunFiles, Selection, SharedFiles
from fedpipe.project.paths import Project
from fedpipe.runs.state import all_states
from fedpipe.status import RunStatus
from fedpipe.system.folder_size import size_of

if TYPE_CHECKING:
    from fedpipe.tracking.removal import StoredRun

REMOVED = "removed"
"""Folder of what is being removed; a kill leaves something in it."""


def shared_files(
    project: Project, runs: Sequence[RunFiles], stored: "dict[str, StoredRun]", selection: Selection
) -> Iterator[SharedFiles]:
    """Yield the files of no single run, and whether a run that stays needs them."""
    running = next((run.name for run in runs if run.status == RunStatus.RUNNING), None)
    shards = list(_shards(project, runs, _users(runs, stored, selection), running))
    yield from shards
    populations = [Path(files.path) for files in shards if not files.remove]
    yield from _client_caches(project, [project.shards, *populations], running)
    for folder in sorted((project.private / "sweeps").glob("*")):
        remove = (
            folder.name in selection.names
            and selection.records
            and all(run.remove for run in runs if run.sweep == folder.name)
        )
        yield _files("sweep", folder, "" if remove else "its search can be continued or extended")
    for folder in sorted((project.private / REMOVED).glob("*")):
        yield _files("remains of a removal", folder, "")


def _files(kind: str, folder: Path, reason: str) -> SharedFiles:
    """Return the files of a folder, which stays for `reason`, or goes if that is empty."""
    return SharedFiles(kind, str(folder), size_of(folder), not reason, reason)


def _users(
    runs: Sequence[RunFiles], stored: "dict[str, StoredRun]", selection: Selection
) -> dict[str, str]:
    """Return the name of a run by the md5 of its data, of all runs that do not go for good."""
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
    return users


def _shards(
    project: Project, runs: Sequence[RunFiles], users: Mapping[str, str], running: str | None
) -> Iterator[SharedFiles]:
    from fedpipe.data.digest import dvc_md5

    folders = list(filter(Path.is_dir, sorted((project.private / "shards").glob("*"))))
    later = _later_versions(project, runs) if folders else {}
    for folder in folders:
        try:
            user = running or users.get(dvc_md5(folder)) or later.get(folder)
        except DataError as err:
            user = f"nobody knows: {err}"
        yield _files("shards", folder, f"used by {user}" if user else "")


def _later_versions(project: Project, runs: Sequence[RunFiles]) -> dict[Path, str]:
    """Return the shards that the settings of the runs that stay make now, after clients were
    forgotten, and whose they are.
    """
    from fedpipe.config.shard_settings import ShardSettings
    from fedpipe.runs.shards import shards_folder

    staying = {run.folder for run in runs if not run.remove}
    versions = {}
    for state in all_states(project):
        if str(state.folder) in staying:
            # Settings of another version of fedpipe, or of a source that is gone, make no shards.
            with suppress(ConfigError, DataError):
                versions[shards_folder(ShardSettings.of(state.config), project)] = state.name
    return versions


def _client_caches(
    project: Project, populations: Sequence[Path], running: str | None
) -> Iterator[SharedFiles]:
    from fedpipe.data.manifest import read_manifest
    from fedpipe.data.resident import cache_key

    used = set()
    for folder in populations:
        # Missing or damaged shards have no cache to keep: it is made again from good ones.
        with suppress(DataError):
            used.add(cache_key(read_manifest(folder)))
    for folder in filter(Path.is_dir, sorted(project.client_cache.glob("*"))):
        reason = ""
        if running is not None:
            reason = f"{running} is running"
        elif folder.name in used:
            reason = "of shards that are there; `fedpipe cache --clear` removes it"
        yield _files("client cache", folder, reason)
