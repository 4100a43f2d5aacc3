"""The state of a run, in its folder: enough to resume after a crash of any process.

`.fedpipe/runs/NAME/` is outside of DVC's outs, which DVC deletes before it runs a stage.
`run_state.json` is written before anything else; a lock on the folder, which the kernel lifts when
its process ends however it ends, says whether the run is still going.
"""

import json
import logging
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import Timeout

from fedpipe.config import Config, flatten_result, parse_recorded
from fedpipe.config.load import apply_overrides, read_params
from fedpipe.errors import ConfigError, ModelError, PlanError
from fedpipe.project.paths import Project
from fedpipe.status import ENDED, RunStatus
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.locks import file_lock, held

LONGEST_FOLDER_NAME = 100
"""Letters of a run's name in that of its folder."""

STATE_NAME = "run_state.json"

logger = logging.getLogger(__name__)


class RunState:
    """One run's folder and what is known of the run. The values are JSON."""

    def __init__(self, folder: Path, values: dict[str, Any]) -> None:
        """Use `begin` or `read`."""
        self.folder = folder
        self.values = values

    @property
    def name(self) -> str:
        """Return the run's name."""
        return str(self.values["name"])

    @property
    def config(self) -> Config:
        """Return the settings that the run was started with. Raises ConfigError if this version
        does not know them.
        """
        return parse_recorded(self.values["config"], str(self.folder / STATE_NAME))

    @property
    def finished(self) -> bool:
        """Return whether nothing is left to do."""
        return bool(self.values["status"] == RunStatus.FINISHED)

    @property
    def has_ended(self) -> bool:
        """Return whether the run is never resumed: it finished, or is a failed or pruned trial."""
        return self.values["status"] in ENDED

    @property
    def incomplete(self) -> dict[str, str]:
        """Return why parts of the finished run are missing, by their names."""
        return dict(self.values.get("incomplete") or {})

    @property
    def untold(self) -> bool:
        """Return whether the run finished and its process died before it printed the summary."""
        return self.finished and self.values.get("told") is False

    def is_called(self, name: str) -> bool:
        """Return whether `name` is the id of the MLflow run, the run's name or its folder's."""
        return name in (self.values.get("mlflow_run_id"), self.name, self.folder.name)

    def update(self, **values: Any) -> None:
        """Note more values, on the disk before this returns."""
        self.values |= values
        write_atomic(self.folder / STATE_NAME, json.dumps(self.values, indent=1) + "\n")

    def is_alive(self) -> bool:
        """Return whether a process holds the run."""
        try:
            with file_lock(self.folder / "lock", 0):
                return False
        except Timeout:
            return True

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Hold the run while the block runs. Raises ConfigError if another process does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self.folder / "lock", f"run {self.name}"):
            yield


def begin(project: Project, name: str, config: Config, entry: str, **asked: Any) -> RunState:
    """Return the state of a new run in a folder of its own: `NAME`, or `NAME-2`, ... where that is
    taken; characters that a path cannot hold become `_`.

    Args:
        project: where.
        name: of the run; other runs may have the same.
        config: its settings.
        entry: what started it: `run` or `dvc`.
        asked: more values; `params` and `overrides` say where the settings came from.
    """
    number = 1
    plain = _folder_name(name)
    while True:
        folder = project.run_dir(plain if number == 1 else f"{plain}-{number}")
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
    about = {
        "name": name,
        "entry": entry,
        "status": RunStatus.STARTED,
        "begun": time.time(),
        "key": uuid.uuid4().hex,
    }
    state = RunState(folder, about | {"config": config.model_dump(mode="json"), **asked})
    state.update()
    return state


def _folder_name(name: str) -> str:
    """Return a name for a run's folder: a run may be called `../x` or have a name of a thousand
    characters.
    """
    return re.sub(r"[^\w.+=@ -]", "_", name).lstrip(".")[:LONGEST_FOLDER_NAME] or "run"


def read_state(folder: Path) -> RunState | None:
    """Return what a folder says of its run, None if it says nothing; what cannot be read is passed
    over with a warning.
    """
    try:
        return RunState(folder, dict(json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as err:
        logger.warning(
            "%s: expected the state of a run, cannot read it: %s. That run cannot be resumed.",
            folder / STATE_NAME,
            err,
        )
        return None


def mark_told(summary: Mapping[str, Any]) -> None:
    """Note that the summary of a finished run was printed."""
    state = read_state(Path(summary["run_dir"]))
    if state is not None:
        state.update(told=True)


def all_states(project: Project) -> list[RunState]:
    """Return the runs of the project, the newest first."""
    root = project.private / "runs"
    folders = list(root.iterdir()) if root.is_dir() else []
    states = [state for folder in folders if (state := read_state(folder)) is not None]
    return sorted(states, key=lambda state: float(state.values.get("begun", 0)), reverse=True)


def refuse_changes(state: RunState, config: Config) -> None:
    """Raise ConfigError, with the difference, if the settings are not those that the run was
    started with.
    """
    then = flatten_result(state.config)
    now = flatten_result(config)
    changed = [
        f"{key}={then.get(key)} then, {now.get(key)} now"
        for key in sorted(then | now)
        if then.get(key) != now.get(key)
    ]
    if changed:
        raise ConfigError(
            f"run {state.name}: expected the settings that it was started with, found "
            f"{'; '.join(changed)}. Put these back, or start a new run; `fedpipe resume "
            "--as-started` resumes with those of then."
        )


def settings_now(state: RunState) -> Config | None:
    """Return what the params file and the overrides that the run was started with say now; None if
    the file is gone or not known.

    Raises:
        ConfigError: the file holds no valid settings.
    """
    params = Path(state.values.get("params") or "")
    if not params.is_file():
        return None
    values = read_params(params)
    apply_overrides(values, state.values.get("overrides") or ())
    return parse_recorded(values, params.name)


@contextmanager
def removed_if_refused(state: RunState) -> Iterator[None]:
    """Remove the folder of a new run whose settings turn out wrong in the block, before it has an
    MLflow run: it never began, so there is nothing to resume.
    """
    try:
        yield
    except (ConfigError, ModelError, PlanError):
        now = read_state(state.folder)
        if (
            now is not None
            and now.values["status"] == RunStatus.STARTED
            and "mlflow_run_id" not in now.values
        ):
            shutil.rmtree(state.folder, ignore_errors=True)
        raise
