"""A sweep around trials that only say figures: what runs again after a kill, what ends early, and that nobody outlives the sweep."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedpipe.errors import RoundError
from fedpipe.project.paths import Project
from fedpipe.runs.state import read_state
from fedpipe.sweep import trial_processes as sweep_pool
from fedpipe.sweep.sweep import run_sweep
from fedpipe.tracking.store import read_store
from fedpipe.tracking.tags import SWEEP_SPACE

STAND_IN = (sys.executable, str(Path(__file__).with_name("sweep_stand_in.py")))
SWEEP = {
    "search": "grid",
    "overrides": ["data.validation_fraction=0.2", "rounds=5"],
    "space": {"client.learning_rate": {"choices": [0.1, 0.01, 1.0, 1e-3]}},
    "max_parallel": 2,
    "memory_per_child_mb": 64,
}
PARENT = """
import sys
from pathlib import Path
from fedpipe.sweep import trial_processes as sweep_pool
from fedpipe.project.paths import Project
from fedpipe.sweep.sweep import run_sweep
sweep_pool.TRIAL = tuple(sys.argv[2:])
run_sweep(Project(Path(sys.argv[1])), Path(sys.argv[1]) / "rates.yaml")
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One project, whose data and store are made once; each test has a sweep of another name."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "params.yaml").write_text("")
    return Project(folder)


@pytest.fixture
def project(shared: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(sweep_pool, "TRIAL", STAND_IN)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("slow", "strike"):
        (shared.root / name).unlink(missing_ok=True)
    return shared


def write(project: Project, name: str, **values: Any) -> Path:
    path = project.root / "rates.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, "name": name, **values}))
    return path


def wait(condition: Callable[[], Any], what: str) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


def starts(project: Project, name: str) -> list[int]:
    """How often each trial was started."""
    return [
        len(path.read_text().split())
        for path in sorted(project.private.glob(f"runs/{name}-*/starts"))
    ]


def alive(project: Project, name: str) -> list[int]:
    pids = [
        int(pid)
        for path in project.private.glob(f"runs/{name}-*/starts")
        for pid in path.read_text().split()
    ]
    return [
        pid
        for pid in pids
        if (stat := Path(f"/proc/{pid}/stat")).exists()
        and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    ]


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_sweep_that_was_ended_goes_on_with_what_has_no_end(
    project: Project, number: signal.Signals
) -> None:
    name = number.name.lower()
    path = write(project, name)
    (project.root / "slow").touch()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(project.root), *STAND_IN], stderr=subprocess.DEVNULL
    )
    rows = [project.run_dir(f"{name}-00{n}") / "rounds.jsonl" for n in range(2)]
    wait(
        lambda: all(row.exists() and row.read_text().count("\n") == 3 for row in rows),
        "the first two trials did not begin",
    )
    (project.root / "slow").unlink()  # they end, the next two begin and are held up
    wait(
        lambda: (state := read_state(project.run_dir(f"{name}-001"))) and state.finished,
        "a trial did not finish",
    )
    (project.root / "slow").touch()
    wait(lambda: len(starts(project, name)) >= 3, "no third trial")
    parent.send_signal(number)
    parent.wait(30)
    wait(lambda: not alive(project, name), "a trial outlived the sweep")
    ended = [
        n
        for n in range(len(starts(project, name)))
        if (state := read_state(project.run_dir(f"{name}-{n:03d}"))) and state.finished
    ]
    before = starts(project, name)
    (project.root / "slow").unlink()
    summary = run_sweep(project, path, resume=True)
    assert summary["counts"] == {"finished": 4, "pruned": 0, "failed": 0, "interrupted": 0}
    assert [
        trial["params"]["client.learning_rate"]
        for trial in summary["children"]
        if trial["value"] == 0.05
    ] == [0.1]
    assert summary["best"]["params"] == {"client.learning_rate": 0.1}
    again = starts(project, name)
    assert all(again[n] == before[n] == 1 for n in ended)
    assert all(n not in summary["ran"] or again[n] == before[n] for n in ended)
    for n in range(4):  # those that were begun went on where they were: each round once
        assert (project.run_dir(f"{name}-{n:03d}") / "rounds.jsonl").read_text().count("\n") == 6
    assert run_sweep(project, path)["ran"] == []
    store = read_store(project.root)
    parent_run = store.client.get_run(summary["run_id"])
    assert (parent_run.info.status, parent_run.data.metrics["sweep/best"]) == ("FINISHED", 0.05)
    assert parent_run.data.tags[SWEEP_SPACE] == '["client.learning_rate"]'
    assert (
        len(
            store.client.search_runs(
                [parent_run.info.experiment_id], f"attributes.run_name = '{name}'"
            )
        )
        == 1
    )


def test_a_child_below_the_median_is_pruned_and_one_that_fails_is_failed(project: Project) -> None:
    pruning = {"after_children": 1, "after_rounds": 2}
    space = {"client.learning_rate": {"choices": [0.1, 1e-7, 1e30]}}
    path = write(
        project, "hopeless", space=space, max_parallel=1, pruning=pruning, seed=5
    )  # its order is that of the choices
    summary = run_sweep(project, path, out=project.root / "best.yaml")
    assert [trial["state"] for trial in summary["children"]] == ["finished", "pruned", "failed"]
    assert summary["children"][1]["reason"].startswith(
        "round 2: validation/accuracy 0.0029 is worse than the median"
    )
    assert summary["children"][2]["reason"] == "round 1: expected finite server weights"
    assert (project.run_dir("hopeless-001") / "rounds.jsonl").read_text().count(
        "\n"
    ) == 3  # told at round 2 of 5
    best = yaml.safe_load((project.root / "best.yaml").read_text())
    assert (best["client"]["learning_rate"], best["rounds"], best["runtime"]["groups"]) == (
        0.1,
        5,
        1,
    )
    more = write(project, "fails", space={"client.learning_rate": {"choices": [1e30]}})
    with pytest.raises(
        RoundError,
        match="expected a trial that finishes, found none of 1: trial 0 failed: round 1: expected finite",
    ):
        run_sweep(project, more)


def test_a_child_that_is_killed_goes_on_once(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    (project.root / "strike").touch()
    path = write(project, "struck", space={"client.learning_rate": {"choices": [0.1, 0.01]}})
    summary = run_sweep(project, path)
    assert summary["counts"]["finished"] == 2
    assert starts(project, "struck") == [2, 2]
    assert caplog.text.count("ended by SIGKILL; it is resumed from its checkpoint") == 2
