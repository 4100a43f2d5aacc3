"""What a run leaves for those who ask where a model came from, and the commands that answer."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from fedpipe.tracking.participation import read_clients

pytestmark = pytest.mark.slow

Trained = tuple[Any, dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def store(trained: Trained) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{trained[0].project}/mlflow.db")


def artifact(store: MlflowClient, run_id: str, name: str) -> Path:
    return Path(store.download_artifacts(run_id, f"lineage/{name}"))


def test_the_chain_is_complete_and_each_end_names_the_other(
    trained: Trained, store: MlflowClient
) -> None:
    _, first, _ = trained
    chain = json.loads(artifact(store, first["run_id"], "lineage.json").read_text())
    assert chain["git"] == {
        "commit": first["git_commit"],
        "branch": "main",
        "dirty": False,
        "patch": None,
    }
    assert chain["dvc"] == {"data_md5": first["data_md5"], "data_in_lock": True, "experiment": None}
    assert chain["prefect"]["flow_run_id"] == first["flow_run_id"]
    assert (
        chain["prefect"]["url"]
        == f"http://127.0.0.1:4200/flow-runs/flow-run/{first['flow_run_id']}"
    )
    assert chain["mlflow"]["run_id"] == first["run_id"]
    assert chain["weights_sha256"] == first["weights_sha256"]
    tags = store.get_run(first["run_id"]).data.tags
    assert chain["plan_sha256"] == tags["fedpipe.plan_sha256"]
    assert f"[first]({chain['prefect']['url']})" in tags["mlflow.note.content"]


def test_every_client_of_every_round_is_there_and_adds_up(
    trained: Trained, store: MlflowClient
) -> None:
    run_id = trained[1]["run_id"]
    rows = read_clients(artifact(store, run_id, "clients.parquet"))
    plan = json.loads(Path(store.download_artifacts(run_id, "plan/cohorts.json")).read_text())[
        "cohorts"
    ]
    assert [(row.round_num, row.client_id) for row in rows] == [
        (n, one) for n, cohort in enumerate(plan, 1) for one in sorted(cohort)
    ]
    assert {row.status for row in rows} == {"reported"}
    for metric in store.get_metric_history(run_id, "round/examples"):
        assert sum(row.examples for row in rows if row.round_num == metric.step) == metric.value


def test_the_weights_of_every_round_are_known(trained: Trained, store: MlflowClient) -> None:
    lines = [
        json.loads(line)
        for line in artifact(store, trained[1]["run_id"], "weights.jsonl").read_text().splitlines()
    ]
    assert [line["round"] for line in lines] == list(range(16))
    assert len({line["sha256"] for line in lines}) == 16
    assert lines[-1]["sha256"] == trained[1]["weights_sha256"]


def test_the_settings_are_kept_as_a_params_file(trained: Trained, store: MlflowClient) -> None:
    params = yaml.safe_load(artifact(store, trained[2]["run_id"], "params.yaml").read_text())
    assert params["client"]["learning_rate"] == 0.05
    assert params["rounds"] == 5


def test_the_chain_is_shown(trained: Trained) -> None:
    user, first, _ = trained
    said = user.run("fedpipe", "lineage", "first").stdout
    lines = [line.strip("│├└─ ") for line in said.splitlines()]
    order = [
        f"git commit {first['git_commit']}",
        f"data mnist5k, DVC md5 {first['data_md5']} (in dvc.lock)",
        "Prefect flow run first",
    ]
    places = [
        next(i for i, line in enumerate(lines) if line.startswith(part))
        for part in [*order, f"MLflow run first, {first['run_id']}"]
    ]
    assert places == sorted(places)
    assert "no registered model version" in said
    found = json.loads(user.run("fedpipe", "lineage", first["run_id"], "--json").stdout)
    assert (found["mlflow"]["run_id"], found["prefect"]["flow_run_id"]) == (
        first["run_id"],
        first["flow_run_id"],
    )
    assert (found["weights_sha256"], found["rounds"], found["versions"]) == (
        first["weights_sha256"],
        15,
        [],
    )
    assert found["final"]["test/accuracy"] == first["final"]["test/accuracy"]


def test_a_client_is_found_in_the_runs_that_trained_on_it(
    trained: Trained, store: MlflowClient
) -> None:
    user, first, second = trained
    rows = read_clients(artifact(store, first["run_id"], "clients.parquet"))
    client = rows[0].client_id  # the cohort is fixed: it is in each round of both runs
    answer = json.loads(user.run("fedpipe", "lineage", "--client", client, "--json").stdout)
    runs = {run["run_id"]: run for run in answer["runs"]}
    assert {first["run_id"], second["run_id"]} <= set(runs)
    one = runs[first["run_id"]]
    share = sum(row.examples for row in rows if row.client_id == client) / sum(
        row.examples for row in rows
    )
    assert (one["rounds"], one["spans"], one["share"], one["here"]) == (15, "1-15", share, True)
    assert runs[second["run_id"]]["rounds"] == 5
    assert (
        "no run in the store asked a client nobody"
        in user.run("fedpipe", "lineage", "--client", "nobody").stdout
    )


def test_what_is_not_there_is_said(trained: Trained) -> None:
    user = trained[0]
    assert (
        "no run or model is called 'nobody'"
        in user.run("fedpipe", "lineage", "nobody", code=2).stderr
    )
    assert (
        "expected a run or model, or --client ID, found neither"
        in user.run("fedpipe", "lineage", code=2).stderr
    )
    assert (
        "no run or model is called 'nobody'"
        in user.run("fedpipe", "reproduce", "nobody", code=2).stderr
    )
