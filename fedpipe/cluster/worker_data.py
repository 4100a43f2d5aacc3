"""Data of a run on a worker: the shards by their md5, and the resident files of the clients that it
is asked for.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fedpipe.errors import DataError, shorten
from fedpipe.project import dvc
from fedpipe.project.paths import Project
from fedpipe.system.locks import file_lock


class WorkerData:
    """The data of one session."""

    def __init__(self, project: Project, md5: str, cache_max_bytes: int) -> None:
        """Find the shards with this md5, or have DVC pull them, and verify every file.

        Raises:
            DataError: they are not here and cannot be pulled, or are damaged; the message has both
                md5s.
        """
        from fedpipe.data.population import Population
        from fedpipe.data.resident import ResidentCache

        with file_lock(project.private / "prepare.lock"):
            self.path = find_shards(project, md5)
        population = Population.open(self.path, verify=True)
        self._cache: ResidentCache = ResidentCache.of(
            population, project.client_cache, cache_max_bytes
        )
        self._ids = {
            hashlib.sha256(client_id.encode()).hexdigest(): client_id
            for client_id in population.participating()
        }

    def make(self, names: Iterable[str]) -> int:
        """Make the resident files called `names` where they are not there; return how many were
        asked for.

        Raises:
            DataError: a name is no client's of these data, or the client's examples cannot be read.
        """
        asked_names = list(names)
        unknown = [name for name in asked_names if name.rpartition("/")[2] not in self._ids]
        if unknown:
            raise DataError(
                f"expected clients of the data in {self.path}, found others: {shorten(unknown, 3)}."
            )
        made = self._cache.clients([self._ids[name.rpartition("/")[2]] for name in asked_names])
        others = [
            name for name, client in zip(asked_names, made, strict=True) if client.name != name
        ]
        if others:
            raise DataError(
                f"expected resident files of the data in {self.path}, found those of other data: "
                f"{shorten(others, 3)}."
            )
        return len(made)


def find_shards(project: Project, md5: str) -> Path:
    """Return the folder of the shards with this md5: what is here, or what `dvc.lock` names,
    pulled.
    """
    from fedpipe.data.digest import dvc_md5

    folders = [project.shards, *sorted((project.private / "shards").glob("*"))]
    md5_of_folder = {folder: dvc_md5(folder) for folder in folders if folder.is_dir()}
    for folder, has in md5_of_folder.items():
        if has == md5:
            return folder
    locked = dvc.locked_md5(project.root, "prepare", "data/shards")
    if locked != md5:
        here = (
            shorten(
                [
                    f"{has} in {folder.relative_to(project.root)}"
                    for folder, has in md5_of_folder.items()
                ],
                3,
            )
            or "none"
        )
        raise DataError(
            f"data: expected md5 {md5}, the run's; found {here}, and dvc.lock names "
            f"{locked or 'none'}. Check out the run's commit there, or set runtime.data: by_value."
        )
    dvc.pull(project.root, "data/shards")
    pulled = dvc_md5(project.shards)
    if pulled != md5:
        raise DataError(
            f"{project.shards}: expected the data with md5 {md5}, as DVC pulled them, found "
            f"{pulled}."
        )
    return project.shards
