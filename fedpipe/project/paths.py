"""Where a project's files are. The only place that knows the paths."""

from dataclasses import dataclass
from pathlib import Path

from fedpipe.errors import ConfigError

PREFECT_HOME = "prefect"
"""Folder in `Project.private` for Prefect's own files, where the user's cannot be used."""

_MAY_BE_LINKS = (".fedpipe", "data", "outputs", "mlartifacts", "mlflow.db")
"""What may lie on another disk, and be a link in the project."""


@dataclass(frozen=True)
class Project:
    """A folder with a `params.yaml` (and, usually, a `dvc.yaml`).

    Attributes:
        root: the folder, absolute.
    """

    root: Path

    @property
    def params(self) -> Path:
        """Return the project's own params file."""
        return self.root / "params.yaml"

    @property
    def shards(self) -> Path:
        """Return the folder of the shards that DVC's stage `prepare` makes."""
        return self.root / "data" / "shards"

    @property
    def private(self) -> Path:
        """Return the folder of what fedpipe keeps for itself: runs, caches, locks. Not in git, not
        in DVC.
        """
        return self.root / ".fedpipe"

    @property
    def client_cache(self) -> Path:
        """Return the folder of the resident client data, derived from the shards."""
        return self.private / "cache" / "clients"

    @property
    def outputs(self) -> Path:
        """Return the folder of what DVC's stages `train` and `evaluate` make."""
        return self.root / "outputs"

    def run_dir(self, name: str) -> Path:
        """Return the folder of the files of the run called `name`."""
        return self.private / "runs" / name


def params_file(project: Project, named: Path | None) -> Path:
    """Return the params file that was named, or the project's own."""
    if named is not None:
        return named.resolve()
    return project.params


def find_project(start: Path) -> Project:
    """Return the project that `start` lies in: the nearest folder upwards with a `params.yaml`.

    Raises:
        ConfigError: there is none, or a folder of it is a link to a place that is not there.
    """
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file():
            _refuse_broken_links(folder)
            return Project(folder)
    raise ConfigError(
        f"{here}: no params.yaml here or in a folder above. Go to a project, or make one with "
        "`fedpipe init DIR`."
    )


def _refuse_broken_links(root: Path) -> None:
    for name in _MAY_BE_LINKS:
        path = root / name
        if path.is_symlink() and not path.exists():
            raise ConfigError(
                f"{path}: a link to {path.readlink()}, which is not there. Mount that disk, or "
                "remove the link."
            )
