"""Step `forget`: a new version of the shards without some clients, and a tag for the models that
saw them.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedpipe.errors import DataError, TrackingError, shorten
from fedpipe.lineage.queries import forgotten_champions, mark_versions
from fedpipe.project.paths import Project
from fedpipe.runs.data import data_of, population_of
from fedpipe.runs.lineage import population_key
from fedpipe.runs.shards import current_shards, settings_of_stage
from fedpipe.runs.state import all_states
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.locks import file_lock

if TYPE_CHECKING:
    from fedpipe.data.population import Population

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forgotten:
    """What was done.

    Attributes:
        client_ids: who was forgotten now.
        examples: how many examples of theirs are gone from the shards.
        clients_left: clients in the new version.
        files_changed: names of the files that the new version changed, added or removed.
        files: number of files of the new version.
        md5_before, md5_after: DVC's md5 of the shards.
        title: whose data these are, for example `run brave-fox (csv table.csv)`.
        path: folder of the new shards.
        in_dvc: whether DVC's stage `prepare` made a new version of `data/shards`: these are the
            data, or they hold the same clients.
        removed: folders in `.fedpipe/shards` that were removed, as they held the clients' examples.
        versions_marked: registered model versions that had trained on their data, and are tagged
            so.
        champions: versions that are still champion though they trained on clients that are
            forgotten, now or before.
    """

    client_ids: tuple[str, ...]
    examples: int
    clients_left: int
    files_changed: tuple[str, ...]
    files: int
    md5_before: str
    md5_after: str
    title: str
    path: str
    in_dvc: bool
    removed: tuple[str, ...]
    versions_marked: tuple[str, ...]
    champions: tuple[str, ...]


def forget(
    project: Project,
    client_ids: Sequence[str],
    reason: str | None = None,
    wanted: str | None = None,
) -> Forgotten:
    """Add the clients to `forgotten.json`, make the shards of a run's data without them, tag the
    models that saw them.

    Shards of `params.yaml` are made by DVC's stage `prepare`, those of overridden `data` settings
    in `.fedpipe/shards`, where the older versions that hold the clients are removed.

    Args:
        project: the project.
        client_ids: who is to be forgotten.
        reason: why, for the tags; None leaves those of an earlier call.
        wanted: a run, `MODEL@ALIAS` or `MODEL/VERSION`, whose data these are; None: the newest
            run's (see `runs.data.data_of`).

    Raises:
        DataError: an id is not in the shards, or they cannot be made; then the list is as it was.
        TrackingError: there is no such run; or the shards are new, but the models could not be
            tagged: forgetting the same clients again does it.
    """
    from fedpipe.data.digest import dvc_md5
    from fedpipe.data.forgotten import FORGOTTEN_NAME, forgotten_json, read_forgotten
    from fedpipe.data.manifest import SPLITS
    from fedpipe.data.population import Population

    path = project.root / FORGOTTEN_NAME
    project.private.mkdir(parents=True, exist_ok=True)
    about = data_of(project, wanted)
    with file_lock(project.private / "prepare.lock"):
        before = read_forgotten(project.root)
        shards = current_shards(about.settings, project)
        population = Population.open(shards)
        unknown = [
            one
            for one in client_ids
            if population.index.position(one) is None and one not in before
        ]
        if unknown:
            raise DataError(
                f"forget: expected ids of clients in the data of {about.title}, found no "
                f"{shorten(unknown)}. `fedpipe describe --json` lists them; --run names another "
                "run, whose data they are in."
            )
        positions = [
            position
            for one in set(client_ids)
            if (position := population.index.position(one)) is not None
        ]
        examples = sum(int(population.index.counts(split)[positions].sum()) for split in SPLITS)
        md5_before = dvc_md5(shards)
        old = {file.name: file.sha256 for file in population.manifest.files}
        list_before = path.read_text(encoding="utf-8") if path.exists() else None
        write_atomic(path, forgotten_json(before | set(client_ids)))
        key = population_of(about, population.manifest)
        try:
            after = Population.open(current_shards(about.settings, project))
            in_dvc = after.path == project.shards or _forget_in_stage(project, set(client_ids), key)
        except BaseException:
            if list_before is None:
                path.unlink()
            else:
                write_atomic(path, list_before)
            raise
        removed = _remove_older(project, set(client_ids), after)
    new = {file.name: file.sha256 for file in after.manifest.files}
    changed = tuple(sorted(name for name in old | new if old.get(name) != new.get(name)))
    left = after.manifest.clients
    try:
        marked = tuple(mark_versions(project, sorted(set(client_ids)), reason, key))
        champions = tuple(forgotten_champions(project))
    except TrackingError as err:
        raise TrackingError(
            f"{err} The shards are without them already; forget the same clients again to tag the "
            "models."
        ) from err
    return Forgotten(
        tuple(sorted(set(client_ids))),
        examples,
        left,
        changed,
        len(new),
        md5_before,
        dvc_md5(after.path),
        about.title,
        str(after.path),
        in_dvc,
        removed,
        marked,
        champions,
    )


def _forget_in_stage(project: Project, client_ids: set[str], key: str) -> bool:
    """Bring `data/shards` up to date if they hold one of these clients beside the shards of a run's
    own settings; return whether.

    Args:
        project: the project, with the ids in its list.
        client_ids: who is forgotten.
        key: of these clients (`runs.lineage.population_key`); the same ids in other data are left
            for the next `prepare`.
    """
    from fedpipe.data.manifest import MANIFEST_NAME
    from fedpipe.data.population import Population

    stage = settings_of_stage(project)
    if stage is None or not (project.shards / MANIFEST_NAME).is_file():
        return False
    here = Population.open(project.shards, verify=False)
    holds = any(here.index.position(one) is not None for one in client_ids)
    if not holds or population_key(stage, here.manifest.partition) != key:
        return False
    return current_shards(stage, project) == project.shards


def _remove_older(project: Project, client_ids: set[str], after: "Population") -> tuple[str, ...]:
    """Remove the shards of the same source in `.fedpipe/shards` that hold one of the clients; no
    later run would use them.
    """
    from fedpipe.data.digest import dvc_md5
    from fedpipe.data.population import Population

    in_use = {
        str(state.values.get("data_md5"))
        for state in all_states(project)
        if not state.finished and state.is_alive()
    }
    removed = []
    for folder in sorted((project.private / "shards").glob("*")):
        try:
            older = Population.open(folder, verify=False)
        except DataError:  # damaged ones say nothing of their clients
            continue
        holds = any(older.index.position(one) is not None for one in client_ids)
        if not holds or folder == after.path or older.manifest.source != after.manifest.source:
            continue
        if in_use and dvc_md5(folder) in in_use:
            logger.warning(
                "%s holds the clients' examples and is in use by a run. Remove it when the run is "
                "finished.",
                folder,
            )
            continue
        shutil.rmtree(folder)
        removed.append(str(folder))
    return tuple(removed)
