"""A run without a commit: the reason is said where its user may not know it."""

import logging
from pathlib import Path

import pytest

from fedpipe.config import Config
from fedpipe.project.paths import Project
from fedpipe.runs.lineage import write_reproduction_files


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (
            "fatal: detected dubious ownership in repository at '/p' To add an exception for this directory, call: git config ...",
            True,
        ),
        ("git is not installed, or not on the PATH", True),
        ("fatal: not a git repository (or any of the parent directories): .git", False),
        ("the repository has no commit yet", False),
    ],
)
def test_a_reason_is_said_unless_nobody_ever_committed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, note: str, said: bool
) -> None:
    with caplog.at_level(logging.WARNING, "fedpipe"):
        write_reproduction_files(
            tmp_path, Config(), Project(tmp_path), {"git.commit": "none", "git.note": note}
        )
    expected = (
        [f"the run is recorded without a commit, and cannot be reproduced: {note}"] if said else []
    )
    assert [record.getMessage() for record in caplog.records] == expected
