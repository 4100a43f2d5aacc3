"""The deployments of `prefect.yaml` on a real server: what its pages ask for, and what a real process worker makes of them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.orchestration.form import KEYS
from tests.e2e.prefect_server import Server
from tests.e2e.test_prefect import none_left
from tests.e2e.test_prefect import server as server  # a server of this file's own
from tests.services import program, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SWEEP = {
    "search": "grid",
    "overrides": ["data.validation_fraction=0.2", "rounds=2"],
    "space": {"client.learning_rate": {"choices": [0.1, 0.01]}},
}


@pytest.fixture(scope="module")
def deployed(server: Server) -> Server:
    """The server with a pool, and with the deployments of a clone."""
    (server.user.project / "rates.yaml").write_text(yaml.safe_dump(SWEEP))
    server.run("fedpipe", "pool", "--at-a-time", "1")
    server.run("prefect", "deploy", "--all")
    return server


def runs_of(server: Server, flow_run_id: str) -> list[Any]:
    store = MlflowClient(tracking_uri=f"sqlite:///{server.user.project}/mlflow.db")
    return list(store.search_runs(["1"], f"tags.`prefect.flow_run_id` = '{flow_run_id}'"))


def trials(server: Server, parent: str) -> list[Any]:
    store = MlflowClient(tracking_uri=f"sqlite:///{server.user.project}/mlflow.db")
    return list(store.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent}'"))


def start(server: Server, deployment: str, **parameters: Any) -> str:
    there = server.call(f"/deployments/name/{deployment}")
    made = server.call(
        f"/deployments/{there['id']}/create_flow_run",
        {"parameters": parameters, "state": {"type": "SCHEDULED"}},
    )
    return str(made["id"])


def test_what_the_server_knows_of_the_deployments(deployed: Server) -> None:
    commit = deployed.user.run("git", "rev-parse", "HEAD").stdout.strip()
    names = {"federated-training/train", "federated-evaluation/evaluate", "federated-sweep/sweep"}
    found = {name: deployed.call(f"/deployments/name/{name}") for name in names}
    for one in found.values():
        assert one["version"] == commit
        assert "fedpipe" in one["tags"]
        assert one["work_pool_name"] == "fedpipe"
        assert one["enforce_parameter_schema"] is True
    forms = {name: one["parameter_openapi_schema"]["properties"] for name, one in found.items()}
    assert {name: sorted(form) for name, form in forms.items()} == {
        "federated-training/train": sorted([*KEYS, "name", "overrides", "params"]),
        "federated-evaluation/evaluate": ["run"],
        "federated-sweep/sweep": ["out", "overrides", "resume", "sweep"],
    }
    assert all(field["description"] for form in forms.values() for field in form.values())
    assert forms["federated-sweep/sweep"]["resume"]["type"] == "boolean"
    assert {"enum": list(ALGORITHMS), "type": "string"} in forms["federated-training/train"][
        "algorithm"
    ]["anyOf"]
    assert {"items": {"type": "string"}, "type": "array"} in forms["federated-training/train"][
        "overrides"
    ]["anyOf"]
    (schedule,) = found["federated-training/train"]["schedules"]
    assert (schedule["schedule"]["cron"], schedule["active"]) == ("0 3 * * *", False)


def test_a_worker_runs_the_sweep_and_then_the_evaluation_of_its_best_child(
    deployed: Server,
) -> None:
    run_id = start(deployed, "federated-sweep/sweep", sweep="rates.yaml")
    work_once(deployed)
    run = deployed.call(f"/flow_runs/{run_id}")
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    assert {"fedpipe", "sweep"} == set(run["tags"])
    artifacts = {artifact["key"]: artifact for artifact in deployed.of_run("artifacts", run_id)}
    assert (artifacts["children"]["data"], artifacts["children"]["description"]) == (
        100,
        "2 of 2 trials",
    )
    rows = json.loads(artifacts["children-table"]["data"])
    assert [(row["child"], row["state"]) for row in rows] == [(0, "finished"), (1, "finished")]
    (parent,) = runs_of(deployed, run_id)
    assert (parent.info.run_name, parent.info.status) == ("rates", "FINISHED")
    assert parent.info.run_id in artifacts["mlflow-run"]["data"]
    assert len(trials(deployed, parent.info.run_id)) == 2
    best = parent.data.tags["fedpipe.sweep_best"]

    evaluation = start(deployed, "federated-evaluation/evaluate", run=best)
    work_once(deployed)
    run = deployed.call(f"/flow_runs/{evaluation}")
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    artifacts = {artifact["key"]: artifact for artifact in deployed.of_run("artifacts", evaluation)}
    rows = {row["weights"]: row for row in json.loads(artifacts["evaluation"]["data"])}
    store = MlflowClient(tracking_uri=f"sqlite:///{deployed.user.project}/mlflow.db")
    assert rows["best"]["test/accuracy"] == round(
        store.get_run(best).data.metrics["best/test/accuracy"], 4
    )
    assert [file.path for file in store.list_artifacts(best, "evaluations")] == [
        f"evaluations/{run['name']}"
    ]
    none_left(deployed)


def work_once(server: Server) -> None:
    server.user.run(
        "prefect",
        "worker",
        "start",
        "--pool",
        "fedpipe",
        "--run-once",
        timeout=900,
        **server.settings,
    )


@pytest.fixture
def worker(deployed: Server) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
    log = deployed.user.home / "worker.log"
    with program(
        log,
        "prefect",
        "worker",
        "start",
        "--pool",
        "fedpipe",
        env=deployed.user.environment() | deployed.settings,
        cwd=deployed.user.project,
    ) as process:
        yield process, log


def test_a_sweep_that_is_cancelled_leaves_no_process_and_runs_that_say_so(
    deployed: Server, worker: "tuple[subprocess.Popen[bytes], Path]"
) -> None:
    process, log = worker
    (deployed.user.project / "long.yaml").write_text(
        yaml.safe_dump(SWEEP | {"overrides": ["data.validation_fraction=0.2", "rounds=2000"]})
    )
    run_id = start(deployed, "federated-sweep/sweep", sweep="long.yaml")
    rows = deployed.user.project / ".fedpipe" / "runs" / "long-000" / "rounds.jsonl"
    wait_for("rounds", lambda: len(rows.read_text().splitlines()) > 3, process, log)
    deployed.call(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
    wait_for(
        "the end",
        lambda: deployed.call(f"/flow_runs/{run_id}")["state_type"] == "CANCELLED",
        process,
        log,
    )
    (parent,) = runs_of(deployed, run_id)
    assert parent.info.status == "KILLED"
    assert {run.info.status for run in trials(deployed, parent.info.run_id)} == {"KILLED"}
    process.terminate()
    process.wait(30)
    none_left(deployed)
