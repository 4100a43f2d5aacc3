"""What all tests share: one TFF runtime for the session, and projects that are fresh copies of this one."""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services import S3, Postgres, postgres_cluster, s3_server, why_no_postgres

os.environ.setdefault("WRAPT_DISABLE_EXTENSIONS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from fedpipe.engine.runtime import Runtime

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage, where `--cov` asks for it, in unit tests and doctests alone: tracing the
    trainings of the other tests would take minutes.
    """
    plugin = item.config.pluginmanager.getplugin("_cov")
    controller = getattr(plugin, "cov_controller", None)
    measured = {ROOT / "tests" / "unit", ROOT / "fedpipe"} & set(item.path.parents)
    if controller is None or measured:
        return (yield)
    controller.pause()
    try:
        return (yield)
    finally:
        controller.resume()


@pytest.fixture(scope="session")
def tff_runtime(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Runtime]":
    """One worker for all tests that only want to compute."""
    from fedpipe.config.schema import RuntimeConfig
    from fedpipe.engine.runtime import Runtime

    with Runtime(RuntimeConfig(), tmp_path_factory.mktemp("worker") / "worker.log") as runtime:
        yield runtime


def copy_project(target: Path, git: bool = True) -> Path:
    """Copy this project's files, as a clone would hold them, to `target`; with `git`, as one commit."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    if git:
        commands = [
            ["init", "--quiet", "--initial-branch=main"],
            ["add", "--all"],
            ["commit", "--quiet", "--message", "A clone"],
        ]
        for command in commands:
            identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
            subprocess.run(["git", "-C", str(target), *identity, *command], check=True)
    return target


@pytest.fixture(scope="session")
def clone() -> Callable[..., Path]:
    """Return `copy_project`."""
    return copy_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a fresh copy of this project, committed to a git repository of its own."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A running PostgreSQL cluster; `url(DATABASE)` makes a database in it."""
    problem = why_no_postgres()
    if problem:
        pytest.skip(problem)
    with postgres_cluster() as cluster, cluster.running():
        yield cluster


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A running S3 server."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
