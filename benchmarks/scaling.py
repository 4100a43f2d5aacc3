"""Seconds per round by cohort size: whether a client costs the same in a large cohort as in a small one.

Softmax regression, 100 examples a client. Each cohort size is a fedpipe in a process of its own and they take turns, so that a
slow moment of the machine meets them all. `python -m benchmarks.scaling --json`.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.common import (
    WORKS,
    BenchmarkError,
    System,
    console,
    machine,
    make_job,
    module_command,
    show_json,
    show_table,
)
from benchmarks.lib.processes import end_what_was_started

COHORTS = (10, 30, 100, 300, 1000)
TURNS, ROUNDS_A_TURN = 8, 3
MOST_PER_CLIENT_1000_OVER_100 = 1.1
"""The bar: a client in a cohort of 1,000 may cost so much more than one in a cohort of 100."""


def measure(cohorts: Sequence[int], turns: int) -> dict[int, float]:
    """Return the median seconds of a round by cohort size; the first round is not counted."""
    seconds: dict[int, list[float]] = {cohort: [] for cohort in cohorts}
    with tempfile.TemporaryDirectory(prefix="fedpipe-scaling-") as name, ExitStack() as stack:
        systems = {}
        for cohort in cohorts:
            folder = Path(name) / f"{cohort}"
            make_job("softmax", cohort, WORKS["A"].learning_rate, folder)
            systems[cohort] = stack.enter_context(
                System(f"fedpipe-{cohort}", module_command("fedpipe"), folder)
            )
            systems[cohort].wait_ready()
            systems[cohort].rounds(1)
        for number in range(turns):
            console.print(f"turn {number + 1} of {turns}", style="dim")
            for cohort, system in systems.items():
                seconds[cohort] += system.rounds(ROUNDS_A_TURN)
    return {cohort: statistics.median(values) for cohort, values in seconds.items()}


def fit(seconds: Mapping[int, float]) -> dict[str, float]:
    """Return the line seconds = fixed + per client * cohort that fits best.

    Least squares of the relative errors: each residual is divided by its seconds, else the largest cohort alone would decide.
    """
    cohorts, values = np.array(list(seconds), float), np.array(list(seconds.values()))
    design = np.stack([np.ones_like(cohorts), cohorts], axis=1) / values[:, None]
    (fixed, per_client), *_ = np.linalg.lstsq(design, np.ones_like(values), rcond=None)
    worst = float(np.max(np.abs(design @ np.array([fixed, per_client]) - 1)))
    return {
        "fixed_seconds": float(fixed),
        "seconds_per_client": float(per_client),
        "largest_relative_error": worst,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 2 if a system failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=TURNS,
        help=f"turns of each cohort size, {ROUNDS_A_TURN} rounds each",
    )
    options = parser.parse_args(arguments)
    end_what_was_started()
    about = machine()
    try:
        seconds = measure(COHORTS, options.repeats)
    except BenchmarkError as err:
        console.print(str(err), markup=False, style="red")
        return 2
    line = fit(seconds)
    ratio = (seconds[1000] / 1000) / (seconds[100] / 100)
    rows = [
        [f"{cohort}", f"{value:.4f}", f"{1e6 * value / cohort:.0f}"]
        for cohort, value in seconds.items()
    ]
    show_table("softmax, fedpipe", ["cohort", "s/round (median)", "microseconds a client"], rows)
    console.print(
        f"{1e3 * line['fixed_seconds']:.1f} ms a round and {1e6 * line['seconds_per_client']:.0f} microseconds a client;"
    )
    console.print(
        f"a client of 1,000 costs {ratio:.2f} times one of 100 (bar: at most {MOST_PER_CLIENT_1000_OVER_100})"
    )
    if options.json:
        result: dict[str, Any] = {
            "seconds": seconds,
            "per_client_1000_over_100": ratio,
            "fit": line,
            "machine": about,
        }
        show_json(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
