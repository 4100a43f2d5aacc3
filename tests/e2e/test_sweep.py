"""A sweep as its user drives it: trials beside each other, judged by validation; killed and gone on with; pruned; interrupted."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from fedpipe.config import load_config
from fedpipe.tracking.store import Store
from fedpipe.tracking.sweeps import read_sweep

LONG = 900
"""Seconds that several trainings may take on a machine that has other work."""

OVERRIDES = ["data.validation_fraction=0.2", "cohort.strategy=uniform"]
RATES = {
    "search": "grid",
    "overrides": [*OVERRIDES, "rounds=3"],
    "space": {"client.learning_rate": {"choices": [0.1, 0.01]}},
}


def write(user: Any, name: str, **values: Any) -> None:
    (user.project / f"{name}.yaml").write_text(yaml.safe_dump(RATES | values))


def store_of(user: Any) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{user.project}/mlflow.db")


def trials(user: Any, parent: str) -> list[Any]:
    runs = store_of(user).search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent}'")
    return sorted(runs, key=lambda run: int(run.data.tags["fedpipe.sweep_child"]))


def start(user: Any, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
    with (user.home / "out").open("w") as out, (user.home / "err").open("w") as err:
        return subprocess.Popen(
            command,
            cwd=user.project,
            env=user.environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )


def none_left(user: Any) -> None:
    """No process works in the project's folder."""

    def left() -> list[Any]:
        return [
            p.info
            for p in psutil.process_iter(["cwd", "cmdline"])
            if p.info["cwd"] == str(user.project)
        ]

    limit = time.monotonic() + 15
    while left() and time.monotonic() < limit:
        time.sleep(0.1)
    assert left() == []


def wait_until(condition: Any, process: "subprocess.Popen[bytes]", user: Any) -> None:
    limit = time.monotonic() + LONG
    while not condition():
        assert process.poll() is None, (user.home / "err").read_text()
        assert time.monotonic() < limit
        time.sleep(0.02)


def rounds_done(user: Any, name: str) -> int:
    path = user.project / ".fedpipe" / "runs" / name / "rounds.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_sweep_from_file_to_preset(make_user: Any) -> None:
    user = make_user()
    write(user, "rates")
    summary = json.loads(user.run("fedpipe", "sweep", "rates.yaml", "--json").stdout)
    assert summary["counts"] == {"finished": 2, "pruned": 0, "failed": 0, "interrupted": 0}
    assert summary["ran"] == [0, 1]
    client = store_of(user)
    parent = client.get_run(summary["run_id"])
    assert (parent.info.run_name, parent.info.status) == ("rates", "FINISHED")
    nested = trials(user, summary["run_id"])
    assert [run.info.status for run in nested] == ["FINISHED"] * 2
    assert {run.data.params["client.learning_rate"] for run in nested} == {"0.1", "0.01"}
    for run, trial in zip(nested, summary["children"], strict=True):
        history = [
            metric.value
            for metric in client.get_metric_history(run.info.run_id, "validation/accuracy")
        ]
        assert len(history) == 4
        assert (
            trial["value"] == run.data.metrics["sweep/value"] == max(history)
        )  # at the round that validation chose
        assert run.data.params["runtime.groups"] == "1"  # and not the machine's cores
    best = max(summary["children"], key=lambda trial: trial["value"])
    assert summary["best"] == best
    assert parent.data.metrics["sweep/best"] == best["value"]
    rate = f"client.learning_rate={best['params']['client.learning_rate']}"
    expected = load_config(
        user.project / "params.yaml", [*OVERRIDES, "rounds=3", "runtime.groups=1", rate]
    )
    assert load_config(Path(summary["preset"])) == expected
    there = {file.path for file in client.list_artifacts(summary["run_id"], "sweep")}
    names = (
        "children.csv",
        "children.json",
        "parallel_coordinates.svg",
        "best.yaml",
    )
    assert there == {f"sweep/{name}" for name in names}
    view = read_sweep(Store(f"sqlite:///{user.project}/mlflow.db", "", "", client), "rates")
    assert [(c.number, c.run_id, c.state, c.value, c.params) for c in view.trials] == [
        (c["number"], c["run_id"], "finished", c["value"], c["params"]) for c in summary["children"]
    ]
    assert view.best is not None
    assert view.best.number == best["number"]
    none_left(user)
    again = json.loads(user.run("fedpipe", "sweep", "rates.yaml", "--resume", "--json").stdout)
    assert (again["ran"], again["best"], again["run_id"]) == ([], best, summary["run_id"])
    write(user, "rates", space={"client.learning_rate": {"choices": [0.1, 0.5]}})
    refused = user.run("fedpipe", "sweep", "rates.yaml", code=2).stderr
    assert "sweep rates: expected the settings that it was started with, found space=" in refused


def test_what_is_refused_starts_nothing(user: Any) -> None:
    write(user, "rates", metric="test/accuracy")
    assert (
        "Test data never choose anything."
        in user.run("fedpipe", "sweep", "rates.yaml", code=2).stderr
    )
    write(user, "rates", overrides=["rounds=3"])
    assert "needs validation examples" in user.run("fedpipe", "sweep", "rates.yaml", code=2).stderr
    write(user, "rates")
    none = user.run("fedpipe", "sweep", "rates.yaml", "--resume", code=2).stderr
    assert "expected a sweep 'rates' that was started here, found none" in none
    assert not (user.project / "mlflow.db").exists()
    assert not (user.project / ".fedpipe").exists()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_killed_sweep_goes_on_with_what_has_no_end_and_to_the_same_bits(make_user: Any) -> None:
    user = make_user()
    write(
        user,
        "calm",
        space={"client.learning_rate": {"choices": [0.1, 0.01, 0.03]}},
        overrides=[*OVERRIDES, "rounds=60"],
        max_parallel=2,
    )
    (user.project / "struck.yaml").write_text((user.project / "calm.yaml").read_text())
    calm = json.loads(user.run("fedpipe", "sweep", "calm.yaml", "--json", timeout=LONG).stdout)
    process = start(user, "fedpipe", "sweep", "struck.yaml", "--json")
    wait_until(lambda: rounds_done(user, "struck-002") > 20, process, user)
    process.send_signal(signal.SIGKILL)
    process.wait()
    none_left(user)
    parent = json.loads(
        (user.project / ".fedpipe" / "sweeps" / "struck" / "sweep.json").read_text()
    )["mlflow_run_id"]
    finished = {
        run.info.run_id: run.info.end_time
        for run in trials(user, parent)
        if run.info.status == "FINISHED"
    }
    assert finished
    summary = json.loads(user.run("fedpipe", "sweep", "struck.yaml", "--json", timeout=LONG).stdout)
    nested = trials(user, parent)
    assert summary["run_id"] == parent
    assert [run.data.tags["fedpipe.sweep_child"] for run in nested] == ["0", "1", "2"]  # none twice
    assert {
        run.info.run_id: run.info.end_time for run in nested if run.info.run_id in finished
    } == finished
    assert 2 in summary["ran"]
    assert not {
        run.data.tags["fedpipe.sweep_child"] for run in nested if run.info.run_id in finished
    } & {str(n) for n in summary["ran"]}
    for run in nested:
        steps = [
            metric.step
            for metric in store_of(user).get_metric_history(run.info.run_id, "train/loss")
        ]
        assert steps == list(range(1, 61))

    def weights(of: dict[str, Any]) -> dict[str, str]:
        runs = trials(user, of["run_id"])
        return {
            run.data.params["client.learning_rate"]: run.data.tags["weights.last_sha256"]
            for run in runs
        }

    assert weights(summary) == weights(calm)
    assert [trial["value"] for trial in summary["children"]] == [
        trial["value"] for trial in calm["children"]
    ]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_ctrl_c_ends_the_children_and_their_runs_say_so(make_user: Any) -> None:
    user = make_user()
    write(user, "rates", overrides=[*OVERRIDES, "rounds=2000"])
    process = start(user, "fedpipe", "sweep", "rates.yaml", "--json")
    wait_until(lambda: rounds_done(user, "rates-000") > 3, process, user)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 130, (user.home / "err").read_text()
    assert (user.home / "err").read_text().splitlines()[
        -1
    ] == "fedpipe: interrupted. Continue with: fedpipe sweep rates.yaml --json"
    none_left(user)
    parent = json.loads(
        (user.project / ".fedpipe" / "sweeps" / "rates" / "sweep.json").read_text()
    )["mlflow_run_id"]
    assert store_of(user).get_run(parent).info.status == "KILLED"
    assert {run.info.status for run in trials(user, parent)} == {"KILLED"}


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_hopeless_children_are_pruned_and_failing_ones_are_failed(make_user: Any) -> None:
    user = make_user()
    write(
        user,
        "rates",
        space={"client.learning_rate": {"choices": [0.1, 1e-7, 1e38]}},
        overrides=[*OVERRIDES, "rounds=40"],
        pruning={"after_children": 1, "after_rounds": 5},
        max_parallel=1,
        seed=5,  # its order is that of the choices
    )
    summary = json.loads(user.run("fedpipe", "sweep", "rates.yaml", "--json", timeout=LONG).stdout)
    by_rate = {trial["params"]["client.learning_rate"]: trial for trial in summary["children"]}
    assert by_rate[0.1]["state"] == "finished"
    assert by_rate[1e38]["state"] == "failed"
    assert "its update or loss is not finite" in by_rate[1e38]["reason"]
    runs = {
        float(run.data.params["client.learning_rate"]): run
        for run in trials(user, summary["run_id"])
    }
    assert {rate: run.data.tags["fedpipe.sweep_state"] for rate, run in runs.items()} == {
        r: c["state"] for r, c in by_rate.items()
    }
    assert by_rate[1e-7]["state"] == "pruned"
    assert runs[1e-7].info.status == "KILLED"
    assert by_rate[1e-7]["reason"].startswith("round 5: validation/accuracy")
    steps = [
        metric.step
        for metric in store_of(user).get_metric_history(runs[1e-7].info.run_id, "train/loss")
    ]
    assert steps == [1, 2, 3, 4, 5]
    none_left(user)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_same_space_in_dvcs_queue(make_user: Any) -> None:
    """The commands of docs/sweeps.md."""
    user = make_user()
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{user.project}/mlflow.db"}
    user.run("fedpipe", "run", "-S", "rounds=1", "--quiet", **store)
    assert user.git_status() == ""
    space = ["-S", "client.learning_rate=0.01,0.1", "-S", "client.epochs=1,2", "-S", "rounds=5"]
    user.run("dvc", "exp", "run", "--queue", "--name", "rate", *space, **store)
    user.run("dvc", "exp", "run", "--run-all", timeout=LONG, **store)
    table = user.run("dvc", "exp", "show", "--csv", "--no-pager").stdout
    assert all(f"rate-{number}" in table for number in range(1, 5))
    runs = store_of(user).search_runs(["1"], "tags.`dvc.experiment` LIKE 'rate-%'")
    assert {run.info.status for run in runs} == {"FINISHED"}
    found = {
        (run.data.params["client.learning_rate"], run.data.params["client.epochs"]) for run in runs
    }
    assert found == {("0.01", "1"), ("0.01", "2"), ("0.1", "1"), ("0.1", "2")}
    user.run("dvc", "queue", "stop")  # its worker would wait for more
    user.run("dvc", "exp", "apply", "rate-1")
    assert (
        json.loads((user.project / "outputs" / "train" / "lineage.json").read_text())["dvc"][
            "experiment"
        ]
        == "rate-1"
    )
    none_left(user)
