"""What each algorithm and aggregation costs a round, relative to `fedavg`: all in one process, on one worker, in turns.

Work A and C of `benchmarks.rounds`: ten clients of 100 examples, batch 20, one epoch; softmax regression and the CNN.
`python -m benchmarks.cost --json`; `python -m benchmarks.tables FOLDER` writes the table of docs/algorithms.md from it.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.common import console, machine, show_json, show_table
from benchmarks.lib.processes import end_what_was_started

COMMON: Mapping[str, Any] = {
    "data.partition": "iid",
    "data.clients": 40,
    "data.central_test_examples": 1000,
}
RATES = {"softmax": 0.01, "cnn": 0.05}
PRIVATE: Mapping[str, Any] = {
    "privacy.clip_norm": 1.0,
    "privacy.noise_multiplier": 1.0,
    "privacy.delta": 1e-5,
}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    **{
        name: {"algorithm.name": name}
        for name in (
            "fedavg",
            "fedprox",
            "fedsgd",
            "fedavgm",
            "fedadagrad",
            "fedadam",
            "fedyogi",
            "scaffold",
            "fednova",
            "centralized",
        )
    },
    "mimelite": {"algorithm.name": "mimelite", "client.optimizer": "momentum"},
    "local_only": {"algorithm.name": "local_only", "eval.every": 1_000_000},
    "aggregator.name: median": {"aggregator.name": "median"},
    "aggregator.name: trimmed_mean": {"aggregator.name": "trimmed_mean"},
    "aggregator.name: krum": {"aggregator.name": "krum", "cohort.min_reports": 10},
    "aggregator.clipping, zeroing": {"aggregator.clipping": True, "aggregator.zeroing": True},
    "aggregator.compression_bits: 8": {"aggregator.compression_bits": 8},
    "aggregator.secure": {"aggregator.secure": True},
    "privacy.mechanism: gaussian": {"privacy.mechanism": "gaussian", **PRIVATE},
    "privacy.mechanism: adaptive": {"privacy.mechanism": "adaptive", **PRIVATE},
    "privacy.mechanism: tree": {
        "privacy.mechanism": "tree",
        "privacy.restart_rounds": 1,
        **PRIVATE,
    },
}
"""What is measured, in the order of the table; all else is as with `fedavg`."""

TURNS, TURN_SECONDS, MOST_ROUNDS_A_TURN = 12, 0.5, 20


def measure(model: str, variants: Sequence[str], turns: int) -> dict[str, dict[str, float]]:
    """Return each variant's median seconds a round, the first not counted, and their ratio to `fedavg`'s."""
    from benchmarks.lib.training import Bench, settings
    from fedpipe.engine.runtime import Runtime

    config = settings(COMMON)
    with (
        tempfile.TemporaryDirectory(prefix="fedpipe-cost-") as folder,
        Runtime(config.runtime, Path(folder) / "worker.log") as runtime,
    ):
        runtime.start()
        bench = Bench.prepare(config, runtime, Path(folder))
        cohort = bench.population.participating()[:10]
        running: dict[str, tuple[Any, Any]] = {}
        seconds: dict[str, list[float]] = {}

        def rounds(name: str, count: int) -> None:
            # Each turn starts again after the first round: by the tenth, noise on the CNN's weights has made numbers that are not finite.
            algorithm, state = running[name]
            for number in range(2, count + 2):
                start = time.perf_counter()
                state = runtime.call(
                    algorithm.next, state, number, cohort, label=f"round {number} of {name}"
                ).state
                seconds[name].append(time.perf_counter() - start)

        for name in variants:
            chosen = settings(
                COMMON, {"model.name": model, "client.learning_rate": RATES[model]}, VARIANTS[name]
            )
            algorithm = bench.algorithm(chosen)
            state = runtime.call(algorithm.initialize, label=f"the initial state of {name}")
            running[name], seconds[name] = (
                (algorithm, runtime.call(algorithm.next, state, 1, cohort, label=name).state),
                [],
            )
            rounds(name, 1)
            console.print(f"{model}, {name}: {seconds[name][0]:.4f} s", style="dim")
        for number in range(turns):
            console.print(f"{model}: turn {number + 1} of {turns}", style="dim")
            for name in variants:
                rounds(
                    name,
                    min(
                        max(int(TURN_SECONDS / statistics.median(seconds[name])), 1),
                        MOST_ROUNDS_A_TURN,
                    ),
                )
    medians = {name: statistics.median(values[1:] or values) for name, values in seconds.items()}
    return {
        name: {"seconds": median, "relative": median / medians["fedavg"]}
        for name, median in medians.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument(
        "--short", action="store_true", help="softmax, three variants, one turn: whether it runs"
    )
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args(arguments)
    end_what_was_started()
    for name, value in (
        ("WRAPT_DISABLE_EXTENSIONS", "1"),
        ("TF_CPP_MIN_LOG_LEVEL", "3"),
    ):  # before TensorFlow is imported
        os.environ.setdefault(name, value)
    about = machine()
    models = ("softmax",) if options.short else ("softmax", "cnn")
    variants = (
        ("fedavg", "scaffold", "privacy.mechanism: gaussian") if options.short else tuple(VARIANTS)
    )
    result = {
        model: measure(model, variants, 1 if options.short else options.turns) for model in models
    }
    for model, found in result.items():
        rows = [
            [name, f"{value['seconds']:.4f}", f"{value['relative']:.2f}"]
            for name, value in found.items()
        ]
        show_table(f"{model}, cohort 10", ["algorithm", "s/round (median)", "over fedavg's"], rows)
    if options.json:
        show_json({**result, "machine": about})
    return 0


if __name__ == "__main__":
    sys.exit(main())
