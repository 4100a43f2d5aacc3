"""A sweep whose trials are Prefect tasks on a real Dask cluster of processes."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from tests.e2e.prefect_server import Server, prefect_server
from tests.e2e.test_prefect import none_left
from tests.services import program, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

SWEEP = {
    "search": "grid",
    "overrides": ["data.validation_fraction=0.2", "rounds=3"],
    "max_parallel": 2,
}
SPACE = {"space": {"client.learning_rate": {"choices": [0.1, 0.01]}}}


@pytest.fixture(scope="module")
def server(make_user: Callable[..., Any]) -> Iterator[Server]:
    user = make_user()
    with prefect_server(user) as there:
        yield there


def write(server: Server, name: str, **values: Any) -> None:
    (server.user.project / f"{name}.yaml").write_text(json.dumps(SWEEP | SPACE | values))


def test_a_sweep_on_a_cluster_gives_what_it_gives_without(server: Server) -> None:
    write(server, "spread")
    write(server, "here")
    spread = json.loads(
        server.user.run(
            "fedpipe",
            "sweep",
            "spread.yaml",
            "--dask",
            "local",
            "--json",
            timeout=900,
            **server.settings,
        ).stdout
    )
    assert spread["counts"] == {"finished": 2, "pruned": 0, "failed": 0, "interrupted": 0}
    runs = server.call("/flow_runs/filter", {"flows": {"name": {"any_": ["federated-sweep"]}}})
    tasks = server.of_run("task_runs", runs[0]["id"])
    assert {(task["name"], task["state_type"]) for task in tasks} >= {
        ("spread-000", "COMPLETED"),
        ("spread-001", "COMPLETED"),
    }
    here = json.loads(
        server.user.run(
            "fedpipe", "sweep", "here.yaml", "--json", timeout=900, **server.settings
        ).stdout
    )
    assert [trial["value"] for trial in spread["children"]] == [
        trial["value"] for trial in here["children"]
    ]
    none_left(server)


def test_a_sweep_that_is_told_to_end_ends_its_children_on_the_cluster(server: Server) -> None:
    write(server, "long", overrides=["data.validation_fraction=0.2", "rounds=100000"])
    log = server.user.home / "long.log"
    env = server.user.environment() | server.settings
    with program(
        log, "fedpipe", "sweep", "long.yaml", "--dask", "local", env=env, cwd=server.user.project
    ) as process:
        rows = server.user.project / ".fedpipe" / "runs" / "long-000" / "rounds.jsonl"
        wait_for("rounds", lambda: len(rows.read_text().splitlines()) > 3, process, log, 900)
        assert through_a_worker(process.pid)
        process.terminate()
        assert process.wait(60) == 143, log.read_text()
    none_left(server)
    store = MlflowClient(tracking_uri=f"sqlite:///{server.user.project}/mlflow.db")
    found = store.search_runs(["1"], "tags.`fedpipe.sweep` = 'long'")
    assert {run.info.status for run in found} == {"KILLED"}


def through_a_worker(pid: int) -> bool:
    """Whether each trial's process was started by one of Dask's, which Python's multiprocessing starts, and not by the sweep's own."""
    running = psutil.Process(pid).children(recursive=True)
    trials = [one for one in running if "sweep-child" in one.cmdline()]
    return bool(trials) and all(
        any("multiprocessing.spawn" in " ".join(up.cmdline()) for up in one.parents())
        for one in trials
    )


def test_what_a_cluster_cannot_do_is_refused(server: Server) -> None:
    write(server, "pruned", pruning={"after_children": 1})
    refused = server.user.run(
        "fedpipe", "sweep", "pruned.yaml", "--dask", "local", code=2, **server.settings
    ).stderr
    assert "pruned.yaml: pruning is set but trials on a Dask cluster are not pruned" in refused
    write(server, "alone")
    assert (
        "PREFECT_API_URL is not set"
        in server.user.run("fedpipe", "sweep", "alone.yaml", "--dask", "local", code=2).stderr
    )
    away = server.user.run(
        "fedpipe", "sweep", "alone.yaml", "--dask", "tcp://127.0.0.1:9", code=2, **server.settings
    ).stderr
    assert "--dask tcp://127.0.0.1:9: expected a Dask scheduler" in away
