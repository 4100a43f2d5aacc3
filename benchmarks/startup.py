"""What tracking costs a process that runs once, and one that runs ten times.

- `run_over_tutorial`: wall time of `fedpipe run` over that of TFF's tutorial as a bare script (`benchmarks.endtoend` has the phases).
- `tracked_over_untracked`: wall time of a process with ten tracked runs of the default settings over that of one with ten untracked ones
  (`benchmarks/lib/many_runs.py`). Both must end at the same weights, to the bit.

`python -m benchmarks.startup --json`.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.endtoend import measure
from benchmarks.lib.common import BenchmarkError, console, machine, show_json, show_table
from benchmarks.lib.processes import end_what_was_started
from benchmarks.lib.user import User

MOST_TRACKED_OVER_UNTRACKED, MOST_RUN_OVER_TUTORIAL = 2.0, 0.6
PAIRS, RUNS = 3, 10
KINDS = ("tracked", "untracked")


def measure_many(user: User, pairs: int, runs: int) -> dict[str, Any]:
    """Run both kinds in turns, `pairs` times; return wall seconds of the processes, and of their first and later runs."""
    rows: list[dict[str, dict[str, Any]]] = []
    for number in range(pairs):
        order = KINDS if number % 2 == 0 else KINDS[::-1]
        rows.append({kind: user.many_runs(kind, runs) for kind in order})
        hashes = {sha256 for kind in KINDS for sha256 in rows[-1][kind]["weights"]}
        if len(hashes) != 1:
            raise BenchmarkError(f"expected the same weights of all runs, found {sorted(hashes)}")
        console.print(
            f"pair {number + 1}: {runs} tracked runs {rows[-1]['tracked']['wall']:.1f} s, untracked {rows[-1]['untracked']['wall']:.1f} s"
        )

    def median(kind: str, name: str) -> float:
        return statistics.median(row[kind][name] for row in rows)

    return {
        "tracked_over_untracked": statistics.median(
            row["tracked"]["wall"] / row["untracked"]["wall"] for row in rows
        ),
        "runs": runs,
        **{
            f"{kind}_{name}": median(kind, name)
            for kind in KINDS
            for name in ("wall", "first_run", "later_run")
        },
        "pairs": [{kind: row[kind]["wall"] for kind in KINDS} for row in rows],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 2 if a side failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--runs", type=int, default=RUNS, help="runs in one process")
    options = parser.parse_args(arguments)
    end_what_was_started()
    about = machine()
    try:
        with tempfile.TemporaryDirectory(prefix="fedpipe-startup-") as name:
            user = User(Path(name), uv=False)
            once = measure(user, Path(name) / "clients.npz", options.pairs)
            many = measure_many(user, options.pairs, options.runs)
    except BenchmarkError as err:
        console.print(str(err), markup=False, style="red")
        return 2
    rows = [[key, f"{value:.2f}"] for key, value in many.items() if isinstance(value, float)]
    show_table("wall seconds", ["figure", "median"], rows)
    console.print(
        f"{options.runs} tracked runs in one process over untracked: {many['tracked_over_untracked']:.2f} "
        f"(bar: at most {MOST_TRACKED_OVER_UNTRACKED})"
    )
    console.print(
        f"fedpipe run over the tutorial's script: {once['ratio']:.2f} (bar: at most {MOST_RUN_OVER_TUTORIAL})"
    )
    if options.json:
        show_json({"run_over_tutorial": once["ratio"], "once": once, **many, "machine": about})
    return 0


if __name__ == "__main__":
    sys.exit(main())
