"""Seconds per round: fedpipe, TFF as in its tutorial, TFF's ready-made algorithm, and the floor without any framework.

Systems take turns within one run, on the same data, from the same weights; after the same number of rounds they must have the
same accuracy. `python -m benchmarks.rounds --json`; docs/benchmarks.md says how to read it.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.lib.common import (
    WORKS,
    BenchmarkError,
    System,
    Work,
    console,
    machine,
    make_job,
    module_command,
    show_json,
    show_table,
)
from benchmarks.lib.measured import ACCURACY_TOLERANCE, Measured
from benchmarks.lib.processes import end_what_was_started


@dataclass(frozen=True)
class Bar:
    """What fedpipe promises of a ratio."""

    work: str
    ratio: Literal["ratio_to_tutorial", "ratio_to_floor"]
    least: float | None = None
    most: float | None = None

    def holds(self, value: float, fraction: float) -> bool:
        """Return whether `value` reaches at least `fraction` of the bar."""
        if self.least is not None:
            return value >= self.least * fraction
        return self.most is None or value <= self.most / fraction

    def __str__(self) -> str:
        return f"{self.work}: {self.ratio} {f'>= {self.least:g}' if self.least is not None else f'<= {self.most:g}'}"


BARS = (
    Bar("A", "ratio_to_tutorial", least=30),
    Bar("B", "ratio_to_tutorial", least=120),
    Bar("C", "ratio_to_tutorial", least=2.7),
    Bar("B", "ratio_to_floor", most=1.6),
)
"""`ratio_to_tutorial`: the tutorial's seconds over fedpipe's. `ratio_to_floor`: fedpipe's seconds over the floor's."""

FLOORS = {"softmax": "numpy", "cnn": "torch"}
TURNS = {"A": 15, "B": 4, "C": 8}
SHORT_TURNS = {"A": 5, "B": 1, "C": 2}


def commands_for(work: Work, short: bool, torch_python: str | None) -> dict[str, list[str]]:
    """Return the commands of the systems that take part, by name."""
    commands = {"fedpipe": module_command("fedpipe"), "tutorial": module_command("tff_tutorial")}
    if work.model == "cnn":
        commands["fedpipe_keras"] = module_command("fedpipe_keras")
    if not short:
        commands["weighted_fed_avg"] = module_command("tff_weighted_fed_avg")
        commands["learning_process"] = module_command("learning_process")
    if work.model == "softmax":
        commands["numpy"] = module_command("numpy_loop")
    elif torch_python:
        commands["torch"] = module_command("torch_loop", torch_python)
    elif not short:
        console.print(
            f"{work.title}: no floor. Name an interpreter that has PyTorch: --torch-python PATH."
        )
    return commands


def measure(
    work: Work, commands: Mapping[str, Sequence[str]], turns: int, common_rounds: int
) -> dict[str, Measured]:
    """Run the systems in turns and return their figures.

    Args:
        work: what they do.
        commands: how to start each, by name.
        turns: turns of each system after the common rounds.
        common_rounds: rounds after which accuracies are compared, at least 2; all but the first are timed too.

    Raises:
        BenchmarkError: a system failed, or its accuracy differs from the others'.
    """
    with tempfile.TemporaryDirectory(prefix="fedpipe-rounds-") as name, ExitStack() as stack:
        make_job(work.model, work.cohort, work.learning_rate, Path(name))
        found = {}
        for system_name, command in commands.items():
            system = stack.enter_context(System(system_name, command, Path(name)))
            reason = system.wait_ready()
            if reason:
                console.print(f"{work.title}: {system_name} is left out: {reason}")
                continue
            found[system_name] = Measured(system)
        for measured in found.values():
            measured.first_round_seconds = measured.system.rounds(1)[0]
        for _ in range(common_rounds - 1):
            for measured in found.values():
                measured.seconds += measured.system.rounds(1)
        for measured in found.values():
            measured.accuracy = measured.system.accuracy()
        _refuse_other_results(
            work, {name: measured.accuracy for name, measured in found.items()}, common_rounds
        )
        for number in range(turns):
            console.print(f"{work.title}: turn {number + 1} of {turns}", style="dim")
            for measured in found.values():
                measured.turn()
        for measured in found.values():
            measured.memory_mb = measured.system.memory_mb()
    return found


def _refuse_other_results(work: Work, accuracies: Mapping[str, float], common_rounds: int) -> None:
    if max(accuracies.values()) - min(accuracies.values()) > ACCURACY_TOLERANCE:
        text = ", ".join(f"{name} {value:.4f}" for name, value in accuracies.items())
        raise BenchmarkError(
            f"{work.title}: expected accuracies within {ACCURACY_TOLERANCE} after {common_rounds} rounds, found {text}: "
            "the systems do not do the same work."
        )


def result_of(work: Work, found: Mapping[str, Measured]) -> dict[str, Any]:
    """Return the figures of one work as the JSON has them."""
    seconds = {name: measured.median for name, measured in found.items()}
    floor = seconds.get(FLOORS[work.model])
    return {
        "seconds": seconds,
        "first_round_seconds": {
            name: measured.first_round_seconds for name, measured in found.items()
        },
        "memory_mb": {name: round(measured.memory_mb) for name, measured in found.items()},
        "accuracy": {name: measured.accuracy for name, measured in found.items()},
        "rounds_timed": {name: len(measured.seconds) for name, measured in found.items()},
        "ratio_to_tutorial": seconds["tutorial"] / seconds["fedpipe"],
        "ratio_to_floor": seconds["fedpipe"] / floor if floor else None,
        **_keras_ratio(seconds),
        "times_tutorial": {name: seconds["tutorial"] / value for name, value in seconds.items()},
    }


def _keras_ratio(seconds: Mapping[str, float]) -> dict[str, float]:
    if "fedpipe_keras" not in seconds:
        return {}
    return {"keras_ratio": seconds["fedpipe_keras"] / seconds["fedpipe"]}


def missed_bars(results: Mapping[str, Any], fraction: float) -> list[str]:
    """Return the bars of which the results do not reach `fraction`, with what was found; bars that were not measured are none."""
    missed = []
    for bar in BARS:
        value = results.get(bar.work, {}).get(bar.ratio)
        if value is not None and not bar.holds(value, fraction):
            missed.append(f"{bar}, found {value:.3g}")
    return missed


def show(work: Work, result: Mapping[str, Any]) -> None:
    """Print one work's table."""
    fedpipe = result["seconds"]["fedpipe"]
    rows = []
    for name, seconds in sorted(result["seconds"].items(), key=lambda item: item[1]):
        memory, accuracy, count = (
            result[key][name] for key in ("memory_mb", "accuracy", "rounds_timed")
        )
        row = [
            name,
            f"{seconds:.4f}",
            f"{seconds / fedpipe:.2f}",
            f"{result['times_tutorial'][name]:.2f}",
            f"{result['first_round_seconds'][name]:.2f}",
        ]
        rows.append([*row, f"{memory}", f"{accuracy:.3f}", f"{count}"])
    show_table(
        work.title,
        ["system", "median s", "/ fedpipe", "tutorial /", "first s", "MB", "accuracy", "rounds"],
        rows,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if `--check-fraction` is missed, 2 if a system failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounds", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument("--work", default=",".join(WORKS), help="which of A,B,C (default: all)")
    parser.add_argument("--repeats", type=int, help=f"turns of each system (default: {TURNS})")
    parser.add_argument(
        "--short",
        action="store_true",
        help="few turns, fewer systems: to see a regression, not to report figures",
    )
    parser.add_argument(
        "--check-fraction",
        type=float,
        metavar="F",
        help="exit code 1 if a ratio is under F times its bar",
    )
    parser.add_argument(
        "--torch-python", metavar="PATH", help="interpreter that has PyTorch, for the CNN's floor"
    )
    options = parser.parse_args(arguments)
    end_what_was_started()
    results: dict[str, Any] = {}
    about = machine()
    try:
        for work in (WORKS[key] for key in options.work.split(",")):
            turns = options.repeats or (SHORT_TURNS if options.short else TURNS)[work.key]
            found = measure(
                work,
                commands_for(work, options.short, options.torch_python),
                turns,
                2 if options.short else 3,
            )
            results[work.key] = result_of(work, found)
            show(work, results[work.key])
    except BenchmarkError as err:
        console.print(str(err), markup=False, style="red")
        return 2
    missed = missed_bars(results, options.check_fraction) if options.check_fraction else []
    for line in missed:
        console.print(f"under {options.check_fraction:g} of the bar: {line}", style="red")
    if options.json:
        show_json({**results, "machine": about})
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
