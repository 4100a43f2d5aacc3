"""A study of real runs: killed half-way and continued, no run twice; its figures are those of its runs."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.e2e.conftest import User

STUDY = """\
arms:
  fedavg: {}
  slow: {client.learning_rate: 0.001}
seeds: 3
contrasts: fedavg
overrides: [rounds=2, cohort.strategy=uniform, data.clients=20, runtime.checkpoint_every=1]
"""


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_and_runs_nothing_twice(
    make_user: Callable[..., User],
) -> None:
    user = make_user()
    (user.project / "which.yaml").write_text(STUDY)
    dry = json.loads(user.run("fedpipe", "study", "which.yaml", "--dry-run", "--json").stdout)
    assert dry == {"runs": 6, "finished": 0, "seconds": None, "disk_bytes": None}
    with (user.home / "killed").open("w") as log:
        first = subprocess.Popen(
            ["fedpipe", "study", "which.yaml", "--quiet"],
            cwd=user.project,
            env=user.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    runs = user.project / ".fedpipe" / "runs"

    def finished() -> list[str]:
        states = [json.loads(path.read_text()) for path in runs.glob("*/run_state.json")]
        return [state["name"] for state in states if state["status"] == "finished"]

    deadline = time.monotonic() + 280
    while len(finished()) < 2 and time.monotonic() < deadline:
        assert first.poll() is None, (user.home / "killed").read_text()
        time.sleep(0.5)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(20)
    kept = finished()
    assert 2 <= len(kept) < 6
    result = json.loads(user.run("fedpipe", "study", "which.yaml", "--json", timeout=280).stdout)
    assert (result["runs_finished"], result["runs_repeated"]) == (6, 0)
    assert result["runs_started"] <= 6 - len(kept)
    states = [json.loads(path.read_text()) for path in runs.glob("*/run_state.json")]
    assert len(states) == 6
    scores = [
        [
            s["summary"]["final"]["test/accuracy"]
            for s in sorted(states, key=lambda s: s["name"])
            if f"-{arm}-" in s["name"]
        ]
        for arm in ("fedavg", "slow")
    ]
    assert [cell["scores"] for cell in result["cells"]] == scores
    (one,) = result["comparisons"]
    assert (one["a"], one["b"]) == ("slow", "fedavg")
    assert one["difference"] == pytest.approx(sum(scores[1]) / 3 - sum(scores[0]) / 3)
    assert "Set seeds to 6 or more" in result["note"]
    single = user.train(
        "-S",
        "rounds=2",
        "-S",
        "cohort.strategy=uniform",
        "-S",
        "data.clients=20",
        "-S",
        "seed=2",
        "-S",
        "data.seed=2",
        "-S",
        "runtime.groups=1",
    )
    same = next(s for s in states if s["name"].startswith("which-fedavg-s2-"))
    assert single["weights_sha256"] == same["summary"]["weights_sha256"]
    again = json.loads(user.run("fedpipe", "study", "which.yaml", "--json").stdout)
    assert (again["runs_started"], again["cells"]) == (0, result["cells"])
