"""What a second run in the same process does not do again, counted and not timed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import json, sys
from pathlib import Path
from fedpipe.launch.train import launch
from fedpipe.project.paths import find_project
from fedpipe.tracking.store import prepare_environment

prepare_environment()
from mlflow.utils import environment, requirements_utils
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

commands, calls = [], []
sys.addaudithook(
    lambda event, arguments: event == "subprocess.Popen" and commands.append(str(arguments[1]))
)

def counted(owner, name):
    original = getattr(owner, name)
    def call(*arguments, **options):
        calls.append(name)
        return original(*arguments, **options)
    setattr(owner, name, call)

counted(SqlAlchemyStore, "__init__")
counted(environment, "_infer_requirements")
counted(requirements_utils, "_init_modules_to_packages_map")
project = find_project(Path.cwd())
runs = []
for _ in range(2):
    commands.clear()
    calls.clear()
    summary = launch(project, project.params, ["rounds=2"])
    runs.append(
        {
            "commands": list(commands),
            "weights": summary["weights_sha256"],
            "stores": calls.count("__init__"),
            "looked_up": len(calls) - calls.count("__init__"),
            "tensorflow_probability": "tensorflow_probability.python" in sys.modules,
        }
    )
print(json.dumps(runs))
"""


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, clone: Callable[..., Path]
) -> list[dict[str, Any]]:
    """Two runs in one process: what each started and called, and the hash of its weights."""
    folder = tmp_path_factory.mktemp("twice")
    project = clone(folder / "project")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
    }
    with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
        done = subprocess.run(
            [sys.executable, "-P", "-c", SCRIPT],
            cwd=project,
            env=environment | {"HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=280,
            check=False,
        )
    assert done.returncode == 0, (folder / "stderr").read_text()[-3000:]
    counted: list[dict[str, Any]] = json.loads((folder / "stdout").read_text().splitlines()[-1])
    return counted


def started(run: dict[str, Any], program: str) -> int:
    """Return how often the run started a program."""
    return sum(program in command for command in run["commands"])


def test_prefects_server_is_started_once(runs: list[dict[str, Any]]) -> None:
    assert [started(run, "uvicorn") for run in runs] == [1, 0]


def test_dvc_is_not_started_for_data_that_are_up_to_date(runs: list[dict[str, Any]]) -> None:
    assert started(runs[1], "'dvc'") == 0


def test_each_run_has_a_worker_of_its_own_and_the_same_bits(runs: list[dict[str, Any]]) -> None:
    assert [started(run, "worker_owner.py") for run in runs] == [1, 1]
    assert runs[0]["weights"] == runs[1]["weights"]


def test_no_run_imports_what_only_discrete_noise_needs(runs: list[dict[str, Any]]) -> None:
    assert [run["tensorflow_probability"] for run in runs] == [False, False]


def test_mlflow_opens_the_store_once_for_all_runs(runs: list[dict[str, Any]]) -> None:
    assert [run["stores"] for run in runs] == [1, 0]


def test_the_models_requirements_are_given_and_not_looked_up(runs: list[dict[str, Any]]) -> None:
    assert [run["looked_up"] for run in runs] == [0, 0]
