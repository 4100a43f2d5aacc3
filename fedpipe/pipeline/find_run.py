"""Find the run to resume, to record again, or of a DVC stage."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from fedpipe.config import Config, flatten_result
from fedpipe.errors import ConfigError, did_you_mean, shorten
from fedpipe.project.paths import Project
from fedpipe.runs.state import RunState, all_states, begin
from fedpipe.system.atomic_files import write_atomic

SHORTEST_PREFIX = 4
"""Characters of a run id that may stand for the whole of it."""


def find_interrupted(project: Project, name: str | None) -> RunState | None:
    """Return the run called `name`, or the newest one that needs something; None if there is
    none.

    These are runs that were interrupted, or finished without having printed their summary; where
    there is none, runs that finished without some of their parts.

    Args:
        project: where to look.
        name: MLflow run id, name, or folder of a run; finished ones are found too.

    Raises:
        ConfigError: there is no such run here, it is still running, or DVC owns it.
    """
    states = all_states(project)
    if name is None:
        own = [state for state in states if state.values["entry"] == "run"]
        interrupted = [state for state in own if not state.finished or state.untold]
        incomplete = [state for state in own if state.finished and state.incomplete]
        return next((state for state in interrupted + incomplete if not state.is_alive()), None)
    run = run_named(states, name)
    if run.values["entry"] == "dvc" and not run.finished:
        raise ConfigError(
            f"run {name}: DVC's stage train started it, and DVC resumes it: run `dvc repro`."
        )
    if run.values["entry"] == "sweep" and not run.has_ended:
        raise ConfigError(
            f"run {name}: the sweep {run.values['sweep']} started it, and resumes it: "
            "run `fedpipe sweep` again."
        )
    if run.is_alive():
        raise ConfigError(f"run {name} is still running. Wait until it has finished.")
    return run


def run_named(states: Sequence[RunState], name: str) -> RunState:
    """Return the run of a name, a folder's name, an MLflow run id, or the beginning of one that no
    other run has.

    Args:
        states: the runs, the newest first.
        name: what the user typed.

    Raises:
        ConfigError: there is no such run, or more than one.
    """
    for state in states:
        if state.is_called(name):
            return state
    matches = [
        state
        for state in states
        if len(name) >= SHORTEST_PREFIX
        and str(state.values.get("mlflow_run_id", "")).startswith(name)
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        runs = shorten(
            [f"{state.values['mlflow_run_id'][:12]} ({state.name})" for state in matches], 5
        )
        raise ConfigError(
            f"run {name}: more than one run id begins so: {runs}. Type more of it, or the name."
        )
    names = [state.folder.name for state in states]
    newest = (
        f"The newest runs are: {shorten(names, 3)}."
        if names
        else "It has no runs yet: start one with `fedpipe run`."
    )
    raise ConfigError(
        f"run {name}: no such run in this project. {did_you_mean(name, names)} {newest}".replace(
            "  ", " "
        )
    )


def find_trained(project: Project, name: str | None) -> RunState | None:
    """Return the run called `name` if its rounds are done, or the newest one that lacks parts;
    None if there is none.

    Raises:
        ConfigError: there is no such run here, it is still running, or its rounds are not done.
    """
    states = all_states(project)
    if name is None:
        return next((state for state in states if state.incomplete and not state.is_alive()), None)
    state = run_named(states, name)
    if state.is_alive():
        raise ConfigError(f"run {name} is still running; wait for it to finish.")
    if not state.finished:
        raise ConfigError(
            f"run {name}: expected a run that finished, found one that was interrupted. Run "
            f"`fedpipe resume {name}`."
        )
    return state


def own_params(state: RunState, remote: Sequence[str] | None = None) -> Path:
    """Return a params file with the settings that the run was started with, computed on the
    machines `remote` if that is given.
    """
    path = state.folder / "params.yaml"
    values = state.config.model_dump(mode="json")
    if remote is not None:
        values["runtime"] |= {"remote": list(remote), "groups": state.config.runtime.set_groups}
    write_atomic(path, yaml.safe_dump(values, sort_keys=False))
    return path


def run_of_stage(project: Project, name: str, config: Config, data_md5: str) -> RunState:
    """Return the run that DVC's stage `train` resumes: one of its own that was interrupted,
    with these settings and data, or a new one called `name`.
    """
    for state in all_states(project):
        same = state.values["entry"] == "dvc" and state.values.get("data_md5", data_md5) == data_md5
        if same and not state.finished and _same_settings(state, config) and not state.is_alive():
            return state
    return begin(project, name, config, "dvc")


def _same_settings(state: RunState, config: Config) -> bool:
    try:
        return flatten_result(state.config) == flatten_result(config)
    except ConfigError:  # those of another version
        return False
