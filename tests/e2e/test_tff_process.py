"""`examples/tff_learning` as a user runs it: killed and resumed to the same bits, and refused before anything is trained."""

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest

ROUNDS = 40
OPTIONS = ("-S", f"rounds={ROUNDS}", "-S", "cohort.strategy=uniform", "-S", "client.shuffle=true")


@pytest.fixture(scope="module")
def user(make_user: Any) -> Any:
    """Someone in the example's folder."""
    person = make_user()
    person.project = person.project / "examples" / "tff_learning"
    return person


def test_what_does_not_fit_is_one_line_and_nothing_is_trained(user: Any) -> None:
    settings = ("-S", "model.name=cnn")
    done = user.run("fedpipe", "run", *settings, code=2)
    line = done.stderr.strip().splitlines()[-1]
    assert "algorithm.name=keras_fedavg:build: expected weights of the process that are" in line
    assert "model.name=cnn" in line
    assert "found float32[784,10], float32[10]. Set model.name" in line
    assert not list((user.project / ".fedpipe" / "runs").glob("*/checkpoints/round_*"))


@pytest.mark.slow
def test_a_killed_run_is_resumed_to_the_same_bits(user: Any) -> None:
    expected = user.train(*OPTIONS)
    runs = user.project / ".fedpipe" / "runs"
    before = set(runs.iterdir())
    with (user.home / "killed").open("w") as log:
        process = subprocess.Popen(
            ["fedpipe", "run", "--json", *OPTIONS],
            cwd=user.project,
            env=user.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    limit = time.monotonic() + 200
    rounds = 0
    while rounds < 5 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
        for folder in set(runs.iterdir()) - before:
            journal = folder / "journal.jsonl"
            if journal.exists():
                rounds = journal.read_text().count('"kind": "metrics"')
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (summary,) = user.run("fedpipe", "resume", "--json").stdout.splitlines()
    resumed = json.loads(summary)
    assert resumed["weights_sha256"] == expected["weights_sha256"]
    assert resumed["final"] == expected["final"]
    assert resumed["rounds"] == ROUNDS
