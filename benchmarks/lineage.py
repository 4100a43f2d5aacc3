"""From a model back to what made it: a run repeated to the bit, the models that saw a client, and how long that takes over many runs.

In a scratch clone: trains, pushes the data to a DVC remote, deletes them here, reproduces; registers three models, forgets a client of
two of them; sweeps eight children, kills the sweep half-way, and goes on with it. Then asks for a client in a store of 2,000 synthetic
runs. `python -m benchmarks.lineage --json`; docs/benchmarks.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.common import ROOT, BenchmarkError, console, machine, show_json, show_table
from benchmarks.lib.killed_sweep import killed_sweep
from benchmarks.lib.processes import end_what_was_started
from benchmarks.lib.user import User

RUNS, SHORT_ROUNDS, MODEL = 2000, 3, "digits"
CLIENTS, COHORT, ROUNDS = 100, 10, 15
"""Of the synthetic runs: as the default settings have them."""


class Scratch(User):
    """A clone whose DVC remote is a folder beside it."""

    def __init__(self, folder: Path) -> None:
        """Copy the project and commit it with the remote."""
        folder.mkdir(parents=True)
        super().__init__(folder, uv=False)
        self._remote = folder / "remote"
        self.dvc("remote", "add", "--default", "here", str(self._remote))
        self._git(
            self.project,
            "-c",
            "user.name=Benchmark",
            "-c",
            "user.email=b@example.org",
            "commit",
            "-qam",
            "A remote",
        )

    def ask(self, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Return the wall seconds of a `fedpipe` command, and its JSON."""
        seconds, output = self.timed(
            [str(self._python.with_name("fedpipe")), *arguments, "--json"],
            f"fedpipe {arguments[0]}",
        )
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        return seconds, answer

    def begin(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a `fedpipe` command and return at once; its output goes to files."""
        with (
            (self._home / "begun.out").open("w") as out,
            (self._home / "begun.err").open("w") as err,
        ):
            return subprocess.Popen(
                [str(self._python.with_name("fedpipe")), *arguments],
                cwd=self.project,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def dvc(self, *arguments: str) -> None:
        """Run a `dvc` command."""
        self.timed([str(self._python), "-m", "dvc", *arguments], f"dvc {arguments[0]}")

    def delete_data(self) -> None:
        """Delete the data and DVC's cache: what is left is in the remote."""
        shutil.rmtree(self.project / "data")
        shutil.rmtree(self.project / ".dvc" / "cache")


def reproduced(clone: Scratch) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run's summary and what `fedpipe reproduce` says of it once its data are in the remote alone."""
    _, summary = clone.ask("run", "--name", "first")
    clone.dvc("push")
    clone.delete_data()
    _, said = clone.ask("reproduce", summary["run_id"])
    return summary, said


def models_of_a_client(clone: Scratch, first: dict[str, Any]) -> tuple[int, list[str], list[str]]:
    """Return how many models saw a client, which `lineage` finds, and which `forget` marks.

    Of three registered models the last was trained with another seed, by other clients.
    """
    clone.dvc("pull", "data/shards")
    runs = [first["run_id"]]
    for seed in (1, 2):
        options = ["-S", f"seed={seed}", "-S", f"rounds={SHORT_ROUNDS}"]
        runs.append(clone.ask("run", "--name", f"seed {seed}", *options)[1]["run_id"])
    client = _client(f"sqlite:///{clone.project}/mlflow.db")
    client.create_registered_model(MODEL)
    for run_id in runs:
        client.create_model_version(MODEL, f"runs:/{run_id}/model", run_id)
    cohorts = [_cohort(client, run_id) for run_id in runs]
    chosen = sorted((cohorts[0] & cohorts[1]) - cohorts[2])[0]
    _, forgotten = clone.ask("forget", chosen)
    _, found = clone.ask("lineage", "--client", chosen)
    return (
        sum(chosen in cohort for cohort in cohorts),
        [f"{one['name']}/{one['version']}" for one in found["versions"]],
        forgotten["versions_marked"],
    )


def many_runs(folder: Path, count: int) -> None:
    """Make a project in `folder` whose store has so many runs, each with the params, tags, metrics and table of clients of a real one.

    They ended five minutes apart: 2,000 runs are those of a week.
    """
    from fedpipe.tracking.store import open_store, prepare_environment

    prepare_environment()
    from mlflow.entities import Metric, Param, RunTag

    from fedpipe.config import flatten, load_config
    from fedpipe.seeding import generator
    from fedpipe.tracking.participation import REPORTED, ClientRound, write_clients

    folder.mkdir(parents=True)
    shutil.copy2(ROOT / "params.yaml", folder)
    store = open_store(folder, "fedpipe")
    params = [
        Param(key, str(value))
        for key, value in flatten(load_config(folder / "params.yaml")).items()
    ]
    tags = {f"version.package{number}": "1.2.3" for number in range(25)} | {
        "fedpipe.plan_sha256": "0" * 64,
        "data.population": "0" * 16,
    }
    now = int(time.time() * 1000)
    for number in range(count):
        run_id = store.client.create_run(store.experiment_id, run_name=f"run {number}").info.run_id
        metrics = [
            Metric(f"final/metric{i}", 0.5, 1_700_000_000_000 + number, 0) for i in range(10)
        ]
        store.client.log_batch(
            run_id, metrics, params, [RunTag(key, value) for key, value in tags.items()]
        )
        draw = generator(number, "benchmark")
        cohorts = [draw.choice(CLIENTS, COHORT, replace=False).tolist() for _ in range(ROUNDS)]
        rows = [
            ClientRound(r, f"c{one:03d}", REPORTED, 40)
            for r, cohort in enumerate(cohorts, 1)
            for one in cohort
        ]
        write_clients(folder / "clients.parquet", rows)
        store.client.log_artifact(run_id, str(folder / "clients.parquet"), "lineage")
        store.client.set_terminated(run_id, end_time=now - (count - number) * 300_000)


def measure_many(folder: Path, clone: Scratch, count: int) -> dict[str, float]:
    """Return the seconds of `fedpipe lineage --client` over many runs: when the index is made, and when it is there."""
    start = time.perf_counter()
    many_runs(folder, count)
    console.print(f"{count} runs made in {time.perf_counter() - start:.0f} s")
    clone.project = folder
    index_seconds, found = clone.ask("lineage", "--client", "c003")
    seconds, again = clone.ask("lineage", "--client", "c003")
    # Of rounds with 10 of 100 clients: 1 - 0.9^15 = 79 % of the runs have a client; the draw is fixed.
    if found["runs"] != again["runs"] or not 0.7 * count < len(found["runs"]) < 0.9 * count:
        raise BenchmarkError(
            f"expected a client in about 79 % of {count} runs, found it in {len(found['runs'])}"
        )
    return {
        "index_seconds": index_seconds,
        "lineage_seconds": min(seconds, clone.ask("lineage", "--client", "c004")[0]),
    }


def _client(uri: str) -> Any:
    from fedpipe.tracking.store import prepare_environment

    prepare_environment()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _cohort(client: Any, run_id: str) -> set[str]:
    plan = json.loads(
        Path(client.download_artifacts(run_id, "plan/cohorts.json")).read_text(encoding="utf-8")
    )
    return {one for cohort in plan["cohorts"] for one in cohort}


def measure_chain(clone: Scratch) -> dict[str, Any]:
    """Return what became of the run that was reproduced and of the client that was forgotten."""
    summary, said = reproduced(clone)
    console.print(f"reproduced: {said['result']}, data {said['data']['how']}", markup=False)
    expected, found, marked = models_of_a_client(clone, summary)
    console.print(
        f"models that saw the client: {', '.join(found)} of {expected}; marked: {', '.join(marked)}",
        markup=False,
    )
    if len(found) != expected or sorted(found) != sorted(marked):
        raise BenchmarkError(
            f"expected {expected} models that saw the client, found {len(found)}, of which {len(marked)} are marked"
        )
    return {
        "reproduced": said["result"],
        "reproduce_seconds": said["seconds"],
        "data": said["data"]["how"],
        "models_found": len(found),
        "models_marked": len(marked),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 2 if it could not be run, a run was not repeated or a model not found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lineage", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument(
        "--only",
        choices=("chain", "sweep", "many"),
        help="the run and its models, the sweep, or the many runs",
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"synthetic runs (default: {RUNS})")
    options = parser.parse_args(arguments)
    end_what_was_started()
    result: dict[str, Any] = {}
    about = machine()
    try:
        with tempfile.TemporaryDirectory(prefix="fedpipe-lineage-") as name:
            clone = Scratch(Path(name) / "clone")
            if options.only in (None, "chain"):
                result |= measure_chain(clone)
            if options.only in (None, "sweep"):
                result |= killed_sweep(clone)
            if options.only in (None, "many"):
                many = measure_many(Path(name) / "many", clone, options.runs)
                result |= {f"{key}_{options.runs}_runs": value for key, value in many.items()}
    except BenchmarkError as err:
        console.print(str(err), markup=False, style="red")
        return 2
    show_table(
        "lineage",
        ["what", "found"],
        [
            [key, f"{value:.2f}" if isinstance(value, float) else str(value)]
            for key, value in result.items()
        ],
    )
    if options.json:
        show_json({**result, "machine": about})
    return 0


if __name__ == "__main__":
    sys.exit(main())
