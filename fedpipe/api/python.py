"""The functions of `import fedpipe`: train a run, list runs, open a recorded run."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.api.progress import ProgressLine
from fedpipe.api.recorded_run import Run
from fedpipe.api.settings import Overrides, Params, given_settings
from fedpipe.api.train import MakeDisplay, train
from fedpipe.api.train import resume as resume_run
from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project, find_project
from fedpipe.system.lasting_thread import StopRequest, outside_event_loop
from fedpipe.system.log_warnings import warnings_shown
from fedpipe.system.user_modules import forget_changed_modules

if TYPE_CHECKING:
    import pandas as pd

    from fedpipe.runs.state import RunState

logger = logging.getLogger(__name__)

_one_at_a_time = threading.Lock()


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

    return Run(here, _call_to_the_end(here, call, quiet)["run_id"])


def resume(project: Project, state: "RunState", quiet: bool) -> None:
    """Continue an interrupted run; errors as those of `run`."""

    def call(make_display: MakeDisplay, begun: "Callable[[RunState], None]") -> dict[str, Any]:
        begun(state)
        return resume_run(project, state, make_display)

    _call_to_the_end(project, call, quiet)


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
    from fedpipe.api.recorded_run import find_recorded

    return find_recorded(project_at(project), run)


def project_at(folder: Path | str | None) -> Project:
    """Return the project that a folder lies in, by default the current one."""
    start = Path.cwd() if folder is None else Path(folder)
    if not start.is_dir():
        raise ConfigError(f"project: expected a folder, found none at {start}.")
    return find_project(start)


def _call_to_the_end(
    project: Project,
    call: "Callable[[MakeDisplay, Callable[[RunState], None]], dict[str, Any]]",
    quiet: bool,
) -> dict[str, Any]:
    """Return the summary of a training that `call` starts, outside of any event loop."""
    from fedpipe.runs.state import mark_told

    stop = StopRequest()
    names: list[str] = []

    def one_run() -> dict[str, Any]:
        return call(
            lambda config: ProgressLine(config.rounds, quiet, stop, config.task.shown_metric),
            lambda state: names.append(state.folder.name),
        )

    with _one_at_a_time, _same_folder_after(), warnings_shown():
        # As their files are now, not as an earlier run or a cell of a notebook imported them.
        forget_changed_modules(project.root)
        try:
            summary = outside_event_loop(one_run, stop)
        except KeyboardInterrupt as err:
            text = f"Continue with fedpipe.load_run({names[0]!r}).resume()." if names else ""
            raise KeyboardInterrupt(f"interrupted. {text}".strip()) from err
    mark_told(summary)
    for part, reason in summary["incomplete"].items():
        logger.warning("run %s lacks a part: %s: %s", summary["run_id"], part, reason)
    return summary


@contextmanager
def _same_folder_after() -> Iterator[None]:
    """Return to the current folder after the block: a run works in the project's."""
    folder = Path.cwd()
    try:
        yield
    finally:
        os.chdir(folder)
