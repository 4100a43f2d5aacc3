"""Memory over many rounds: fedpipe's run and its TFF worker, beside stock TFF fed with datasets that are rebuilt each round.

`python -m benchmarks.soak --json`; docs/benchmarks.md says how to read it.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

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

ROUNDS, MOST_GROWTH = 500, 0.05
MARKS = (0.1, 0.5, 1.0)
"""Parts of the rounds after which memory is read; growth is from the first to the last."""
SYSTEMS = {"fedpipe": "fedpipe", "stock": "tff_rebuilt"}
_MOST_AT_ONCE = 50


def memory_of(pid: int) -> dict[str, float]:
    """Return the resident memory, in MB, of a system's process (`parent`) and of the TFF workers below it (`worker`).

    Raises:
        BenchmarkError: it has no TFF worker below it.
    """
    process = psutil.Process(pid)
    workers = [
        child
        for child in process.children(recursive=True)
        if any("worker_binary" in part for part in child.cmdline())
    ]
    if not workers:
        raise BenchmarkError(f"process {pid}: expected a TFF worker below it, found none")
    return {"parent": _megabytes(process), "worker": sum(map(_megabytes, workers))}


def _megabytes(process: psutil.Process) -> float:
    # Not the proportional size, which changes when other processes with the same libraries start and end.
    return float(process.memory_info().rss / 1e6)


def soak(name: str, rounds: int, folder: Path) -> dict[str, dict[str, float]]:
    """Run `rounds` rounds of one system; return its memory by the number of rounds done."""
    found: dict[str, dict[str, float]] = {}
    with System(name, module_command(SYSTEMS[name]), folder) as system:
        system.wait_ready()
        done = 0
        for mark in (round(rounds * part) for part in MARKS):
            while done < mark:
                done += len(system.rounds(min(mark - done, _MOST_AT_ONCE)))
            found[str(done)] = memory_of(system.pid)
            console.print(
                f"{name}: round {done}, "
                + ", ".join(f"{part} {size:.1f} MB" for part, size in found[str(done)].items())
            )
    return found


def growth_of(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return by how much each part grew from the first mark to the last, as a fraction.

    >>> growth_of({"50": {"parent": 100.0, "worker": 50.0}, "500": {"parent": 101.0, "worker": 60.0}})
    {'parent': 0.01, 'worker': 0.2}
    """
    first, *_, last = found.values()
    return {part: last[part] / first[part] - 1 if first[part] else 0.0 for part in first}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if fedpipe grew by more than its bar, 2 if a system failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        help=f"rounds of each system, at least 10 (default: {ROUNDS})",
    )
    parser.add_argument(
        "--no-stock", action="store_true", help="leave stock TFF out, which takes minutes"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1 / MARKS[0]:
        parser.error("--rounds: at least 10")
    end_what_was_started()
    work, about = WORKS["A"], machine()
    memory: dict[str, dict[str, dict[str, float]]] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="fedpipe-soak-") as folder:
            make_job(work.model, work.cohort, work.learning_rate, Path(folder))
            for name in ["fedpipe"] if options.no_stock else SYSTEMS:
                memory[name] = soak(name, options.rounds, Path(folder))
    except BenchmarkError as err:
        console.print(str(err), markup=False, style="red")
        return 2
    growth = {name: growth_of(found) for name, found in memory.items()}
    rows = [
        [
            f"{name}, {part}",
            *(f"{sizes[part]:.1f}" for sizes in found.values()),
            f"{growth[name][part]:.1%}",
        ]
        for name, found in memory.items()
        for part in growth[name]
    ]
    show_table(f"memory in MB, {work.title}", ["after round", *memory["fedpipe"], "growth"], rows)
    missed = [part for part, fraction in growth["fedpipe"].items() if fraction >= MOST_GROWTH]
    for part in missed:
        console.print(
            f"fedpipe's {part} grew by {growth['fedpipe'][part]:.1%}, the bar is under {MOST_GROWTH:.0%}",
            style="red",
        )
    if options.json:
        result: dict[str, Any] = {"memory_mb": memory, "bar": MOST_GROWTH, "machine": about}
        show_json({**result, "growth": growth["fedpipe"], "stock": {"growth": growth.get("stock")}})
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
