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
from fedpipe.tracking.ui import ui_command, ui_environment


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, process):
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
                return answer.read()
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, "the UI ended"
            assert time.monotonic() < deadline, "the UI did not answer"
            time.sleep(0.2)


def test_the_ui_shows_the_projects_runs_to_this_machine_alone(start, project, monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = start()
    run.log_final_metrics({"test/accuracy": 0.5})
    run.finish()
    port = free_port()
    with open(tmp_path / "ui.log", "wb") as log:
        process = subprocess.Popen(ui_command(project, port), env=ui_environment(project), stdout=log, stderr=log, cwd=tmp_path)
    try:
        body = json.loads(get(f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get?run_id={run.run_id}", process))
        assert body["run"]["data"]["metrics"][0]["key"] == "final/test/accuracy"
        assert b"<html" in get(f"http://127.0.0.1:{port}/", process).lower()
        listening = Path("/proc/net/tcp").read_text()
        addresses = {line.split()[1] for line in listening.splitlines()[1:] if line.split()[3] == "0A"}
        assert {address for address in addresses if address.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}
    finally:
        process.terminate()
        process.wait(60)
    assert not (tmp_path / "mlruns").exists()


def test_the_store_is_in_the_environment_and_not_in_the_command(project, monkeypatch):
    uri = "postgresql://ann:s3cret@db/runs"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    command = ui_command(project, 5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "server"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5001"
    assert "s3cret" not in " ".join(command)
    assert ui_environment(project)["MLFLOW_BACKEND_STORE_URI"] == uri
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == ui_environment(project)["MLFLOW_DISABLE_TELEMETRY"]


def test_a_server_has_its_own_ui(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:s3cret@mlflow.example.org")
    with pytest.raises(TrackingError, match=r"^https://ann:\*\*\*@mlflow\.example\.org: the store is no database"):
        ui_command(project)
