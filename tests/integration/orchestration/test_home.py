"""A home directory that cannot be written, on a real read-only file system."""

import os
from pathlib import Path
from typing import Any

import pytest

from fedpipe.orchestration.home import use_writable_home
from fedpipe.project.paths import Project


@pytest.fixture(autouse=True)
def no_place_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", "to be restored")
    monkeypatch.delenv("PREFECT_HOME")


def test_prefect_keeps_its_files_in_the_project(
    mount: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(mount("ro").path))
    use_writable_home(Project(tmp_path))
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".fedpipe" / "prefect")
    assert Path(os.environ["PREFECT_HOME"]).is_dir()


def test_a_home_that_is_not_there_counts_as_one_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    use_writable_home(Project(tmp_path))
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".fedpipe" / "prefect")


def test_what_the_user_named_and_a_home_that_can_be_written_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    use_writable_home(Project(tmp_path))
    assert "PREFECT_HOME" not in os.environ
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("PREFECT_HOME", "/mine")
    use_writable_home(Project(tmp_path))
    assert os.environ["PREFECT_HOME"] == "/mine"
