"""Runs that are killed, interrupted, or lose their store, and go on: the same bits, each step once, no process left."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from fedpipe.tracking.participation import read_clients

ROUNDS = 60
SETTINGS = [
    f"rounds={ROUNDS}",
    "cohort.strategy=uniform",
    "client.shuffle=true",
    "server.optimizer=adam",
    "server.learning_rate=0.01",
]
OPTIONS = [part for setting in SETTINGS for part in ("-S", setting)]


@pytest.fixture(scope="module")
def uninterrupted(make_user: Any) -> tuple[Any, dict[str, Any], float]:
    """Someone with a clone, what a run there says, and how long it took."""
    user = make_user()
    user.train("-S", "rounds=1")  # what a first run makes is there
    start = time.monotonic()
    return user, user.train(*OPTIONS), time.monotonic() - start


def start(user: Any, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
    env = user.environment() | environment
    with (user.home / "killed").open("w") as log:
        return subprocess.Popen(
            command,
            cwd=user.project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def newest_run(user: Any) -> Path:
    return max(
        (user.project / ".fedpipe" / "runs").iterdir(), key=lambda folder: folder.stat().st_ctime_ns
    )


def rounds_of(user: Any, before: set[Path]) -> int:
    """Return the rounds in the journal of the run that was started since."""
    new = set((user.project / ".fedpipe" / "runs").iterdir()) - before
    journals = [folder / "journal.jsonl" for folder in new if (folder / "journal.jsonl").exists()]
    return sum(path.read_text().count('"kind": "metrics"') for path in journals)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL a run; what it had started must be gone by itself."""
    family = [
        process.pid,
        *(child.pid for child in psutil.Process(process.pid).children(recursive=True)),
    ]
    process.send_signal(signal.SIGKILL)
    process.wait()
    limit = time.monotonic() + 15
    while time.monotonic() < limit and any(map(psutil.pid_exists, family)):
        time.sleep(0.1)
    left = [" ".join(psutil.Process(pid).cmdline()) for pid in family if psutil.pid_exists(pid)]
    # Prefect's temporary server sees that its flow is gone and ends by itself a little later.
    assert not [line for line in left if "worker_binary" in line or "worker_owner" in line], left


def check(user: Any, summary: dict[str, Any], expected: dict[str, Any]) -> None:
    assert summary["weights_sha256"] == expected["weights_sha256"]
    assert summary["final"] == expected["final"]
    client = MlflowClient(tracking_uri=f"sqlite:///{user.project}/mlflow.db")
    run = client.get_run(summary["run_id"])
    assert run.info.status == "FINISHED"
    for key in run.data.metrics:
        steps = [metric.step for metric in client.get_metric_history(summary["run_id"], key)]
        if key.startswith("final/"):
            assert steps == [0], key
        elif key.startswith("test/"):
            assert steps == list(range(ROUNDS + 1)), key
        else:
            assert steps == list(range(1, ROUNDS + 1)), key
    table = read_clients(
        Path(client.download_artifacts(summary["run_id"], "lineage/clients.parquet"))
    )
    assert {row.round_num for row in table} == set(range(1, ROUNDS + 1))
    assert len({(row.round_num, row.client_id) for row in table}) == len(table) == 10 * ROUNDS
    names = {file.path for file in client.list_artifacts(summary["run_id"], "weights")}
    assert {
        "weights/best.safetensors",
        "weights/last.safetensors",
        "weights/index.json",
        "weights/round_0000.safetensors",
    } <= names


def resumed(user: Any, *arguments: str) -> dict[str, Any]:
    lines = user.run("fedpipe", "resume", "--json", *arguments).stdout.splitlines()
    assert len(lines) == 1
    summary: dict[str, Any] = json.loads(lines[0])
    return summary


@pytest.mark.slow
@pytest.mark.parametrize("at_round", [1, 23])
def test_a_killed_run_goes_on_to_the_same_bits_and_with_the_same_data_alone(
    uninterrupted: Any, at_round: int
) -> None:
    user, expected, _ = uninterrupted
    before = set((user.project / ".fedpipe" / "runs").iterdir())
    process = start(user, "fedpipe", "run", "--json", *OPTIONS)
    limit = time.monotonic() + 120
    while (
        rounds_of(user, before) <= at_round and process.poll() is None and time.monotonic() < limit
    ):
        time.sleep(0.01)
    kill(process)
    params = user.project / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("learning_rate: 0.01", "learning_rate: 0.02"))
    changed = user.run("fedpipe", "resume", code=2).stderr
    assert (
        "expected the settings that it was started with, found client.learning_rate=0.01 then, 0.02 now. Put these back"
        in changed
    )
    params.write_text(text)
    state_path = newest_run(user) / "run_state.json"
    state = state_path.read_text()
    state_path.write_text(json.dumps(json.loads(state) | {"data_md5": "0" * 32 + ".dir"}))
    refused = user.run("fedpipe", "resume", code=2).stderr
    assert "expected the data that it was started with, md5 00000000" in refused
    state_path.write_text(state)
    newest = max((state_path.parent / "checkpoints").glob("round_*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    done = user.run("fedpipe", "resume", "--json")
    assert f"{newest.name}: a damaged checkpoint is skipped" in done.stderr
    check(user, json.loads(done.stdout), expected)


@pytest.mark.slow
def test_nothing_to_resume_and_what_is_finished_stays(uninterrupted: Any) -> None:
    user, expected, _ = uninterrupted
    done = user.run("fedpipe", "resume", "--json", expected["run_id"])
    assert "is finished" in done.stderr
    assert json.loads(done.stdout)["weights_sha256"] == expected["weights_sha256"]
    assert "no such run in this project" in user.run("fedpipe", "resume", "nobody", code=2).stderr


@pytest.mark.slow
def test_sigint_marks_the_run_and_it_goes_on(uninterrupted: Any) -> None:
    user, expected, _ = uninterrupted
    before = set((user.project / ".fedpipe" / "runs").iterdir())
    (user.home / "tmp").mkdir()
    process = start(user, "fedpipe", "run", "--json", *OPTIONS, TMPDIR=str(user.home / "tmp"))
    limit = time.monotonic() + 120
    while rounds_of(user, before) < 5 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 130, (user.home / "killed").read_text()
    assert not list((user.home / "tmp").glob("*.py")), "code that TensorFlow generated"
    state = json.loads((newest_run(user) / "run_state.json").read_text())
    client = MlflowClient(tracking_uri=f"sqlite:///{user.project}/mlflow.db")
    assert client.get_run(state["mlflow_run_id"]).info.status == "KILLED"
    check(user, resumed(user, state["mlflow_run_id"]), expected)


def test_dvc_repro_goes_on_after_a_crash(make_user: Any) -> None:
    user = make_user()
    params = user.project / "params.yaml"
    params.write_text(params.read_text().replace("rounds: 15", "rounds: 400"))
    process = start(user, "dvc", "repro", "train")
    limit = time.monotonic() + 180
    runs = user.project / ".fedpipe" / "runs"
    while (
        not (runs.is_dir() and rounds_of(user, set()) > 30)
        and process.poll() is None
        and time.monotonic() < limit
    ):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (folder,) = runs.iterdir()
    reached = len(list((folder / "checkpoints").iterdir()))
    assert reached >= 2
    user.run("dvc", "repro", "train")
    assert [path.name for path in runs.iterdir()] == [folder.name]
    table = (user.project / "outputs" / "train" / "rounds.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["round", *map(str, range(401))]
    assert user.run("fedpipe", "resume").stdout == "nothing to resume\n"


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_twenty_kills_at_random_moments(uninterrupted: Any) -> None:
    user, expected, seconds = uninterrupted
    draw = random.Random(1)  # noqa: S311 - moments, not secrets
    for _ in range(20):
        process = start(user, "fedpipe", "run", "--json", *OPTIONS)
        try:
            process.wait(draw.uniform(1, seconds))
        except subprocess.TimeoutExpired:
            kill(process)
        summary = resumed(user)
        if summary:
            check(user, summary, expected)
