"""Data and settings are judged before anything is started: no worker, no server, no TensorFlow, no folder of a run, no store."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedpipe.config import load_config
from fedpipe.errors import DataError, PlanError
from fedpipe.pipeline.load_data import load_data, load_early, may_pass
from fedpipe.project.paths import Project
from fedpipe.runs import shards
from fedpipe.runs.context import RunContext

TRY = """
import json, subprocess, sys
from pathlib import Path
from fedpipe.cli.run import train_here
from fedpipe.errors import FedpipeError
from fedpipe.project.paths import Project
started = []
first = subprocess.Popen.__init__
def noted(self, command, *args, **kwargs):
    started.append([str(part) for part in command] if isinstance(command, list | tuple) else command)
    first(self, command, *args, **kwargs)
subprocess.Popen.__init__ = noted
project = Project(Path.cwd())
messages = []
for overrides in json.loads(sys.argv[1]):
    try:
        train_here(project, project.params, overrides, quiet=True)
    except FedpipeError as err:
        messages.append(str(err))
heavy = sorted({'tensorflow', 'tensorflow_federated', 'prefect', 'mlflow'} & set(sys.modules))
print(json.dumps([messages, heavy, started]))
"""
TABLES = ["data.source=csv", "data.clients=null", "cohort.size=1", "cohort.min_reports=1"]


def test_what_is_refused_starts_nothing_and_leaves_nothing(project: Path) -> None:
    (project / "short.csv").write_text("client,label,x\na,0,1\na,1,2\nb,0,3\nb,1,4\n")
    (project / "torn.csv").write_text("client,label,x\na,0,1\na,1,\n")
    tried = {
        "nowhere.csv": [*TABLES, "data.path=nowhere.csv"],
        "torn.csv": [*TABLES, "data.path=torn.csv"],
        "cohort.size=9": [*TABLES, "data.path=short.csv", "cohort.size=9"],
        "model.name=lstm": [*TABLES, "data.path=short.csv", "model.name=lstm"],
    }
    done = subprocess.run(
        [sys.executable, "-c", TRY, json.dumps(list(tried.values()))],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    messages, heavy, started = json.loads(done.stdout)
    assert [
        words for words, message in zip(tried, messages, strict=True) if words not in message
    ] == []
    assert (heavy, [command for command in started if "git" not in command[0]]) == ([], [])
    assert not (project / ".fedpipe" / "runs").exists()
    assert not (project / "mlflow.db").exists()


def test_data_that_were_loaded_early_are_those_of_a_run_with_the_same_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Project(project)
    config = load_config(here.params, ["cohort.size=2"])
    few = load_config(here.params, ["cohort.size=6"])
    (project / "short.csv").write_text("client,label,x\na,0,1\na,1,2\nb,0,3\nb,1,4\n")
    loaded = shards.ensure_shards(load_config(here.params, [*TABLES, "data.path=short.csv"]), here)
    monkeypatch.setattr(shards, "ensure_shards", lambda *_args, **_options: loaded)
    assert load_early(config, here) == loaded
    run = RunContext(here, config, here.run_dir("run"), data=loaded)
    monkeypatch.setattr(shards, "ensure_shards", lambda *_args, **_options: "loaded again")
    assert load_data(run.with_settings(load_config(here.params, ["cohort.size=2"]))) == loaded
    assert load_data(run.with_settings(load_config(here.params))) == "loaded again"
    monkeypatch.setattr(shards, "ensure_shards", lambda *_args, **_options: loaded)
    with pytest.raises(
        PlanError, match=r"cohort\.size=6: expected at most the population, found 2 clients"
    ):
        load_early(few, here)


def test_a_remote_that_is_away_is_left_to_the_flow_which_tries_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Project(project)

    def away(*_args: object, **_options: object) -> None:
        raise DataError("the download did not answer") from ConnectionResetError("reset")

    monkeypatch.setattr(shards, "ensure_shards", away)
    assert load_early(load_config(here.params), here) is None


@pytest.mark.parametrize(
    ("cause", "again"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (ValueError(), False),
    ],
)
def test_a_lost_connection_is_worth_another_try_a_missing_file_is_not(
    cause: Exception, again: bool
) -> None:
    error = DataError("no data")
    error.__cause__ = cause
    assert may_pass(error) is again
