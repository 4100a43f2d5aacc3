"""A user: a clone of the project, an empty home, and the installed programs. One for all end-to-end tests that only look."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(sys.executable).parent


class User:
    """Someone at a shell in a project's folder.

    Output goes to files, never to pipes: a program that left a process behind would keep a pipe open.
    """

    def __init__(self, project: Path, home: Path) -> None:
        self.project, self.home = project, home
        home.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "MLFLOW_", "DVC_"))
        }
        return kept | {
            "HOME": str(self.home),
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "true",
        }

    def run(
        self, *command: str, timeout: int = 290, code: int = 0, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program and check its exit code."""
        out, err = self.home / "stdout", self.home / "stderr"
        with out.open("w") as stdout, err.open("w") as stderr:
            done = subprocess.run(
                command,
                cwd=self.project,
                env=self.environment() | environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=timeout,
                check=False,
            )
        result = subprocess.CompletedProcess(
            command, done.returncode, out.read_text(), err.read_text()
        )
        assert result.returncode == code, (
            f"{' '.join(command)}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        )
        return result

    def train(self, *options: str, **environment: str) -> dict[str, Any]:
        """Run `fedpipe run --json`; return the object, which must be all that stdout holds."""
        lines = self.run("fedpipe", "run", "--json", *options, **environment).stdout.splitlines()
        assert len(lines) == 1
        summary: dict[str, Any] = json.loads(lines[0])
        return summary

    def git_status(self) -> str:
        return self.run("git", "status", "--porcelain").stdout


@pytest.fixture(scope="session")
def make_user(
    tmp_path_factory: pytest.TempPathFactory, clone: Callable[..., Path]
) -> Callable[..., User]:
    def make(git: bool = True, home: Path | None = None) -> User:
        folder = tmp_path_factory.mktemp("user")
        return User(clone(folder / "project", git=git), home or folder / "home")

    return make


@pytest.fixture
def user(make_user: Callable[..., User]) -> User:
    """Someone with a fresh clone."""
    return make_user()


@pytest.fixture(scope="session")
def trained(make_user: Callable[..., User]) -> tuple[User, dict[str, Any], dict[str, Any]]:
    """Someone who trained twice, the second time with another learning rate; and what both runs said."""
    person = make_user()
    first = person.train("--name", "first")
    assert person.git_status() == "", (
        "a run in a fresh clone must leave git clean; is dvc.lock current? `uv run dvc repro prepare`"
    )
    second = person.train(
        "--name",
        "second",
        "-S",
        "client.learning_rate=0.05",
        "-S",
        "rounds=5",
        "-S",
        "tracking.save_every=2",
    )
    return person, first, second
