"""Step `forget`: a new version of the shards without some clients, and a tag for the models that
were trained on them.
"""

import logging
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedpipe.errors import DataError, TrackingError, shorten
from fedpipe.lineage.forgotten_versions import forgotten_champions, mark_versions
from fedpipe.project.paths import Project
from fedpipe.runs.find_data import RunData, data_of, population_of
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
    """Result of `forget`.

    Attributes:
        client_ids: the clients that this call forgot.
        examples: how many of their examples were removed from the shards.
        clients_left: clients in the new version.
        files_changed: names of the files that the new version changed, added or removed.
        files: number of files of the new version.
        md5_before, md5_after: DVC's md5 of the shards.
        title: whose data these are, for example `run brave-fox (csv table.csv)`.
        path: folder of the new shards.
        in_dvc: whether DVC's stage `prepare` made a new version of `data/shards`: these are the
            data, or they hold the same clients.
        removed: folders in `.fedpipe/shards` that were removed, as they held the clients' examples.
        versions_marked: registered model versions that were trained on their data, and are tagged.
        champions: versions that are still champion and were trained on clients that are forgotten,
            now or before.
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
    project: Project, client_ids: Sequence[str], reason: str | None = None, run: str | None = None
) -> Forgotten:
    """Add clients to `forgotten.json`, prepare a run's data without them, and tag the models that
    were trained on them.

    Shards of `params.yaml` are made by DVC's stage `prepare`, those of overridden `data` settings
    in `.fedpipe/shards`, where older versions with the clients are removed.

    Args:
        project: the project.
        client_ids: the clients to forget.
        reason: for the tags; None leaves those of an earlier call.
        run: a run, `MODEL@ALIAS` or `MODEL/VERSION`, whose data these are; None: the newest run's
            (see `runs.data.data_of`).

    Raises:
        DataError: an id is not in the shards, or they cannot be made; then the list is as it was.
        TrackingError: there is no such run; or the shards are new, but the models could not be
            tagged: forgetting the same clients again does it.
    """
    from fedpipe.data.digest import dvc_md5
    from fedpipe.data.manifest import SPLITS
    from fedpipe.data.population import Population

    project.private.mkdir(parents=True, exist_ok=True)
    data = data_of(project, run)
    new_ids = set(client_ids)
    with file_lock(project.private / "prepare.lock"):
        shards = current_shards(data.shard_settings, project)
        before = Population.open(shards)
        positions = _positions(project, before, new_ids, data.title)
        examples = sum(int(before.index.counts(split)[positions].sum()) for split in SPLITS)
        md5_before = dvc_md5(shards)
        key = population_of(data, before.manifest)
        after, in_dvc = _prepare_without(project, data, new_ids, key)
        removed = _remove_older(project, new_ids, after)
    old_files = _files(before)
    new_files = _files(after)
    names = sorted(old_files | new_files)
    sorted_ids = tuple(sorted(new_ids))
    try:
        marked = tuple(mark_versions(project, sorted_ids, reason, key))
        champions = tuple(forgotten_champions(project))
    except TrackingError as err:
        raise TrackingError(
            f"{err} The shards are without them already; forget the same clients again to tag the "
            "models."
        ) from err
    return Forgotten(
        client_ids=sorted_ids,
        examples=examples,
        clients_left=after.manifest.clients,
        files_changed=tuple(n for n in names if old_files.get(n) != new_files.get(n)),
        files=len(new_files),
        md5_before=md5_before,
        md5_after=dvc_md5(after.path),
        title=data.title,
        path=str(after.path),
        in_dvc=in_dvc,
        removed=removed,
        versions_marked=marked,
        champions=champions,
    )


def _positions(
    project: Project, population: "Population", client_ids: Collection[str], title: str
) -> list[int]:
    """Return the positions of the clients in the index; those that were forgotten before have none.

    Raises:
        DataError: an id is neither in the index nor in the list of the forgotten.
    """
    from fedpipe.data.forgotten import read_forgotten

    positions = {client_id: population.index.position(client_id) for client_id in client_ids}
    missing = {client_id for client_id, position in positions.items() if position is None}
    unknown = sorted(missing - read_forgotten(project.root))
    if unknown:
        raise DataError(
            f"forget: expected ids of clients in the data of {title}, found no "
            f"{shorten(unknown)}. `fedpipe describe --json` lists them; --run names another run, "
            "whose data they are in."
        )
    return [position for position in positions.values() if position is not None]


def _prepare_without(
    project: Project, data: RunData, client_ids: set[str], key: str
) -> tuple["Population", bool]:
    """Add the clients to `forgotten.json` and prepare the data without them; if that fails, the
    list is as it was.

    Returns:
        The new population, and whether DVC's stage made a new version of `data/shards`.
    """
    from fedpipe.data.forgotten import FORGOTTEN_NAME, forgotten_json, read_forgotten
    from fedpipe.data.population import Population

    path = project.root / FORGOTTEN_NAME
    old_text = path.read_text(encoding="utf-8") if path.exists() else None
    write_atomic(path, forgotten_json(read_forgotten(project.root) | client_ids))
    try:
        population = Population.open(current_shards(data.shard_settings, project))
        if population.path == project.shards:
            return population, True
        return population, _forget_in_stage(project, client_ids, key)
    except BaseException:
        if old_text is None:
            path.unlink()
        else:
            write_atomic(path, old_text)
        raise


def _files(population: "Population") -> dict[str, str]:
    return {file.name: file.sha256 for file in population.manifest.files}


def _holds_one(population: "Population", client_ids: Collection[str]) -> bool:
    return any(population.index.position(client_id) is not None for client_id in client_ids)


def _forget_in_stage(project: Project, client_ids: set[str], key: str) -> bool:
    """Bring `data/shards` up to date if they hold one of these clients beside the shards of a run's
    own settings; return whether it was done.

    Args:
        project: the project, with the ids in its list.
        client_ids: the clients to forget.
        key: of these clients (`runs.lineage.population_key`); the same ids in other data are left
            for the next `prepare`.
    """
    from fedpipe.data.manifest import MANIFEST_NAME
    from fedpipe.data.population import Population

    settings = settings_of_stage(project)
    if settings is None or not (project.shards / MANIFEST_NAME).is_file():
        return False
    population = Population.open(project.shards, verify=False)
    if (
        not _holds_one(population, client_ids)
        or population_key(settings.data, population.manifest.partition) != key
    ):
        return False
    return current_shards(settings, project) == project.shards


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
        except DataError:  # damaged shards do not name their clients
            continue
        if (
            folder == after.path
            or older.manifest.source != after.manifest.source
            or not _holds_one(older, client_ids)
        ):
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
