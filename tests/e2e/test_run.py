"""The main job: what `fedpipe run` says, and what it leaves in MLflow, in Prefect, in git and among the processes."""

import json
import math
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import psutil
import pytest
from mlflow import MlflowClient

from fedpipe.data.digest import dvc_md5

Trained = tuple[Any, dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="session")
def store(trained: Trained) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{trained[0].project}/mlflow.db")


@pytest.fixture(scope="session")
def prefect(trained: Trained) -> sqlite3.Connection:
    return sqlite3.connect(trained[0].home / ".prefect" / "prefect.db")


def test_summary(trained: Trained) -> None:
    user, first, _ = trained
    commit = user.run("git", "rev-parse", "HEAD").stdout.strip()
    assert first["git_commit"] == commit
    assert first["data_md5"] == dvc_md5(user.project / "data" / "shards")
    assert first["rounds"] == 15
    assert first["initial"]["test/loss"] == pytest.approx(math.log(10), abs=1e-6)
    assert first["final"]["test/accuracy"] > first["initial"]["test/accuracy"] + 0.1
    assert first["final"]["test/loss"] < first["initial"]["test/loss"] - 0.2
    assert set(first["seconds"]) == {"prepare", "train", "evaluate", "total", "round_median"}
    assert (
        first["seconds"]["total"]
        > first["seconds"]["train"]
        > 15 * first["seconds"]["round_median"] * 0.5
    )


def test_no_process_is_left(trained: Trained) -> None:
    home = str(trained[0].home)
    left = [
        p
        for p in psutil.process_iter(["name", "environ"])
        if (p.info["environ"] or {}).get("HOME") == home
    ]
    workers = [
        p
        for p in psutil.process_iter(["name", "cmdline"])
        if str(trained[0].project) in " ".join(p.info["cmdline"] or [])
    ]
    assert left + workers == []


def test_each_metric_has_each_step_once(trained: Trained, store: MlflowClient) -> None:
    run_id = trained[1]["run_id"]
    for key, steps in {
        "test/loss": range(16),
        "test/accuracy": range(16),
        "train/loss": range(1, 16),
        "round/seconds": range(1, 16),
    }.items():
        assert [metric.step for metric in store.get_metric_history(run_id, key)] == list(steps), key
    assert (
        store.get_metric_history(run_id, "test/loss")[-1].value == trained[1]["final"]["test/loss"]
    )
    assert {m.value for m in store.get_metric_history(run_id, "round/clients")} == {10.0}


def test_params_tags_and_data(trained: Trained, store: MlflowClient) -> None:
    _, first, second = trained
    one, two = store.get_run(first["run_id"]), store.get_run(second["run_id"])
    assert (one.data.params["client.learning_rate"], two.data.params["client.learning_rate"]) == (
        "0.01",
        "0.05",
    )
    assert one.info.experiment_id == two.info.experiment_id
    assert (one.info.run_name, one.info.status) == ("first", "FINISHED")
    tags = one.data.tags
    assert tags["git.commit"] == first["git_commit"]
    assert tags["git.dirty"] == "false"
    assert tags["dvc.data_md5"] == first["data_md5"]
    assert (tags["prefect.flow_run_id"], tags["prefect.flow_run_name"]) == (
        first["flow_run_id"],
        "first",
    )
    data = one.inputs.dataset_inputs[0].dataset
    assert data.name == "mnist5k"
    assert first["data_md5"].startswith(data.digest)


def test_weights_are_kept(trained: Trained, store: MlflowClient, tmp_path: Path) -> None:
    from fedpipe.models.weights_io import load_weights
    from fedpipe.types import weights_sha256

    second = trained[2]
    names = {Path(f.path).name for f in store.list_artifacts(second["run_id"], "weights")}
    assert {
        "round_0000.safetensors",
        "round_0002.safetensors",
        "round_0004.safetensors",
        "best.safetensors",
        "last.safetensors",
    } <= names
    path = Path(
        store.download_artifacts(second["run_id"], "weights/last.safetensors", str(tmp_path))
    )
    assert weights_sha256(load_weights(path)) == second["weights_sha256"]


def test_the_model_loads_and_predicts(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedpipe.data.population import Population

    user, first, _ = trained
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{user.project}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{user.project}/mlflow.db")
    model = mlflow.pyfunc.load_model(first["model_uri"])
    test = Population.open(user.project / "data" / "shards").central_test()
    predicted = np.asarray(model.predict(test.x.astype(np.float32) / 255)).argmax(1)
    assert np.mean(predicted == test.y) == pytest.approx(first["final"]["test/accuracy"], abs=1e-9)


def test_pictures_and_plan_are_artifacts(trained: Trained, store: MlflowClient) -> None:
    run_id = trained[1]["run_id"]
    files = {
        f.path
        for folder in ("plots", "plan", "tables")
        for f in store.list_artifacts(run_id, folder)
    }
    assert {"plots/learning_curves.svg", "plots/confusion_matrix.svg", "plan/cohorts.json"} <= files


def test_each_run_has_its_report_and_two_are_compared(
    trained: Trained, store: MlflowClient
) -> None:
    user, first, second = trained
    kept = Path(store.download_artifacts(first["run_id"], "report.html")).read_text()
    assert f"{first['final']['test/accuracy']:.4f}" in kept
    assert "Missing:" not in kept
    about = json.loads(user.run("fedpipe", "report", "first", "second", "--json").stdout)
    assert about["differs"].keys() == {"client.learning_rate", "rounds", "tracking.save_every"}
    assert [(run["run_id"], run["missing"]) for run in about["runs"]] == [
        (first["run_id"], {}),
        (second["run_id"], {}),
    ]


def test_prefect_shows_the_run(trained: Trained, prefect: sqlite3.Connection) -> None:
    first = trained[1]
    flows = prefect.execute(
        "select id, state_type, tags from flow_run where name = 'first'"
    ).fetchall()
    assert [(f[0], f[1]) for f in flows] == [(first["flow_run_id"], "COMPLETED")]
    tasks = prefect.execute(
        "select name, state_type from task_run where flow_run_id = ? order by start_time",
        (first["flow_run_id"],),
    )
    states = [(name.rpartition("-")[0], state) for name, state in tasks]
    assert states == [
        (name, "COMPLETED")
        for name in ("load_data", "sample_clients", "train", "evaluate", "record")
    ]


def test_prefect_shows_progress_rounds_and_link(
    trained: Trained, prefect: sqlite3.Connection
) -> None:
    first = trained[1]
    rows = prefect.execute(
        "select key, type, data from artifact where flow_run_id = ?", (first["flow_run_id"],)
    ).fetchall()
    artifacts = {key: (kind, data) for key, kind, data in rows}
    assert float(artifacts["rounds"][1]) == 100.0
    assert len(json.loads(json.loads(artifacts["rounds-table"][1]))) == 16
    assert first["run_id"] in artifacts["mlflow-run"][1]


def test_cache_is_shown_and_cleared(trained: Trained) -> None:
    user = trained[0]
    assert (
        json.loads(user.run("fedpipe", "cache", "--json").stdout)["files"] == 10
    )  # both runs: the same ten clients
    assert json.loads(user.run("fedpipe", "cache", "--clear", "--json").stdout)["files"] == 10
    assert json.loads(user.run("fedpipe", "cache", "--json").stdout) | {"path": ""} == {
        "path": "",
        "files": 0,
        "size_bytes": 0,
        "cleared": False,
    }


def test_same_settings_same_bits(trained: Trained) -> None:  # with a cache that was just cleared
    user, first, _ = trained
    assert user.train("--name", "again")["weights_sha256"] == first["weights_sha256"]


def test_a_run_without_git_says_so(trained: Trained, make_user: Any) -> None:
    user = make_user(git=False, home=trained[0].home)
    done = user.run("fedpipe", "run", "-S", "rounds=1")
    assert "this run has no commit" in done.stdout
    assert re.search(r"before +│ +[\d.]+ │ +[\d.]+ │\n│ after ", done.stdout)
    assert "MLflow http://127.0.0.1" in done.stdout


@pytest.mark.slow
def test_module_runs_the_same_flow(trained: Trained) -> None:
    user = trained[0]
    params = user.project / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("rounds: 15", "rounds: 2"))
    summary = json.loads(user.run("python", "-m", "fedpipe.launch.train").stdout.splitlines()[-1])
    params.write_text(text)
    assert summary["rounds"] == 2
    assert summary["flow_run_id"]


@pytest.mark.slow
def test_synthetic_source(trained: Trained) -> None:
    user = trained[0]
    summary = user.train("-S", "data.source=synthetic", "-S", "cohort.size=2", "-S", "rounds=2")
    assert summary["initial"]["test/loss"] == pytest.approx(math.log(10), abs=1e-6)
    assert summary["final"]["test/loss"] != summary["initial"]["test/loss"]
    assert user.git_status() == ""


def test_sigterm_marks_the_run(trained: Trained) -> None:
    import signal
    import subprocess
    import time

    user = trained[0]
    with (user.home / "log").open("w") as log:
        process = subprocess.Popen(
            ["fedpipe", "run", "--name", "long", "-S", "rounds=5000"],
            cwd=user.project,
            env=user.environment(),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            client = MlflowClient(tracking_uri=f"sqlite:///{user.project}/mlflow.db")
            limit = time.monotonic() + 200
            runs: list[Any] = []
            while (
                time.monotonic() < limit
                and process.poll() is None
                and not (runs and runs[0].data.metrics.get("round/seconds"))
            ):
                time.sleep(1)
                if (user.project / "mlflow.db").exists() and (
                    user.project / "mlartifacts"
                ).exists():
                    experiment = client.get_experiment_by_name("fedpipe")
                    runs = (
                        list(
                            client.search_runs(
                                [experiment.experiment_id], "tags.mlflow.runName = 'long'"
                            )
                        )
                        if experiment
                        else []
                    )
            os.killpg(
                process.pid, signal.SIGTERM
            )  # all of its group, as `timeout` and a service manager do
            code = process.wait(60)
        finally:
            process.kill()
    said = (user.home / "log").read_text()
    assert code == 143, said
    assert (
        said.splitlines()[-1] == "fedpipe: terminated (SIGTERM). Continue with: fedpipe resume long"
    )
    assert client.get_run(runs[0].info.run_id).info.status == "KILLED"


def test_the_readme_shows_this_run(trained: Trained) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = dict(re.findall(r"│ (before|after) +│ ([\d.]+ │ +[\d.]+) │", readme))
    for row, key in (("before", "initial"), ("after", "final")):
        loss, accuracy = map(float, shown[row].split("│"))
        assert (loss, accuracy) == pytest.approx(
            (trained[1][key]["test/loss"], trained[1][key]["test/accuracy"]), abs=2e-3
        )
    assert trained[1]["data_md5"].startswith(re.findall(r"^data +(\w+)", readme, re.MULTILINE)[0])


def test_doctor_finds_this_machine_fit(trained: Trained) -> None:
    checks = {
        c["name"]: c for c in json.loads(trained[0].run("fedpipe", "doctor", "--json").stdout)
    }
    assert {
        "python",
        "cpu",
        "tff worker",
        "git",
        "dvc",
        "mlflow store",
        "prefect",
        "tensorflow",
    } <= set(checks)
    assert [c for c in checks.values() if not c["ok"]] == []


def test_doctor_exits_1_where_the_main_job_could_not_run(trained: Trained) -> None:
    store = f"sqlite:///{trained[0].home}/stdout/mlflow.db"  # stdout is a file, not a folder
    said = trained[0].run("fedpipe", "doctor", code=1, MLFLOW_TRACKING_URI=store).stdout
    assert "FAIL mlflow store" in said
    assert "Set MLFLOW_TRACKING_URI" in said
