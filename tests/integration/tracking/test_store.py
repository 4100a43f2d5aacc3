import os
import subprocess
import sys
import threading

import pytest

from fedpipe.errors import TrackingError
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store


@pytest.fixture(autouse=True)
def _no_tracking_uri(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_store_is_the_projects_and_so_are_the_artifacts(store, project):
    assert (project / "mlflow.db").stat().st_size > 0
    experiment = store.client.get_experiment(store.experiment_id)
    assert experiment.name == "digits"
    assert experiment.artifact_location == (project / "mlartifacts").as_uri()


def test_opening_twice_gives_the_same_experiment(store, project):
    assert open_store(project, "digits").experiment_id == store.experiment_id
    assert open_store(project, "other").experiment_id != store.experiment_id


def test_a_store_opened_in_a_thread_serves_another(project):
    opened = []
    thread = threading.Thread(target=lambda: opened.append(open_store(project, "digits")))
    thread.start()
    thread.join()
    run = TrackedRun.start(
        opened[0],
        name="t",
        params={"a": 1},
        tags={},
        data=DataRecord("d", "p", "m", "s"),
    )
    assert opened[0].client.get_run(run.run_id).data.params == {"a": "1"}


def test_the_environment_names_the_store(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    assert open_store(tmp_path, "digits").experiment_id == store.experiment_id
    assert not list(tmp_path.glob("*.db"))


def refused(project, monkeypatch, uri, message):
    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=message) as caught:
        open_store(project, "digits")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    refused(
        tmp_path / "file" / "project",
        monkeypatch,
        None,
        r"^sqlite:///.*file/project/mlflow\.db: cannot make the store",
    )


def test_a_file_that_is_no_database_is_refused_and_untouched(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_text("no database " * 100)
    refused(tmp_path, monkeypatch, None, r"cannot reach the store: .*file is not a database")
    assert (tmp_path / "mlflow.db").read_text() == "no database " * 100


def test_artifacts_that_cannot_be_written_are_refused(store, tmp_path, monkeypatch):
    (tmp_path / "mlartifacts").write_text("in the way")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    with pytest.raises(
        TrackingError, match=r"cannot write artifacts to .*mlartifacts: .*File exists"
    ):
        open_store(tmp_path, "elsewhere")


def test_an_unknown_scheme_is_refused(tmp_path, monkeypatch):
    message = refused(
        tmp_path,
        monkeypatch,
        "nosuch://ann:s3cret@host/x",
        r"^nosuch://ann:\*\*\*@host/x: cannot open the store",
    )
    assert "s3cret" not in message


def test_a_server_that_does_not_answer_is_refused_at_once(tmp_path, monkeypatch):
    # Port 9 (discard) has no listener; MLflow alone would try for minutes.
    message = refused(
        tmp_path,
        monkeypatch,
        "http://ann:s3cret@127.0.0.1:9",
        r"^http://ann:\*\*\*@127\.0\.0\.1:9: cannot reach.*refused",
    )
    assert "s3cret" not in message


def test_a_database_without_its_driver_is_refused(tmp_path, monkeypatch):
    refused(
        tmp_path,
        monkeypatch,
        "mysql+nodriver://ann:s3cret@127.0.0.1/x",
        r"^mysql\+nodriver://ann:\*\*\*@127\.0\.0\.1/x: cannot reach",
    )


def test_a_deleted_experiment_is_refused(project):
    gone = open_store(project, "gone")
    gone.client.delete_experiment(gone.experiment_id)
    with pytest.raises(
        TrackingError,
        match=r"experiment 'gone' was deleted there; restore it or choose another tracking\.experiment",
    ):
        open_store(project, "gone")


def test_a_new_store_writes_nothing_to_stdout_or_stderr_and_sends_no_telemetry(tmp_path):
    script = (
        "import sys; from pathlib import Path; from fedpipe.tracking.store import open_store; "
        "from fedpipe.tracking.run import TrackedRun, DataRecord; store = open_store(Path(sys.argv[1]), 'e'); "
        "run = TrackedRun.start(store, name='n', params={}, tags={}, data=DataRecord('d', 'p', 'm', 's')); run.finish(); "
        "from mlflow.telemetry import get_telemetry_client; assert get_telemetry_client() is None"
    )
    # Without the variables by which MLflow knows a test or a CI, where it sends nothing anyway.
    hidden = ("MLFLOW_", "DO_NOT_TRACK", "PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
