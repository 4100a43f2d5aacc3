"""A run may be called anything; its folder is always one of `.fedpipe/runs`."""

from pathlib import Path

import pytest

from fedpipe.config import Config
from fedpipe.pipeline.find_run import find_interrupted
from fedpipe.project.paths import Project
from fedpipe.runs.state import begin

NAMES = [
    "../../out",
    "/etc/x",
    "a/b",
    ".",
    "..",
    "...",
    ".hidden",
    "x" * 1000,
    "zoë's run",
    "line\nbreak",
    "nul\0",
    "名前",
    "a b=1+2@c",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_a_folder_of_its_own(tmp_path: Path, name: str) -> None:
    project = Project(tmp_path / "project")
    first, second = begin(project, name, Config(), "run"), begin(project, name, Config(), "run")
    assert first.name == second.name == name
    assert first.folder != second.folder
    for state in (first, second):
        assert state.folder.parent == project.private / "runs"
        assert state.folder.resolve().parent == (project.private / "runs").resolve()
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    found = find_interrupted(project, name)
    assert found is not None
    assert found.name == name


def test_usual_names_are_folders_as_they_are(tmp_path: Path) -> None:
    assert (
        begin(Project(tmp_path), "federated-20261122-214106-123456", Config(), "run").folder.name
        == "federated-20261122-214106-123456"
    )
