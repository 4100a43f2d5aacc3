"""Wall time of `fedpipe run`, all of it, over that of TFF's tutorial as a bare script: what tracking, flow and data versions cost.

Both train the same model on the same clients for 15 rounds, must end at the same accuracy, and take turns in pairs.
`python -m benchmarks.endtoend --json`.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.common import ROOT, BenchmarkError, console, machine, show_json, show_table
from benchmarks.lib.processes import end_group, end_what_was_started

MOST_RATIO, AIMED_RATIO = 1.5, 1.0
PAIRS, TIMEOUT_SECONDS, ACCURACY_TOLERANCE = 5, 600, 0.01
NOT_COPIED = ("tests/", "benchmarks/")


class User:
    """Someone with a clone of the project and a home of their own, both kept from run to run."""

    def __init__(self, folder: Path, uv: bool) -> None:
        """Copy the project to `folder`; with `uv` install it there too, else run the one that is installed here."""
        self.project, self._home, self._uv = folder / "project", folder / "home", uv
        self._home.mkdir()
        for name in self._git(ROOT, "ls-files", "-z").split("\0"):
            if (ROOT / name).is_file() and not name.startswith(NOT_COPIED):
                (self.project / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.project / name)
        for command in (
            ["init", "--quiet"],
            ["add", "--all"],
            ["commit", "--quiet", "--message", "A clone"],
        ):
            self._git(
                self.project,
                "-c",
                "user.name=Benchmark",
                "-c",
                "user.email=benchmark@example.org",
                *command,
            )
        self._python = Path(sys.executable)
        if uv:
            self.timed(["uv", "sync", "--locked", "--quiet"], "uv sync")
            self._python = self.project / ".venv" / "bin" / "python"
        _require_bytecode(self._python)

    def fedpipe(self) -> tuple[float, dict[str, Any]]:
        """Return the wall seconds of `fedpipe run` and its summary."""
        program = ["uv", "run", "fedpipe"] if self._uv else [str(self._python.with_name("fedpipe"))]
        seconds, output = self.timed([*program, "run", "--json", "--timings"], "fedpipe run")
        summary: dict[str, Any] = json.loads(output)
        return seconds, summary

    def tutorial(self, data: Path) -> tuple[float, dict[str, Any]]:
        """Return the wall seconds of the tutorial's script and its figures."""
        result = self._home / "tutorial.json"
        script = Path(__file__).parent / "lib" / "tutorial_script.py"
        seconds, _ = self.timed(
            [str(self._python), str(script), str(data), str(result)], "the tutorial's script"
        )
        figures: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return seconds, figures

    def timed(self, command: Sequence[str], what: str) -> tuple[float, str]:
        """Run a command and return its wall seconds and its stdout; then end what it left behind. Raises BenchmarkError."""
        out, err = self._home / "stdout", self._home / "stderr"
        with out.open("w") as stdout, err.open("w") as stderr:
            start = time.perf_counter()
            process = subprocess.Popen(
                list(command),
                cwd=self.project,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                code = process.wait(TIMEOUT_SECONDS)
                seconds = time.perf_counter() - start
            except subprocess.TimeoutExpired as error:
                raise BenchmarkError(f"{what} took more than {TIMEOUT_SECONDS} s") from error
            finally:
                process.kill()
                process.wait()
                end_group(process.pid)  # stock TFF leaves its worker; not counted
        if code:
            tail = "\n".join(err.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            raise BenchmarkError(f"{what} ended with code {code}. The end of its output:\n{tail}")
        return seconds, out.read_text(encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        others = ("PREFECT_", "MLFLOW_", "DVC_", "PYTHON", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        if self._uv:  # a user's home holds uv's cache; this home is empty
            kept["UV_CACHE_DIR"] = subprocess.run(
                ["uv", "cache", "dir"], capture_output=True, text=True, check=True
            ).stdout.strip()
        return kept | {"HOME": str(self._home), "DVC_NO_ANALYTICS": "true"}

    @staticmethod
    def _git(folder: Path, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout


def _require_bytecode(python: Path) -> None:
    """Raise BenchmarkError if TensorFlow is not compiled: the import would be most of either time."""
    code = "import importlib.util as u, pathlib; print(u.cache_from_source(u.find_spec('tensorflow').origin))"
    path = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(path).is_file():
        raise BenchmarkError(
            f"expected packages with bytecode, found no {path}. Compile it: `uv sync --compile-bytecode --reinstall`."
        )


def write_clients(project: Path, run_dir: Path, target: Path) -> None:
    """Write the examples of a run's (fixed) cohort and its central test set for the tutorial's script."""
    from fedpipe.data.population import Population
    from fedpipe.types import CohortPlan

    population = Population.open(project / "data" / "shards")
    cohort = CohortPlan.from_json((run_dir / "cohorts.json").read_text(encoding="utf-8")).cohort(1)
    arrays: dict[str, Any] = {"clients": np.array(len(cohort))}
    for k, client_id in enumerate(cohort):
        examples = population.examples(client_id)
        arrays |= {f"x{k}": examples.x, f"y{k}": examples.y}
    test = population.central_test()
    np.savez(target, **arrays, test_x=test.x, test_y=test.y)


def measure(folder: Path, pairs: int, uv: bool) -> dict[str, Any]:
    """Run a pair that does not count, then `pairs` that do, and return the figures."""
    user, data = User(folder, uv), folder / "clients.npz"
    _, summary = user.fedpipe()
    write_clients(user.project, Path(summary["run_dir"]), data)
    _refuse_other_result(summary, user.tutorial(data)[1])
    rows: list[dict[str, float]] = []
    timings: list[Mapping[str, float]] = []
    for number in range(pairs):
        fedpipe_first = number % 2 == 0
        if fedpipe_first:
            fedpipe_seconds, summary = user.fedpipe()
        tutorial_seconds, figures = user.tutorial(data)
        if not fedpipe_first:
            fedpipe_seconds, summary = user.fedpipe()
        _refuse_other_result(summary, figures)
        before_and_after = fedpipe_seconds - summary["seconds"]["total"]
        timings.append({"interpreter's start and end": before_and_after, **summary["timings"]})
        rows.append(
            {
                "fedpipe": fedpipe_seconds,
                "tutorial": tutorial_seconds,
                "ratio": fedpipe_seconds / tutorial_seconds,
            }
        )
        console.print(
            f"pair {number + 1}: fedpipe {fedpipe_seconds:.1f} s, tutorial {tutorial_seconds:.1f} s"
        )
    return {
        "ratio": statistics.median(row["ratio"] for row in rows),
        "fedpipe_seconds": statistics.median(row["fedpipe"] for row in rows),
        "tutorial_seconds": statistics.median(row["tutorial"] for row in rows),
        "pairs": rows,
        "timings": {
            phase: statistics.median(timing.get(phase, 0.0) for timing in timings)
            for phase in timings[-1]
        },
    }


def _refuse_other_result(summary: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    for when in ("initial", "final"):
        ours, theirs = summary[when]["test/accuracy"], figures[when]["test/accuracy"]
        if abs(ours - theirs) > ACCURACY_TOLERANCE:
            raise BenchmarkError(
                f"expected the same {when} accuracy within {ACCURACY_TOLERANCE}, found fedpipe {ours}, tutorial {theirs}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 2 if a side failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endtoend", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument(
        "--uv",
        action="store_true",
        help="install the clone with uv and start fedpipe by `uv run fedpipe run`",
    )
    options = parser.parse_args(arguments)
    end_what_was_started()
    about = machine()
    try:
        with tempfile.TemporaryDirectory(prefix="fedpipe-endtoend-") as name:
            result = measure(Path(name), options.pairs, options.uv)
    except BenchmarkError as err:
        console.print(str(err), markup=False, style="red")
        return 2
    show_table(
        "where fedpipe's seconds go",
        ["phase", "median s"],
        [[phase, f"{value:.2f}"] for phase, value in result["timings"].items()],
    )
    console.print(
        f"fedpipe run {result['fedpipe_seconds']:.2f} s, the tutorial's script {result['tutorial_seconds']:.2f} s (medians);"
    )
    console.print(
        f"median ratio of the pairs {result['ratio']:.2f} (bar: at most {MOST_RATIO}, aim {AIMED_RATIO})"
    )
    if options.json:
        show_json({**result, "machine": about})
    return 0


if __name__ == "__main__":
    sys.exit(main())
