"""Start and resume trainings in this process: what `fedpipe run`, `fedpipe resume` and
`fedpipe.run` have in common.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fedpipe.config import Config, load_config
from fedpipe.project.paths import Project
from fedpipe.types import RoundReport

if TYPE_CHECKING:
    from fedpipe.launch.train import Timings
    from fedpipe.runs.state import RunState


class ProgressDisplay(AbstractContextManager["ProgressDisplay"], Protocol):
    """Shows the progress of one training within its block."""

    def downloads(self, received: int, total: int | None, /) -> None:
        """Show a download: the bytes that are there, and the bytes of the whole."""

    def round_done(self, report: RoundReport) -> None:
        """Show a round."""


MakeDisplay = Callable[[Config], ProgressDisplay]
"""Takes the settings of the run."""


def quiet_prefect() -> None:
    """Keep Prefect's log lines from running through the progress bar; its warnings reach stderr
    through the root logger.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def train(
    project: Project,
    params: Path,
    overrides: Sequence[str],
    name: str | None,
    make_display: MakeDisplay,
    *,
    start: float | None = None,
    timings: "Timings | None" = None,
    retrain_of: str | None = None,
    begun: "Callable[[RunState], None] | None" = None,
) -> dict[str, Any]:
    """Train a new run and return its summary; the caller reports it and calls `mark_told`.

    Args:
        project: where.
        params: the params file; `overrides` override it.
        overrides: as KEY=VALUE.
        name: of the run; None makes one.
        make_display: gives the display of the rounds and downloads.
        start: when the caller began, by `time.perf_counter`; `seconds.total` counts from there.
        timings: counts where the seconds go.
        retrain_of: the registered version that the run replaces.
        begun: is told of the run once it can be resumed.

    Raises:
        FedpipeError: settings, data or code are not as they have to be, or a step failed.
    """
    start = time.perf_counter() if start is None else start
    config = load_config(params, overrides)
    quiet_prefect()
    from fedpipe.data.download import watched
    from fedpipe.launch.train import launch

    with make_display(config) as display, watched(display.downloads):
        summary = launch(
            project,
            params,
            overrides,
            name,
            sinks=(display,),
            timings=timings,
            retrain_of=retrain_of,
            caller_tells=True,
            begun=begun,
        )
    summary["seconds"]["total"] = time.perf_counter() - start
    return summary


def resume(
    project: Project,
    state: "RunState",
    make_display: MakeDisplay,
    *,
    as_started: bool = False,
    remote: Sequence[str] = (),
    start: float | None = None,
) -> dict[str, Any]:
    """Continue an interrupted run from its last checkpoint and return its summary; the caller
    reports it and calls `mark_told`.

    Args:
        project: where.
        state: of a run that is not finished.
        make_display: gives the display of the rounds.
        as_started: use the settings of then, even if the params file has changed.
        remote: remote workers to continue on, in place of the settings; `none` alone: this machine.
        start: as in `train`.

    Raises:
        ConfigError: the settings have changed.
        FedpipeError: a step failed.
    """
    start = time.perf_counter() if start is None else start
    from fedpipe.pipeline.find_run import own_params
    from fedpipe.runs.state import refuse_changes, settings_now

    machines = None
    now = None if as_started else settings_now(state)
    if now is not None:
        refuse_changes(state, now)
        if now.runtime.remote != state.config.runtime.remote:
            machines = list(now.runtime.remote)
    if remote:
        machines = [] if list(remote) == ["none"] else list(remote)
    quiet_prefect()
    from fedpipe.launch.train import launch

    with make_display(state.config) as display:
        summary = launch(
            project,
            own_params(state, machines),
            sinks=(display,),
            resumed=state,
            caller_tells=True,
        )
    summary["seconds"]["total"] = time.perf_counter() - start
    return summary
