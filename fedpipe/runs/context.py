"""The context of a run: what all of its steps share in one process.

A flow's parameters are JSON, so the caller of a flow in this process hands it the run here, with
what was prepared while imports went on: the shards and a TFF runtime. This is the only ambient
state of a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.config import Config
from fedpipe.project.paths import Project
from fedpipe.runs.state import RunState, all_states, begin, refuse_changes
from fedpipe.runs.step_results import DataRef
from fedpipe.types import RoundSink

if TYPE_CHECKING:
    from fedpipe.engine.in_process import InProcess
    from fedpipe.engine.runtime import Runtime

WORKER_LOG_NAME = "worker.log"
"""File in the run's folder with what the TFF workers print."""


@dataclass(frozen=True)
class RunContext:
    """One run in this process.

    Attributes:
        project: where the stores, the shards and the caches are.
        config: the settings.
        folder: of the run's files.
        name: of the MLflow run.
        state: `run_state.json` in the folder; None for a run that cannot be resumed, such as the
            evaluation of weights that another machine trained.
        sinks: receive the report of each round after the run's own files have it.
        data: shards that were loaded before the pipeline started.
        runtime: a TFF runtime that was started before the pipeline, for `config.runtime`.
    """

    project: Project
    config: Config
    folder: Path
    name: str = ""
    state: RunState | None = None
    sinks: tuple[RoundSink, ...] = ()
    data: DataRef | None = None
    runtime: "Runtime | InProcess | None" = None

    @classmethod
    def of_state(
        cls, project: Project, state: RunState, config: Config | None = None
    ) -> "RunContext":
        """Return the context of a run that has a folder; its settings are those that it was started
        with, unless they were parsed already.

        Raises:
            ConfigError: this version does not know the settings that the run was started with.
        """
        return cls(project, config or state.config, state.folder, state.name, state)

    def with_settings(self, config: Config) -> "RunContext":
        """Return the context with these settings, without what was prepared for other ones."""
        return replace(
            self,
            config=config,
            data=self.data if config == self.config else None,
            runtime=self.runtime if config.runtime == self.config.runtime else None,
        )


_handed: ContextVar[RunContext | None] = ContextVar("run_context", default=None)


@contextmanager
def handed_to_flow(run: RunContext) -> Iterator[None]:
    """Make `run` the run of the training flow that is called within the block."""
    token = _handed.set(run)
    try:
        yield
    finally:
        _handed.reset(token)


def handed_run() -> RunContext | None:
    """Return the run that was handed to the flow; None where Prefect's runner called it."""
    return _handed.get()


@contextmanager
def run_of_flow(
    project: Project, name: str, config: Config, flow_run_id: str, **origin: Any
) -> Iterator[RunContext]:
    """Give the run of a flow run: the one that was handed to it and is not finished, that of an
    earlier try of the same flow run, or a new one. This process holds the lock on its folder.

    Args:
        project: where.
        name: of a new run.
        config: settings of the flow.
        flow_run_id: Prefect's id.
        origin: more values for the state of a new run, see `begin`.

    Raises:
        ConfigError: an earlier try had other settings, or another process runs it.
    """
    run = handed_run()
    if run is not None and run.state is not None and not run.state.finished:
        run.state.update(flow_run_id=flow_run_id)
        yield run.with_settings(config)
        return
    earlier = (
        state
        for state in all_states(project)
        if state.values.get("flow_run_id") == flow_run_id and not state.finished
    )
    state = next(earlier, None) or begin(project, name, config, "run", **origin)
    with state.alive():
        refuse_changes(state, config)
        state.update(flow_run_id=flow_run_id)
        yield RunContext.of_state(project, state, config)
