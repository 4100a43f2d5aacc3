"""The command line without a run: what is imported, what is said, how it exits."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = [
    "run",
    "prepare",
    "train",
    "evaluate",
    "ui",
    "serve",
    "cache",
    "doctor",
    "predict",
    "export",
    "worker",
]


def fedpipe(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fedpipe", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_import_is_light() -> None:
    code = "import fedpipe.cli, sys; print(sorted({'tensorflow', 'prefect', 'mlflow', 'pyarrow', 'pandas', 'dvc'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *[[c, "--help"] for c in COMMANDS]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom fedpipe.cli import main\nsys.argv[1:] = " + repr(arguments) + "\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'tensorflow', 'tensorflow_federated', 'prefect', 'mlflow', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fedpipe" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["run", "-S", "client.learning_rat=1"],
            "unknown key 'client.learning_rat'; did you mean 'client.learning_rate'?",
        ),
        (
            ["run", "-S", "cohort.size=0"],
            "'cohort.size': input should be greater than or equal to 1, found 0",
        ),
        (["run", "--params", "nowhere.yaml"], "nowhere.yaml: no such params file"),
        (["train", "-S", "rounds=many"], "'rounds': input should be a valid integer"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    done = fedpipe(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_debug_shows_the_traceback() -> None:
    done = fedpipe("run", "--debug", "-S", "cohort.size=0")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_outside_a_project(tmp_path: Path) -> None:
    done = fedpipe("run", cwd=tmp_path)
    assert done.returncode == 2
    assert "no params.yaml here or in a folder above" in done.stderr


def test_unknown_command_and_option() -> None:
    assert fedpipe("fly").returncode == 2
    assert fedpipe("run", "--fast").returncode == 2
