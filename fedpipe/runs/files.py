"""The files of a run, from its folder on this machine or, where that is not here, from its MLflow
artifacts.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.project.paths import Project
from fedpipe.runs.state import all_states
from fedpipe.tracking.artifacts import read_artifact

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fedpipe.tracking.store import Store

_FOLDERS = {"tables": ".", "lineage": "lineage"}
"""Where the run's folder has what is below these names among the artifacts."""


class RunFiles:
    """Finds the files of one run."""

    def __init__(self, store: "Store", run: "Run", folder: Path | None, scratch: Path) -> None:
        """Take the run; `folder` is its own on this machine, if it has one, `scratch` takes what is
        fetched.
        """
        self._store = store
        self._run = run
        self._folder = folder
        self._scratch = scratch / str(run.info.run_id)

    def find(self, artifact: str) -> Path | None:
        """Return a file with an artifact such as `tables/rounds.csv`, None if the run left none.

        Raises:
            TrackingError: the store does not answer.
        """
        place, _, name = artifact.partition("/")
        if self._folder is not None and place in _FOLDERS:
            path = self._folder / _FOLDERS[place] / name
            if path.exists():
                return path
        self._scratch.mkdir(parents=True, exist_ok=True)
        return read_artifact(self._store, self._run, artifact, self._scratch)


def folder_of_run(project: Project, run_id: str) -> Path | None:
    """Return the folder of an MLflow run's files on this machine, None if there is none."""
    return next(
        (
            state.folder
            for state in all_states(project)
            if state.values.get("mlflow_run_id") == run_id
        ),
        None,
    )
