"""Whether cost grows with the population: 100 to 1,000,000 clients of 20 examples, cohorts of 50.

Each phase runs in a process of its own, the training of all populations in turns. `python -m benchmarks.population --json`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.common import ROOT, BenchmarkError, console, machine, show_json, show_table
from benchmarks.lib.processes import end_what_was_started

CLIENTS = (100, 10_000, 100_000, 1_000_000)
TURNS = 3
PHASE_TIMEOUT_SECONDS = 7200
BARS = {
    "round_seconds": 1.15,
    "train_peak_mb added": 150.0,
    "prepare_seconds per example": 1.3,
    "prepare_cpu_seconds per example": 1.3,
    "open_seconds": None,
}
"""What the largest population may take, over the second largest; None: reported only."""


def phase(name: str, clients: int, folder: Path) -> dict[str, float]:
    """Run a phase in a process of its own and return its figures."""
    log = folder.with_name(f"{folder.name}.log")
    with log.open("w") as errors:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.lib.population_phase",
                name,
                str(clients),
                str(folder),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=PHASE_TIMEOUT_SECONDS,
            check=False,
        )
    if done.returncode:
        raise BenchmarkError(
            f"{name} of {clients} clients failed:\n" + "\n".join(log.read_text().splitlines()[-15:])
        )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(sizes: Sequence[int], turns: int) -> dict[str, dict[str, float]]:
    """Return the figures by number of clients."""
    found: dict[int, dict[str, float]] = {}
    trained: dict[int, list[dict[str, float]]] = {clients: [] for clients in sizes}
    with tempfile.TemporaryDirectory(prefix="fedpipe-population-") as name:
        for clients in sizes:
            console.print(f"prepare and open {clients} clients", style="dim")
            folder = Path(name) / str(clients)
            found[clients] = {**phase("prepare", clients, folder), **phase("open", clients, folder)}
            files = list(folder.iterdir())
            found[clients] |= {
                "files": len(files),
                "shards_mb": sum(file.stat().st_size for file in files) / 1e6,
            }
        for turn in range(turns):
            console.print(f"train, turn {turn + 1} of {turns}", style="dim")
            for clients in sizes:
                trained[clients].append(phase("train", clients, Path(name) / str(clients)))
    for clients, turns_of in trained.items():
        found[clients]["round_seconds"] = statistics.median(
            one["round_seconds"] for one in turns_of
        )
        found[clients]["train_peak_mb"] = max(one["train_peak_mb"] for one in turns_of)
    return {str(clients): figures for clients, figures in found.items()}


def ratios(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return what the bars are about, by the names of `BARS`."""
    sizes = sorted(map(int, figures))
    fewer, most = (figures[str(size)] for size in sizes[-2:])
    over = {
        name: most[name] / fewer[name]
        for name in ("round_seconds", "prepare_seconds", "prepare_cpu_seconds", "open_seconds")
    }
    clients = sizes[-1] / sizes[-2]
    return {
        "round_seconds": over["round_seconds"],
        "train_peak_mb added": most["train_peak_mb"] - fewer["train_peak_mb"],
        "prepare_seconds per example": over["prepare_seconds"] / clients,
        "prepare_cpu_seconds per example": over["prepare_cpu_seconds"] / clients,
        "open_seconds": over["open_seconds"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 2 if a phase failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.population", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument("--turns", type=int, default=TURNS, help="trainings of each population")
    parser.add_argument(
        "--clients",
        type=int,
        nargs="+",
        default=list(CLIENTS),
        help="population sizes, at least two",
    )
    options = parser.parse_args(arguments)
    end_what_was_started()
    about = machine()
    try:
        figures = measure(options.clients, options.turns)
    except BenchmarkError as err:
        console.print(str(err), markup=False, style="red")
        return 2
    columns = (
        "prepare_seconds",
        "prepare_peak_mb",
        "open_seconds",
        "round_seconds",
        "train_peak_mb",
        "files",
        "shards_mb",
    )
    rows = [
        [clients, *(f"{values[name]:.4g}" for name in columns)]
        for clients, values in figures.items()
    ]
    show_table("populations of 20 examples a client, cohorts of 50", ["clients", *columns], rows)
    found = ratios(figures)
    for name, value in found.items():
        bar = BARS[name]
        console.print(f"{name}: {value:.2f}" + ("" if bar is None else f" (bar: at most {bar:g})"))
    if options.json:
        result: dict[str, Any] = {**figures, "ratios": found, "machine": about}
        show_json(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
