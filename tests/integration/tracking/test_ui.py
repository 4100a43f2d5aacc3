import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fedpipe.errors import TrackingError
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store
from fedpipe.tracking.tags import FORGOTTEN_CLIENTS
from fedpipe.tracking.ui import ui_command, ui_environment


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, process=None):
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
                return answer.read()
        except (urllib.error.URLError, ConnectionError):
            if process is None or process.poll() is not None:
                raise
            assert time.monotonic() < deadline, "the UI did not answer"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def server(store, project, tmp_path_factory):  # noqa: ARG001 - the store must be there
    """The UI on the project's store; gives its address."""
    folder, port = tmp_path_factory.mktemp("ui"), free_port()
    with pytest.MonkeyPatch.context() as patch, open(folder / "ui.log", "wb") as log:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        command, environment = ui_command(project, port), ui_environment(project)
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        get(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
    assert not (folder / "mlruns").exists()


def test_the_ui_shows_the_projects_runs(start, server):
    run = start()
    run.log_final_metrics({"test/accuracy": 0.5})
    run.finish()
    body = json.loads(get(f"{server}/api/2.0/mlflow/runs/get?run_id={run.run_id}"))
    assert body["run"]["data"]["metrics"][0]["key"] == "final/test/accuracy"
    assert b"<html" in get(server).lower()


def test_the_ui_listens_on_this_machine_alone(server):
    port = f"{int(server.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")}
    assert listening == {f"0100007F:{port}"}


def test_a_run_can_be_written_through_a_server(
    server, tmp_path, report, send_rounds, monkeypatch, capfd
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    store = open_store(tmp_path, "over http")
    many = {f"key{i}": str(i) for i in range(150)}
    run = TrackedRun.start(
        store,
        name="n",
        params=many | {"long": "x" * 7000},
        tags=many,
        data=DataRecord("d", "p", "m", "s"),
    )
    send_rounds(run, report(0, accuracy=0.5))
    run.finish()
    found = store.client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert len(found.data.params) == 151
    assert found.data.metrics == {"test/loss": 2.0, "test/accuracy": 0.5}
    kept = sorted(file.path for file in store.client.list_artifacts(run.run_id, "weights"))
    assert kept == [
        f"weights/{name}"
        for name in ("best.safetensors", "index.json", "last.safetensors", "round_0000.safetensors")
    ]
    assert run.url == f"{server}/#/experiments/{store.experiment_id}/runs/{run.run_id}"
    assert not (tmp_path / "mlartifacts").exists()
    assert capfd.readouterr() == ("", "")


def test_the_store_is_in_the_environment_and_not_in_the_command(project, monkeypatch):
    uri = "postgresql://ann:s3cret@db/runs"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    command = ui_command(project, 5001)
    assert command[:5] == [sys.executable, "-P", "-m", "mlflow", "server"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5001"
    assert "s3cret" not in " ".join(command)
    assert ui_environment(project)["MLFLOW_BACKEND_STORE_URI"] == uri
    assert (
        os.environ["MLFLOW_DISABLE_TELEMETRY"]
        == ui_environment(project)["MLFLOW_DISABLE_TELEMETRY"]
    )


def test_a_server_has_its_own_ui(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:s3cret@mlflow.example.org")
    with pytest.raises(
        TrackingError, match=r"^https://ann:\*\*\*@mlflow\.example\.org: the store is no database"
    ):
        ui_command(project)


@pytest.mark.slow
def test_a_model_is_registered_and_fetched_through_a_server(server, tmp_path, monkeypatch):
    import numpy as np

    from fedpipe.models.saved import SavedClassifier
    from fedpipe.models.softmax import softmax
    from fedpipe.tracking.fetch import fetch_model
    from fedpipe.tracking.model import log_model
    from fedpipe.tracking.model_registry import CHAMPION, champion_of, move_alias, register_version

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    store = open_store(tmp_path, "over http")
    run = TrackedRun.start(
        store,
        name="n",
        params={},
        tags={"git.commit": "f" * 40},
        data=DataRecord("d", "p", "m", "s"),
    )
    weights = {
        "kernel": np.zeros((2, 3), np.float32),
        "bias": np.log(np.array([1, 2, 3], np.float32)),
    }
    about = {"feature_dtype": "float32", "labels": ["a", "b", "c"]}
    model_id = log_model(
        run, softmax((2,), 3), weights, np.zeros((1, 2), np.float32), round_num=1, about=about
    )
    run.log_final_metrics({"validation/accuracy": 0.5}, "best", model_id=model_id)
    forgotten = json.dumps([f"client{number:05}" for number in range(1000)])
    tags = {"metric.validation/accuracy": "0.5", FORGOTTEN_CLIENTS: forgotten, "long": "x" * 9000}
    version = register_version(store, "over http", model_id, run.run_id, tags)
    kept = store.client.get_model_version("over http", "1").tags
    assert kept[FORGOTTEN_CLIENTS] == forgotten, "read again, so never cut"
    assert len(kept["long"]) == 5000
    move_alias(store, CHAMPION, version)
    assert champion_of(store, "over http").version == version.version == "1"
    assert register_version(store, "over http", model_id, run.run_id, {}).version == "1"
    for wanted in ("over http@champion", run.run_id):
        (tmp_path / wanted[:4]).mkdir()
        fetched = fetch_model(store, wanted, tmp_path / wanted[:4])
        assert (fetched.run_id, fetched.facts.labels) == (run.run_id, ("a", "b", "c"))
        found = SavedClassifier.load(fetched.saved_model).predict(np.ones((2, 2), np.float32))
        np.testing.assert_allclose(found, [[1 / 6, 2 / 6, 3 / 6]] * 2, rtol=1e-6)
    assert {one.key: one.value for one in store.client.get_logged_model(model_id).metrics} == {
        "best/validation/accuracy": 0.5
    }
