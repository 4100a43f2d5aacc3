"""Step `forget`: a new version of the shards without some clients, and a tag for the models that saw them."""

from collections.abc import Sequence
from dataclasses import dataclass

from fedpipe.errors import DataError, TrackingError, shorten
from fedpipe.locks import file_lock
from fedpipe.steps import dvc
from fedpipe.steps.files import write_atomic
from fedpipe.steps.lineage import forgotten_champions, mark_versions
from fedpipe.steps.project import Project


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
        versions_marked: registered model versions that had trained on their data, and are tagged so.
        champions: versions that are still champion though they trained on clients that are forgotten, now or before.
    """

    client_ids: tuple[str, ...]
    examples: int
    clients_left: int
    files_changed: tuple[str, ...]
    files: int
    md5_before: str
    md5_after: str
    versions_marked: tuple[str, ...]
    champions: tuple[str, ...]


def forget(project: Project, client_ids: Sequence[str], reason: str | None = None) -> Forgotten:
    """Add the clients to `forgotten.json`, bring the shards up to date through DVC's stage `prepare`, tag the models that saw them.

    Args:
        project: the project; its shards must be there, so that a mistyped id is seen.
        client_ids: who is to be forgotten.
        reason: why, for the tags; None leaves those of an earlier call.

    Raises:
        DataError: an id is not in the shards, or the stage fails; then the list is as it was.
        TrackingError: the shards are new, but the models could not be tagged; forgetting the same clients again does it.
    """
    from fedpipe.data.digest import dvc_md5
    from fedpipe.data.forgotten import FORGOTTEN_NAME, forgotten_json, read_forgotten
    from fedpipe.data.population import Population

    path = project.root / FORGOTTEN_NAME
    project.private.mkdir(parents=True, exist_ok=True)
    with file_lock(project.private / "prepare.lock"):
        before = read_forgotten(project.root)
        population = Population.open(project.shards)
        unknown = [one for one in client_ids if population.index.position(one) is None and one not in before]
        if unknown:
            raise DataError(
                f"forget: expected ids of clients in {project.shards}, found no {shorten(unknown)}. `fedpipe describe --json` lists them."
            )
        positions = [position for one in set(client_ids) if (position := population.index.position(one)) is not None]
        examples = sum(int(counts[positions].sum()) for counts in population.index.label_counts.values())
        md5_before, old = dvc_md5(project.shards), {file.name: file.sha256 for file in population.manifest.files}
        kept = path.read_text(encoding="utf-8") if path.exists() else forgotten_json(())
        write_atomic(path, forgotten_json(before | set(client_ids)))
        try:
            dvc.repro(project.root, "prepare")
        except BaseException:
            write_atomic(path, kept)
            raise
        after = Population.open(project.shards)
    new = {file.name: file.sha256 for file in after.manifest.files}
    changed = tuple(sorted(name for name in old | new if old.get(name) != new.get(name)))
    left = after.manifest.clients
    try:
        marked = tuple(mark_versions(project, sorted(set(client_ids)), reason))
        champions = tuple(forgotten_champions(project))
    except TrackingError as err:
        raise TrackingError(f"{err} The shards are without them already; forget the same clients again to tag the models.") from err
    md5_after = dvc_md5(project.shards)
    return Forgotten(tuple(sorted(set(client_ids))), examples, left, changed, len(new), md5_before, md5_after, marked, champions)
