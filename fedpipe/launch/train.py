"""Runs the training flow in this process with everything that can overlap overlapped.

The TFF worker and Prefect's temporary server are processes of their own: they boot while this one
imports TensorFlow.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedpipe.config import load_config
from fedpipe.orchestration.home import use_writable_home
from fedpipe.pipeline.load_data import check_own_code, load_early
from fedpipe.pipeline.runtime import started_runtime
from fedpipe.project.paths import PREFECT_HOME, Project, find_project
from fedpipe.redact import hide
from fedpipe.registry.retrain import STATE_KEY
from fedpipe.runs.context import RunContext, handed_to_flow
from fedpipe.runs.state import RunState, begin, removed_if_refused
from fedpipe.runs.summary import new_run_name
from fedpipe.system.deferred_imports import defer_imports
from fedpipe.system.log_redaction import watch_outlets
from fedpipe.system.open_files import raise_open_files_limit
from fedpipe.tracking.store import check_reachable
from fedpipe.types import RoundSink

Flow = Callable[[str, list[str], str], dict[str, Any]]
"""Takes the params file, the overrides and the name of the run; returns its summary."""


class Timings:
    """Wall seconds by phase, in order, for `--timings`."""

    def __init__(self) -> None:
        """Start with no phase."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block under `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def launch(
    project: Project,
    params: Path,
    overrides: Sequence[str] = (),
    name: str | None = None,
    sinks: Sequence[RoundSink] = (),
    timings: Timings | None = None,
    flow: Flow | None = None,
    resumed: RunState | None = None,
    retrain_of: str | None = None,
    caller_tells: bool = False,
    begun: Callable[[RunState], None] | None = None,
) -> dict[str, Any]:
    """Run `federated_training`, or a flow around it, here and return its summary.

    Args:
        project: where to run; becomes the working directory, as a Prefect worker would set it.
        params: the params file.
        overrides: settings that override it.
        name: name of the run.
        sinks: take each round's report.
        timings: counts where the seconds go.
        flow: a flow of the user's own that takes params file, overrides and name, and calls
            `federated_training` with them.
        resumed: the run to resume; `params` are then its own.
        retrain_of: the registered version, `NAME/VERSION`, that this run replaces; part of its
            lineage.
        caller_tells: the caller prints the summary and notes it with `mark_told`; until then
            `fedpipe resume` would print it.
        begun: is told of the run once it has a folder, from which it can be resumed.

    Raises:
        FedpipeError: bad data or settings, before anything is started; bad code of the user's own,
            before the flow; or what a step raised.
    """
    watch_outlets()
    raise_open_files_limit()
    # As the command line does; without it a program of the user's own could not save models.
    os.environ.setdefault("WRAPT_DISABLE_EXTENSIONS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    defer_imports()
    timings = timings or Timings()
    config = load_config(params, overrides)
    asked: dict[str, Any] = {"params": str(params.resolve()), "overrides": list(overrides)}
    if retrain_of is not None:
        asked[STATE_KEY] = retrain_of
    os.chdir(project.root)
    use_writable_home(project)
    with timings.phase("load the data"):
        data = load_early(config, project)
    check_reachable(project.root)
    state = resumed or begin(project, hide(name or new_run_name()), config, "run", **asked)
    if begun is not None:
        begun(state)
    run = RunContext(project, config, state.folder, state.name, state, tuple(sinks), data)
    with removed_if_refused(state) if resumed is None else nullcontext(), state.alive():

        def call_flow(flow_in_process: Flow) -> dict[str, Any]:
            return (flow or flow_in_process)(str(params), list(overrides), state.name)

        summary = _run_flow(run, state, call_flow, timings)
        if not caller_tells:
            state.update(told=True)
        return summary


def _run_flow(
    run: RunContext, state: RunState, call: Callable[[Flow], dict[str, Any]], timings: Timings
) -> dict[str, Any]:
    """Start the worker and Prefect's server, import TensorFlow beside them, and run the flow."""
    project = run.project
    config = run.config
    with started_runtime(config.runtime, run.folder) as runtime:
        with timings.phase("import prefect"):
            # the next line needs it; imported here to be counted
            import prefect.settings  # noqa: F401

            from fedpipe.orchestration.open_ports import warn_of_open_ports
            from fedpipe.orchestration.server import prefect_api

            warn_of_open_ports()
        server_log = run.folder / "prefect-server.log"
        with prefect_api(server_log, project.private / PREFECT_HOME) as server:
            with timings.phase("import tensorflow, tff"):
                import tensorflow_federated  # noqa: F401
            with timings.phase("import the user's code"):
                check_own_code(config, project, run.data)
            with timings.phase("open the mlflow store"):
                # Before a flow run is made: a store that cannot be written is reported first.
                from fedpipe.tracking.store import open_store

                open_store(project.root, config.tracking.experiment)
            with timings.phase("import the flow"):
                from fedpipe.orchestration.cancel import ending_when_cancelled
                from flows.train import federated_training
            with timings.phase("wait for prefect's server"):
                if server is not None:
                    server.wait()
            # Nobody knows of a temporary server, so nobody cancels a run there.
            cancellable = ending_when_cancelled(state) if server is None else nullcontext()
            handed = handed_to_flow(replace(run, runtime=runtime))
            with timings.phase("flow"), handed, cancellable:
                return call(federated_training)


if __name__ == "__main__":
    here = find_project(Path.cwd())
    print(json.dumps(launch(here, here.params)))
