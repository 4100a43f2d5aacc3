"""A project in a folder with any name: its store, with runs and files, is in it and nowhere else."""

import os
from pathlib import Path

import pytest

from fedpipe.tracking.store import has_store, is_own_store, open_store, read_store, tracking_uri
from fedpipe.tracking.ui import ui_environment


@pytest.mark.parametrize("name", ["my%20data", "what?x=1#%3F", 'John\'s "data"', "new\nline & ü"])
def test_the_store_is_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = tmp_path / name
    project.mkdir()
    monkeypatch.chdir(project)
    assert not has_store(project)
    store = open_store(project, "fedpipe")
    assert store.label == tracking_uri(project) == f"sqlite:///{project}/mlflow.db"
    run = store.client.create_run(store.experiment_id)
    (tmp_path / "figure.txt").write_text("1")
    store.client.log_artifact(run.info.run_id, str(tmp_path / "figure.txt"))
    again = read_store(project)
    assert [file.path for file in again.client.list_artifacts(run.info.run_id)] == ["figure.txt"]
    assert list((project / "mlartifacts").rglob("figure.txt"))
    assert has_store(project)
    assert is_own_store(project)
    assert (project / "mlflow.db").stat().st_size > 10_000
    assert sorted(os.listdir(tmp_path)) == sorted([name, "figure.txt"]), (
        "nothing lies beside the project"
    )


def test_the_pages_of_runs_find_a_store_behind_a_question_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert ui_environment(tmp_path / "what?")["MLFLOW_BACKEND_STORE_URI"] == "sqlite:///mlflow.db"
    assert (
        ui_environment(tmp_path / "my%20")["MLFLOW_BACKEND_STORE_URI"]
        == f"sqlite:///{tmp_path}/my%20/mlflow.db"
    )
