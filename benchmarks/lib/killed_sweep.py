"""A sweep of eight trials that is killed half-way and goes on: what has finished is not run again, what was begun goes on."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

import psutil
import yaml

from benchmarks.lib.common import BenchmarkError, console

TRIALS, ROUNDS, LIMIT_SECONDS, GONE_SECONDS = 8, 30, 1800.0, 15.0
NAME = "killed"
SWEEP = {
    "name": NAME,
    "search": "grid",
    "overrides": ["data.validation_fraction=0.2", "cohort.strategy=uniform", f"rounds={ROUNDS}"],
    "space": {
        "client.learning_rate": {"min": 0.01, "max": 1.0, "log": True, "points": 4},
        "client.epochs": {"min": 1, "max": 2},
    },
}


class Clone(Protocol):
    """What this asks of a scratch clone."""

    project: Path

    def begin(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a `fedpipe` command."""

    def ask(self, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Return the wall seconds of a `fedpipe` command, and its JSON."""


def killed_sweep(clone: Clone) -> dict[str, Any]:
    """Return what became of the trials. Raises BenchmarkError if one is missing, was run twice, or outlived the kill."""
    (clone.project / "killed.yaml").write_text(yaml.safe_dump(SWEEP), encoding="utf-8")
    process = clone.begin("sweep", "killed.yaml", "--json")
    limit = time.monotonic() + LIMIT_SECONDS
    try:
        while len(_finished(clone)) < TRIALS // 2:
            if process.poll() is not None or time.monotonic() > limit:
                raise BenchmarkError(
                    f"expected a sweep that goes on, it ended with {process.poll()} after {len(_finished(clone))} trials"
                )
            time.sleep(0.5)
    finally:
        process.kill()
        process.wait()
    before, orphans = _finished(clone), _left(clone)
    begun = len(list((clone.project / ".fedpipe" / "runs").glob(f"{NAME}-*")))
    seconds, summary = clone.ask("sweep", "killed.yaml")
    after = _finished(clone)
    repeated = sum(
        number in summary["ran"] or after.get(number) != runs for number, runs in before.items()
    )
    finished = sum(len(runs) == 1 for runs in after.values())
    console.print(
        f"sweep: {len(before)} of {TRIALS} trials finished before the kill, {finished} after it, {repeated} repeated"
    )
    if (finished, repeated, orphans) != (TRIALS, 0, 0):
        raise BenchmarkError(
            f"expected {TRIALS} trials finished, none repeated, no orphan; found {finished}, {repeated}, {orphans}"
        )
    return {
        "children": TRIALS,
        "children_finished_before_kill": len(before),
        "children_begun_before_kill": begun,
        "children_finished": finished,
        "children_repeated": repeated,
        "orphans": orphans,
        "resume_seconds": seconds,
    }


def _finished(clone: Clone) -> dict[int, list[tuple[str, int]]]:
    """Return, by trial, the ids and end times of its finished MLflow runs, of trials whose own state says that they finished too:
    it does so last."""
    path = clone.project / ".fedpipe" / "sweeps" / NAME / "sweep.json"
    parent = (
        json.loads(path.read_text(encoding="utf-8")).get("mlflow_run_id") if path.exists() else None
    )
    if parent is None:
        return {}
    from fedpipe.tracking.store import prepare_environment

    prepare_environment()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{clone.project}/mlflow.db")
    experiment = client.get_run(parent).info.experiment_id
    states = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (clone.project / ".fedpipe" / "runs").glob("*/run_state.json")
    ]
    ended = {
        int(state["tags"]["fedpipe.sweep_child"])
        for state in states
        if "tags" in state and state["status"] == "finished"
    }
    found: dict[int, list[tuple[str, int]]] = {}
    for run in client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'"):
        number = int(run.data.tags["fedpipe.sweep_child"])
        if run.info.status == "FINISHED" and number in ended:
            found.setdefault(number, []).append((run.info.run_id, run.info.end_time))
    return found


def _left(clone: Clone) -> int:
    """Return how many processes still work in the project, after giving them time to end."""
    here, limit = str(clone.project.resolve()), time.monotonic() + GONE_SECONDS
    while True:
        left = [
            one
            for one in psutil.process_iter(["cwd", "status"])
            if one.info["cwd"] == here and one.info["status"] != "zombie"
        ]
        if not left or time.monotonic() > limit:
            return len(left)
        time.sleep(0.1)
