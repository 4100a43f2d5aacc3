"""Wall time of `fedpipe run`, all of it, over that of TFF's tutorial as a bare script: what tracking, flow and data versions cost.

Both train the same model on the same clients for 15 rounds, must end at the same accuracy, and take turns in pairs.
`python -m benchmarks.endtoend --json`.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.common import BenchmarkError, console, machine, show_json, show_table
from benchmarks.lib.processes import end_what_was_started
from benchmarks.lib.user import User

MOST_RATIO, AIMED_RATIO = 1.0, 0.6
PAIRS = 5
ACCURACY_TOLERANCE = 0.01


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


def measure(user: User, data: Path, pairs: int) -> dict[str, Any]:
    """Run a pair that does not count, then `pairs` that do, and return the figures; `data` is written for the tutorial's script."""
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
            user = User(Path(name), options.uv)
            result = measure(user, Path(name) / "clients.npz", options.pairs)
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
