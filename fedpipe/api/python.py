"""The functions of `import fedpipe`: train a run, list runs, open a recorded run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.api.in_process import call_to_the_end
from fedpipe.api.recorded_run import Run, find_recorded
from fedpipe.api.settings import Overrides, Params, given_settings
from fedpipe.api.train import MakeDisplay, train
from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project, find_project

if TYPE_CHECKING:
    import pandas as pd

    from fedpipe.runs.state import RunState


def run(
    params: Params = None,
    overrides: Overrides = (),
    name: str | None = None,
    project: Path | str | None = None,
    quiet: bool = False,
) -> Run:
    """Train a model and record it, as `fedpipe run` does, and return the run.

    Args:
        params: path of a params file, or settings as a mapping, by section or by dotted key, those
            that it leaves out with fedpipe's defaults. None: the project's params.yaml.
        overrides: settings that override `params`: a mapping, or KEY=VALUE texts.
        name: of the run. None makes one.
        project: folder of the project, or a folder in it. None: the current folder's.
        quiet: show no progress.

    Raises:
        fedpipe.errors.FedpipeError: settings, data or code are not as they have to be, or a step
            failed. A run that has begun can be resumed: `fedpipe.load_run(NAME).resume()`.
        KeyboardInterrupt: it was stopped; the message names the call that continues.
    """
    here = project_at(project)

    def call(make_display: MakeDisplay, begun: "Callable[[RunState], None]") -> dict[str, Any]:
        with given_settings(here, params, overrides) as (path, texts):
            return train(here, path, texts, name, make_display, begun=begun)

    return Run(here, call_to_the_end(here, call, quiet)["run_id"])


def runs(
    filter: str | Sequence[str] | Mapping[str, Any] = (),
    project: Path | str | None = None,
    limit: int | None = None,
) -> "pd.DataFrame":
    """Return the runs of a project's store, the newest first: a row for each, by its id.

    The columns are `name`, `status`, `started`, `seconds`, `data`, `algorithm`, `model`, `rounds`,
    the metric that chooses as `metric` and `value`, then the metrics `final/...` and `best/...`,
    then all settings by dotted key.

    Args:
        filter: a condition such as `client.learning_rate=0.1` or `test/accuracy>0.5` (see
            `fedpipe.tracking.run_list`), several of them, or a mapping of settings to their values.
        project: folder of the project. None: the current folder's.
        limit: at most so many; None: all.

    Raises:
        fedpipe.errors.ConfigError: a condition cannot be read.
        fedpipe.errors.TrackingError: the store cannot be read.
    """
    from fedpipe.api.run_table import listed_runs, run_frame

    conditions = [filter] if isinstance(filter, str) else filter
    if isinstance(conditions, Mapping):
        conditions = [f"{key}={value}" for key, value in conditions.items()]
    return run_frame(listed_runs(project_at(project), list(conditions), limit))


def load_run(run: str, project: Path | str | None = None) -> Run:
    """Return a recorded run.

    Args:
        run: its id, the beginning of it, or its name (the newest of this name), or a registered
            model's `NAME@ALIAS` or `NAME/VERSION`: the run that trained it.
        project: folder of the project. None: the current folder's.

    Raises:
        fedpipe.errors.TrackingError: the store cannot be read, or has no such run.
    """
    return find_recorded(project_at(project), run)


def project_at(folder: Path | str | None) -> Project:
    """Return the project that a folder lies in, by default the current one."""
    start = Path.cwd() if folder is None else Path(folder)
    if not start.is_dir():
        raise ConfigError(f"project: expected a folder, found none at {start}.")
    return find_project(start)
