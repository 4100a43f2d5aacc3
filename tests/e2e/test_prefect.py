"""A Prefect server of one's own: the deployment with a worker, `fedpipe serve`, and `fedpipe run` with PREFECT_API_URL set."""

import json
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from tests.e2e.prefect_server import Server, prefect_server
from tests.services import program, wait_for

TASKS = ["load_data", "sample_clients", "train", "evaluate", "record"]
ONE_ROUND = 'overrides=["rounds=1"]'


@pytest.fixture(scope="module")
def server(make_user: Any) -> Iterator[Server]:
    user = make_user()
    user.run("git", "remote", "add", "origin", "https://ann:planted-remote@127.0.0.1:9/project.git")
    with prefect_server(user) as there:
        yield there


def test_the_server_has_its_ui(server: Server) -> None:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        server.url.removesuffix("/api"), timeout=10
    ) as answer:
        assert "<title>Prefect" in answer.read().decode()


@contextmanager
def served(server: Server) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
    log = server.user.home / "serve.log"
    with program(
        log,
        "fedpipe",
        "serve",
        env=server.user.environment() | server.settings,
        cwd=server.user.project,
    ) as process:
        wait_for("serving", lambda: b"Serving" in log.read_bytes(), process, log)
        yield process, log


def check_pages(server: Server, name: str) -> None:
    """What Prefect's page of a run shows, and the MLflow run that it links to."""
    run = server.flow_run(name)
    assert run is not None
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    assert {"fedpipe", "fedavg", "softmax", "mnist5k"} == set(run["tags"])
    tasks = sorted(server.of_run("task_runs", run["id"]), key=lambda task: str(task["start_time"]))
    assert [(task["name"].rpartition("-")[0], task["state_type"]) for task in tasks] == [
        (task, "COMPLETED") for task in TASKS
    ]
    artifacts = {artifact["key"]: artifact for artifact in server.of_run("artifacts", run["id"])}
    assert (artifacts["rounds"]["type"], artifacts["rounds"]["data"]) == ("progress", 100)
    assert artifacts["rounds"]["description"] == "1 of 1 rounds"
    assert [row["round"] for row in json.loads(artifacts["rounds-table"]["data"])] == [0, 1]
    store = MlflowClient(tracking_uri=f"sqlite:///{server.user.project}/mlflow.db")
    recorded = store.search_runs(["1"], f"tags.`prefect.flow_run_id` = '{run['id']}'")
    assert [(one.info.run_name, one.info.status) for one in recorded] == [(name, "FINISHED")]
    assert recorded[0].info.run_id in artifacts["mlflow-run"]["data"]


def check_log(server: Server, name: str) -> None:
    """The log of a run says what each step did, and the result, in the place of empty closing lines."""
    run = server.flow_run(name)
    assert run is not None
    lines = [
        line["message"]
        for line in server.call(
            "/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200}
        )
    ]
    assert "Finished in state Completed()" not in lines
    summary = json.loads(
        (server.user.project / ".fedpipe" / "runs" / name / "run_state.json").read_text()
    )["summary"]
    accuracies = f"test accuracy {summary['initial']['test/accuracy']:.4f} -> {summary['final']['test/accuracy']:.4f}"
    assert any(line.startswith(f"result after 1 rounds: {accuracies}") for line in lines), lines
    assert any(summary["url"] in line for line in lines)


def none_left(server: Server) -> None:
    """No process works in the project's folder but the server, nor does a TFF worker of it."""

    def left() -> list[list[str]]:
        found = [
            p.info
            for p in psutil.process_iter(["cwd", "cmdline"])
            if p.info["cwd"] == str(server.user.project)
        ]
        return [info["cmdline"] for info in found if info["cmdline"][2:4] != ["server", "start"]]

    limit = time.monotonic() + 10
    while left() and time.monotonic() < limit:
        time.sleep(0.1)
    assert left() == []


def listening(pid: int) -> set[str]:
    """Return the addresses on which a process and those that it started listen; the TFF worker's network is its own."""
    process, found = psutil.Process(pid), set()
    for one in [process, *process.children(recursive=True)]:
        try:
            if one.name() != "worker_binary":
                found |= {
                    str(there.laddr.ip)
                    for there in one.net_connections("inet")
                    if there.status == psutil.CONN_LISTEN
                }
        except psutil.NoSuchProcess:  # it has ended meanwhile
            continue
    return found


def test_a_worker_runs_the_deployment(server: Server) -> None:
    server.run("fedpipe", "pool")
    # PWD is what the caller left there: another folder, when no shell has changed it.
    elsewhere = server.settings | {"PWD": "/"}
    server.user.run("prefect", "deploy", "--all", **elsewhere)
    fields = ["-p", "rounds=1", "-p", "algorithm=fedavg", "-p", 'overrides=["client.epochs=2"]']
    said = server.run(
        "prefect",
        "deployment",
        "run",
        "federated-training/train",
        *fields,
        "--flow-run-name",
        "typed by hand",
    )
    assert "Created flow run" in said
    server.run("prefect", "worker", "start", "--pool", "fedpipe", "--run-once")
    check_pages(server, "typed by hand")
    assert (server.user.project / ".fedpipe" / "runs" / "typed by hand" / "rounds.csv").is_file()
    check_log(server, "typed by hand")
    none_left(server)


def test_serve_and_run_use_the_server_at_the_same_time(server: Server) -> None:
    with served(server) as (process, log):
        server.start_served(["rounds=1"], "served")
        summary = server.user.train("--name", "direct", "-S", "rounds=1", **server.settings)
        addresses = listening(process.pid)
        wait_for(
            "end of run",
            lambda: (server.flow_run("served") or {"end_time": None})["end_time"],
            process,
            log,
        )
        assert addresses | listening(process.pid) <= {"127.0.0.1", "::1"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    check_pages(server, "served")
    check_pages(server, "direct")
    none_left(server)
    assert (server.flow_run("direct") or {})["id"] == summary["flow_run_id"]
    # No temporary server was started, by its log and by its database.
    assert not (Path(summary["run_dir"]) / "prefect-server.log").exists()
    assert not (server.user.home / ".prefect" / "prefect.db").exists()


def test_the_server_knows_no_token_of_the_git_remote(server: Server) -> None:
    """Prefect would keep the remote's address with each deployment of the two tests above."""
    with closing(
        sqlite3.connect(f"file:{server.user.home}/server/prefect.db?mode=ro", uri=True)
    ) as store:
        kept = list(store.iterdump())
    assert sum('INSERT INTO "deployment"' in line for line in kept) == 4
    assert [line for line in kept if "planted" in line] == []


def cancel(
    server: Server, process: "subprocess.Popen[bytes]", log: Path, name: str
) -> dict[str, Any]:
    """Cancel the flow run when it trains, wait for its end in Prefect and in MLflow; return the run's state on disk."""
    folder = server.user.project / ".fedpipe" / "runs" / name
    wait_for(
        "rounds",
        lambda: (folder / "journal.jsonl").read_text().count('"metrics"') > 3,
        process,
        log,
    )
    state: dict[str, Any] = json.loads((folder / "run_state.json").read_text())
    start = time.monotonic()
    server.call(f"/flow_runs/{state['flow_run_id']}/set_state", {"state": {"type": "CANCELLING"}})
    store = MlflowClient(tracking_uri=f"sqlite:///{server.user.project}/mlflow.db")
    while (
        store.get_run(state["mlflow_run_id"]).info.status == "RUNNING"
        and time.monotonic() - start < 30
    ):
        time.sleep(0.05)
    run = store.get_run(state["mlflow_run_id"])
    assert run.info.status == "KILLED", log.read_text()
    assert run.data.tags["fedpipe.status_reason"] == "cancelled, or told to end by SIGTERM"
    assert time.monotonic() - start < 10
    return state


@pytest.mark.slow
def test_a_run_that_is_cancelled_ends_and_goes_on_when_it_is_resumed(server: Server) -> None:
    log = server.user.home / "cancelled.log"
    command = ["fedpipe", "run", "--name", "cancelled", "-S", "rounds=2000"]
    with program(
        log, *command, env=server.user.environment() | server.settings, cwd=server.user.project
    ) as process:
        state = cancel(server, process, log, "cancelled")
        assert process.wait(10) == 143, log.read_text()
    assert (server.flow_run("cancelled") or {})["state_type"] == "CANCELLED"
    none_left(server)
    path = server.user.project / ".fedpipe" / "runs" / "cancelled" / "run_state.json"
    done = len(list((path.parent / "checkpoints").glob("*.safetensors")))
    assert done >= 2
    assert json.loads(path.read_text())["mlflow_run_id"] == state["mlflow_run_id"]


RETRIED = """
import os, signal, sys, threading, time
import psutil
from flows.train import federated_training

def kill_the_worker():
    journal = "{journal}"
    while not (os.path.exists(journal) and open(journal).read().count('"metrics"') > 5):
        time.sleep(0.01)
    for child in psutil.Process().children(recursive=True):
        if "worker_binary" in child.cmdline()[0]:
            child.kill()

threading.Thread(target=kill_the_worker, daemon=True).start()
federated_training.with_options(retries=1)(name="retried", overrides=["rounds=300", "runtime.max_restarts=0"])
"""


@pytest.mark.slow
def test_a_retry_of_the_flow_goes_on_from_the_checkpoint(server: Server) -> None:
    folder = server.user.project / ".fedpipe" / "runs" / "retried"
    said = server.user.run(
        "python", "-c", RETRIED.format(journal=folder / "journal.jsonl"), **server.settings
    ).stderr
    assert "runtime.max_restarts=0 used up" in said  # the first try failed
    run = server.flow_run("retried")
    assert run is not None
    assert (run["state_type"], run["run_count"]) == ("COMPLETED", 2)
    state = json.loads((folder / "run_state.json").read_text())
    store = MlflowClient(tracking_uri=f"sqlite:///{server.user.project}/mlflow.db")
    recorded = store.search_runs(["1"], f"tags.`prefect.flow_run_id` = '{run['id']}'")
    assert [(one.info.run_id, one.info.status) for one in recorded] == [
        (state["mlflow_run_id"], "FINISHED")
    ]
    assert [
        metric.step for metric in store.get_metric_history(state["mlflow_run_id"], "train/loss")
    ] == list(range(1, 301))
    undisturbed = server.user.train("-S", "rounds=300", **server.settings)
    assert state["summary"]["weights_sha256"] == undisturbed["weights_sha256"]


@pytest.mark.slow
def test_a_served_run_that_is_cancelled_ends_in_time(server: Server) -> None:
    with served(server) as (process, log):
        server.start_served(["rounds=2000"], "served and cancelled")
        state = cancel(server, process, log, "served and cancelled")
        wait_for(
            "the end",
            lambda: (server.flow_run("served and cancelled") or {})["state_type"] == "CANCELLED",
            process,
            log,
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    none_left(server)
    assert state["status"] == "training"


@pytest.mark.slow
def test_serve_ends_its_run_when_it_ends(server: Server) -> None:
    with served(server) as (process, log):
        server.start_served(["rounds=100000"], "endless")
        first = server.user.project / ".fedpipe" / "runs" / "endless" / "initial.safetensors"
        wait_for("round 0", first.exists, process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    run = server.flow_run("endless")
    assert run is not None
    assert run["state_type"] == "CANCELLED"
    none_left(server)


@pytest.mark.parametrize("command", ["run", "serve"])
def test_a_server_that_is_away(user: Any, command: str) -> None:
    done = user.run("fedpipe", command, code=2, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(
        "fedpipe: PREFECT_API_URL=http://127.0.0.1:9/api: expected a Prefect server"
    )
    assert not (user.project / "mlflow.db").exists()


def test_serve_needs_a_server(user: Any) -> None:
    assert "PREFECT_API_URL is not set" in user.run("fedpipe", "serve", code=2).stderr
