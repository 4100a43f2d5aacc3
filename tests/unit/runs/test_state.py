"""Runs on disk: what a later try finds of them, and what it refuses."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config import Config, load_config
from fedpipe.errors import ConfigError, DataError, PlanError
from fedpipe.pipeline.find_run import find_interrupted, run_of_stage
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext, handed_to_flow, run_of_flow
from fedpipe.runs.state import (
    all_states,
    begin,
    refuse_changes,
    removed_if_refused,
    settings_now,
)
from fedpipe.runs.step_results import DataRef
from fedpipe.status import RunStatus


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_retry_of_a_flow_run_goes_on_with_its_run_and_another_flow_run_has_its_own(
    project: Project,
) -> None:
    config = Config()
    with run_of_flow(project, "first", config, "id-1", params="p.yaml") as run:
        assert run.state is not None
        run.state.update(mlflow_run_id="m")
        folder = run.folder
    with run_of_flow(project, "renamed by the retry", config, "id-1") as again:
        assert again.state is not None
        values = again.state.values
        assert (again.folder, values["mlflow_run_id"], values["params"]) == (folder, "m", "p.yaml")
        again.state.update(status=RunStatus.FINISHED)
    with run_of_flow(project, "first", config, "id-2") as other:
        assert other.folder != folder
    with run_of_flow(project, "first", config, "id-1") as finished:
        assert finished.folder not in (folder, other.folder)


def test_the_flow_gets_the_run_that_its_caller_hands_it(project: Project) -> None:
    config = Config()
    state = begin(project, "handed", config, "run")
    data = DataRef("shards", "md5", "made", 0.0)
    sinks: tuple[Any, ...] = (object(),)
    handed = RunContext(project, config, state.folder, "handed", state, sinks, data)
    changed = Config.model_validate({"rounds": 7})
    with handed_to_flow(handed):
        with run_of_flow(project, "ignored", config, "id-1") as run:
            assert run == handed
        with run_of_flow(project, "ignored", changed, "id-1") as run:
            assert (run.config, run.folder, run.sinks) == (changed, state.folder, sinks)
            assert run.data is None, "shards of other settings"
    started: Any = object()
    ready = replace(handed, runtime=started)
    assert ready.with_settings(changed).runtime is started
    other = Config.model_validate({"runtime": {"max_restarts": 5}})
    assert ready.with_settings(other).runtime is None, "a worker of other settings"
    assert state.values["flow_run_id"] == "id-1"
    with run_of_flow(project, "own", config, "id-2") as own:
        assert own.folder == project.run_dir("own")


def test_a_second_training_in_a_flow_has_a_run_and_data_of_its_own(project: Project) -> None:
    config = Config()
    state = begin(project, "first", config, "run")
    data = DataRef("shards", "md5", "made", 0.0)
    with handed_to_flow(RunContext(project, config, state.folder, "first", state, data=data)):
        with run_of_flow(project, "first", config, "id-1") as first:
            assert (first.folder, first.data) == (state.folder, data)
            state.update(status=RunStatus.FINISHED)
        with run_of_flow(project, "second", config, "id-1") as second:
            assert (second.folder, second.data) == (project.run_dir("second"), None)


def test_a_retry_with_other_settings_is_refused_with_the_difference(project: Project) -> None:
    with run_of_flow(project, "run", Config(), "id"):
        pass
    changed = Config.model_validate({"rounds": 7, "client": {"learning_rate": 0.5}})
    with pytest.raises(  # noqa: SIM117
        ConfigError,
        match=r"found client\.learning_rate=0\.01 then, 0\.5 now; rounds=15 then, 7 now\. Put these back",
    ):
        with run_of_flow(project, "run", changed, "id"):
            pass


def test_settings_now_may_be_in_a_file_that_an_earlier_version_wrote(project: Project) -> None:
    params = project.root / "m-1.yaml"
    params.write_text("aggregator: {name: mean, trim_fraction: 0.1, byzantine: 1}\n")
    run = begin(project, "run", Config(), "run", params=str(params), overrides=["rounds=3"])
    assert settings_now(run) == Config(rounds=3)


def test_settings_now_are_those_of_the_file_with_the_runs_own_overrides(project: Project) -> None:
    params = project.root / "params.yaml"
    params.write_text("rounds: 5\n")
    run = begin(
        project,
        "run",
        load_config(params, ["seed=3"]),
        "run",
        params=str(params),
        overrides=["seed=3"],
    )
    (found,) = all_states(project)
    now = settings_now(found)
    assert now is not None
    refuse_changes(found, now)  # nothing changed
    params.write_text("rounds: 6\nseed: 9\n")
    now = settings_now(found)
    assert now is not None
    with pytest.raises(
        ConfigError,
        match=r"run run: expected the settings that it was started with, found rounds=5 then, 6 now\. ",
    ):
        refuse_changes(found, now)
    params.unlink()
    assert settings_now(run) is None


def test_a_state_that_cannot_be_read_is_passed_over_with_a_warning(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    good = begin(project, "good", Config(), "run")
    bad = begin(project, "bad", Config(), "run")
    (bad.folder / "run_state.json").write_text("{")
    with caplog.at_level(logging.WARNING, "fedpipe"):
        found = find_interrupted(project, None)
    assert found is not None
    assert found.folder == good.folder
    assert "bad/run_state.json: expected the state of a run, cannot read it" in caplog.text


def test_a_run_that_recorded_settings_of_all_choices_is_read(project: Project) -> None:
    run = begin(project, "old", Config(), "run")
    run.values["config"]["aggregator"] |= {"trim_fraction": 0.1, "byzantine": 1}
    run.values["config"]["privacy"] |= {"epsilon": None, "repeatable": False}
    run.values["config"]["algorithm"]["mu"] = None
    assert run.config == Config()


def test_settings_of_another_version_do_not_stop_dvcs_stage(project: Project) -> None:
    old = begin(project, "old", Config(), "dvc")
    values = json.loads((old.folder / "run_state.json").read_text())
    values["config"]["no_such_setting"] = 1
    (old.folder / "run_state.json").write_text(json.dumps(values))
    assert run_of_stage(project, "new", Config(), "md5").name == "new"
    same = run_of_stage(project, "newer", Config(), "md5")
    assert same.name == "new"


def test_what_was_refused_before_it_began_is_no_interrupted_run(project: Project) -> None:
    interrupted = begin(project, "interrupted", Config(), "run")
    refused = begin(project, "refused", Config(), "run")
    with pytest.raises(PlanError), removed_if_refused(refused):
        raise PlanError("no such cohorts")
    assert [state.name for state in all_states(project)] == ["interrupted"]
    with pytest.raises(DataError), removed_if_refused(interrupted):
        raise DataError("mend the file, then go on")
    interrupted.update(status="training", mlflow_run_id="m")
    with pytest.raises(ConfigError), removed_if_refused(interrupted):
        raise ConfigError("said of a run that began")
    found = find_interrupted(project, None)
    assert found is not None
    assert found.name == "interrupted"
