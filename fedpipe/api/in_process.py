"""Trains in the caller's process, a script or a notebook, and leaves the process as it was."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.api.progress import ProgressLine
from fedpipe.api.train import MakeDisplay
from fedpipe.api.train import resume as resume_run
from fedpipe.project.paths import Project
from fedpipe.system.lasting_thread import StopRequest, outside_event_loop
from fedpipe.system.log_warnings import warnings_shown
from fedpipe.system.stock_context import drop_stock_context_at_exit
from fedpipe.system.user_modules import forget_changed_modules

if TYPE_CHECKING:
    from fedpipe.runs.state import RunState

logger = logging.getLogger(__name__)

_one_at_a_time = threading.Lock()


def resume(project: Project, state: "RunState", quiet: bool) -> str:
    """Continue an interrupted run and return its MLflow id; errors as those of `fedpipe.run`."""

    def call(make_display: MakeDisplay, begun: "Callable[[RunState], None]") -> dict[str, Any]:
        begun(state)
        return resume_run(project, state, make_display)

    return str(call_to_the_end(project, call, quiet)["run_id"])


def call_to_the_end(
    project: Project,
    call: "Callable[[MakeDisplay, Callable[[RunState], None]], dict[str, Any]]",
    quiet: bool,
) -> dict[str, Any]:
    """Return the summary of a training, made outside of any event loop, with its progress shown.

    Args:
        project: where.
        call: trains with the display that is given to it, and tells of the run once it can be
            resumed.
        quiet: show no progress.

    Raises:
        KeyboardInterrupt: it was stopped; the message names the call that continues.
    """
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
        drop_stock_context_at_exit()
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
