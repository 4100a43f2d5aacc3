"""A trial that fails notes the reason in its state and raises the error."""

import socket
from pathlib import Path

import pytest

from fedpipe.config import Config
from fedpipe.errors import DataError
from fedpipe.project.paths import Project
from fedpipe.runs.state import begin, read_state
from fedpipe.status import RunStatus
from fedpipe.sweep.trial import run_trial


def test_a_trial_whose_settings_are_wrong_says_so_and_raises(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("")
    project = Project(tmp_path)
    config = Config.model_validate(
        {"data": {"source": "csv", "path": "gone.csv"}, "runtime": {"debug": True}}
    )
    values = {"metric": "validation/accuracy", "tags": {}}
    state = begin(project, "trial", config, "sweep", **values)
    sweep, trial = socket.socketpair()
    with sweep, pytest.raises(DataError, match=r"gone\.csv"):
        run_trial(project, state.folder, trial.detach())
    after = read_state(state.folder)
    assert after is not None
    assert after.values["status"] == RunStatus.FAILED
    assert "gone.csv" in after.values["reason"]
    assert not after.is_alive()
