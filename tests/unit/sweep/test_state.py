"""A sweep's folder: what it refuses when it is opened again; how many trials there is room for; what is said of a trial that failed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config.schema import Config
from fedpipe.config.sweep import SweepConfig
from fedpipe.errors import ConfigError
from fedpipe.pipeline.evaluate_run import finished_run
from fedpipe.pipeline.find_run import find_interrupted
from fedpipe.project.paths import Project
from fedpipe.runs.state import begin
from fedpipe.sweep.state import begin_sweep
from fedpipe.sweep.trial import score
from fedpipe.sweep.trial_processes import how_it_ended, most_trials
from fedpipe.system.resources import free_memory_mb


def sweep(**values: Any) -> SweepConfig:
    space = {"client.epochs": {"min": 1, "max": 3}}
    return SweepConfig.model_validate(
        {"name": "s", "search": "random", "trials": 4, "space": space} | values
    )


def test_a_sweep_goes_on_with_the_settings_it_was_started_with(tmp_path: Path) -> None:
    project, base = Project(tmp_path), Config()
    with pytest.raises(  # noqa: SIM117
        ConfigError, match="--resume: expected a sweep 's' that was started here, found none"
    ):
        with begin_sweep(project, sweep(), base, resume=True):
            pass
    with begin_sweep(project, sweep(), base, resume=False) as state:
        state.update(mlflow_run_id="m")
        with pytest.raises(ConfigError, match="sweep s: it is still running"):  # noqa: SIM117
            with begin_sweep(project, sweep(), base, resume=False):
                pass
    more = sweep(
        trials=9, max_parallel=3, memory_per_child_mb=100
    )  # more trials, and other places for them
    with begin_sweep(project, more, base, resume=True) as state:
        assert state.parent == "m"
    for other, under, words in (
        (sweep(), base, "trials=9 then, 4 now"),
        (sweep(trials=9, seed=2), base, "found seed=1 then, 2 now. Put these back"),
        (more, Config.model_validate({"rounds": 7}), "found rounds=15 then, 7 now"),
    ):
        with (
            pytest.raises(ConfigError, match=words),
            begin_sweep(project, other, under, resume=False),
        ):
            pass


def test_a_sweep_that_recorded_settings_of_all_choices_continues(tmp_path: Path) -> None:
    project, base = Project(tmp_path), Config()
    with begin_sweep(project, sweep(), base, resume=False) as state:
        recorded = json.loads((state.folder / "sweep.json").read_text())
    recorded["base"]["aggregator"] |= {"trim_fraction": 0.1, "byzantine": 1}
    recorded["base"]["client"]["momentum"] = None
    (state.folder / "sweep.json").write_text(json.dumps(recorded))
    with begin_sweep(project, sweep(), base, resume=True) as again:
        assert again.values["base"] == base.model_dump(mode="json")


def test_children_have_room_within_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert free_memory_mb() > 100
    assert most_trials(cores_per_child=2, memory_mb=1, asked=None) == 4
    assert most_trials(cores_per_child=2, memory_mb=1, asked=3) == 3
    assert most_trials(cores_per_child=2, memory_mb=1, asked=30) == 4
    assert most_trials(cores_per_child=16, memory_mb=1, asked=None) == 1
    assert most_trials(cores_per_child=1, memory_mb=10**9, asked=None) == 1


def test_how_a_child_ended_and_what_it_is_worth(tmp_path: Path) -> None:
    assert how_it_ended(tmp_path, 137) == "ended by SIGKILL"
    (tmp_path / "child.log").write_text("WARNING x\nfedpipe: round 3: no\nnoise\n")
    assert how_it_ended(tmp_path, 2) == "round 3: no"
    (tmp_path / "rounds.jsonl").write_text(
        '{"round": 0, "a": 0.1}\n{"round": 1, "a": 0.7}\n{"round": 2}\n'
    )
    assert score(tmp_path, 1, "a") == 0.7
    assert all(value != value for value in (score(tmp_path, 2, "a"), score(tmp_path, None, "a")))


def test_a_sweeps_child_is_the_sweeps_to_go_on_with_and_none_that_is_open_is_evaluated(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    trial = begin(project, "s-000", Config(), "sweep", sweep="s")
    assert find_interrupted(project, None) is None
    with pytest.raises(ConfigError, match="run s-000: the sweep s started it, and resumes it"):
        find_interrupted(project, "s-000")
    with pytest.raises(
        ConfigError, match="expected a finished run, found one that was interrupted"
    ):
        finished_run(project, "s-000")
    with pytest.raises(ConfigError, match="expected a finished run of this project, found s-000"):
        finished_run(project, None)
    trial.update(status="pruned")
    assert find_interrupted(project, "s-000") is not None
    trial.update(status="finished")
    assert finished_run(project, None).name == finished_run(project, "s-000").name == "s-000"
