"""Accuracy of each algorithm at sensible settings, beside the baselines `centralized` and `local_only`, over three seeds.

The digits of `mnist5k` over 20 clients with label skew, and with `--data DIR` the first 100 writers of EMNIST's digits, whose file is
in DIR. All algorithms process the same number of examples: as many rounds, clients, epochs and examples a client; `fedsgd` alone has one
epoch a round, its one step. Accuracy is on the central test set after the last round. `python -m benchmarks.accuracy --json`;
docs/benchmarks.md says how to read it.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.common import console, machine, show_json, show_table
from benchmarks.lib.processes import end_what_was_started

SEEDS = (1, 2, 3)
COMMON: Mapping[str, Any] = {
    "rounds": 100,
    "cohort.strategy": "uniform",
    "cohort.size": 2,
    "client.batch_size": 20,
    "client.epochs": 2,
    "client.shuffle": True,
    "client.weighting": "examples",
}
POPULATIONS: Mapping[str, Mapping[str, Any]] = {
    "mnist5k": {"data.source": "mnist5k", "data.clients": 20},
    "emnist": {
        "data.source": "emnist",
        "data.invert": True,
        "data.clients": 100,
        "rounds": 500,
        "client.epochs": 1,
    },
}
"""The data, and what is other than in `COMMON`: a writer has 79 training examples, a client of `mnist5k` 225.

EMNIST is inverted, so that ink is 1.0 as in `mnist5k`: with a background of ones the rates of softmax regression are too high.
"""

RATES = {"softmax": 0.05, "cnn": 0.1}
"""Client learning rates of all algorithms, but for those that say another."""

OWN: Mapping[str, Mapping[str, Any]] = {
    "fedavg": {},
    "fedprox": {"algorithm.mu": 0.01},
    "fedsgd": {"client.learning_rate": 0.2},
    "fedavgm": {"server.learning_rate": 0.3, "server.momentum": 0.7},
    "fedadagrad": {"server.learning_rate": 0.03},
    "fedadam": {"server.learning_rate": 0.003},
    "fedyogi": {"server.learning_rate": 0.003},
    "mimelite": {
        "client.optimizer": "momentum",
        "client.momentum": 0.5,
        "client.learning_rate": 0.03,
    },
    "scaffold": {},
    "fednova": {},
    "centralized": {},
    "local_only": {},
}
"""What each algorithm has that is its own: the settings that made the table."""

BAR_POINTS = 0.5
"""The bar: `fedavg` on the CNN may be so many points of accuracy below `centralized` with as many epochs."""

BAR: Mapping[str, Any] = {"cohort.strategy": "shuffled", "client.learning_rate": 0.15}
"""What is other than in the table where the bar is measured: each client equally often, not by lot, and `centralized` on the pool of all
clients, so that every example is in exactly as many epochs of both."""


def config_of(algorithm: str, model: str, data: Mapping[str, Any], seed: int, rounds: int) -> Any:
    """Return the settings of one training."""
    from benchmarks.lib.training import settings
    from fedpipe.config.algorithm_table import ALGORITHMS

    common = {
        **COMMON,
        **data,
        "rounds": rounds,
        "client.learning_rate": RATES[model],
        **OWN[algorithm],
    }
    if (
        algorithm == "local_only"
    ):  # every client trains in every round, in so many fewer rounds: as many epochs for each of them
        clients = data["data.clients"]
        common |= {
            "cohort.strategy": "fixed",
            "cohort.size": clients,
            "rounds": max(rounds * common["cohort.size"] // clients, 1),
        }
    read = {key: value for key, value in common.items() if not ALGORITHMS[algorithm].ignored(key)}
    return settings(
        read, {"seed": seed, "model.name": model, "algorithm.name": algorithm, "eval.every": rounds}
    )


def bar_config(algorithm: str, data: Mapping[str, Any], seed: int) -> Any:
    """Return the settings of one training for the bar; `centralized` has all clients in each of so many fewer rounds."""
    from benchmarks.lib.training import settings
    from fedpipe.config.algorithm_table import ALGORITHMS

    common = {**COMMON, **data, **BAR}
    if algorithm == "centralized":
        everyone = {"cohort.strategy": "fixed", "cohort.size": data["data.clients"]}
        common |= everyone | {
            "rounds": common["rounds"] * common["cohort.size"] // data["data.clients"]
        }
    read = {key: value for key, value in common.items() if not ALGORITHMS[algorithm].ignored(key)}
    return settings(
        read,
        {
            "seed": seed,
            "model.name": "cnn",
            "algorithm.name": algorithm,
            "eval.every": common["rounds"],
        },
    )


def accuracy_of(algorithm: str, metrics: Mapping[str, float]) -> float:
    """Return the accuracy on the central test set: of the server's weights, or of each client's model, the mean over the clients."""
    return metrics["local/central_accuracy" if algorithm == "local_only" else "test/accuracy"]


def measure(
    bench: Any,
    data: Mapping[str, Any],
    models: Sequence[str],
    algorithms: Sequence[str],
    seeds: Sequence[int],
    rounds: int,
) -> Any:
    """Return for each model and algorithm mean and spread of the accuracy, and the settings that made them."""
    found: dict[str, dict[str, Any]] = {}
    for model in models:
        by_algorithm = {
            name: [config_of(name, model, data, seed, rounds) for seed in seeds]
            for name in algorithms
        }
        found[model] = {name: over_seeds(bench, configs) for name, configs in by_algorithm.items()}
    return found


def over_seeds(bench: Any, configs: Sequence[Any]) -> dict[str, Any]:
    """Return mean and spread of the accuracies of trainings that differ in their seeds, and the settings that made them."""
    from fedpipe.config import flatten

    values, name = [], configs[0].algorithm.name
    for config in configs:
        values.append(accuracy_of(name, bench.train(config)))
        console.print(
            f"{config.model.name}, {name}, seed {config.seed}: {values[-1]:.4f}", style="dim"
        )
    plain, own = flatten(type(configs[0])()), flatten(configs[0])
    return {
        "accuracy_mean": statistics.mean(values),
        "accuracy_std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "accuracies": values,
        "settings": {
            key: value for key, value in own.items() if value != plain[key] and key != "seed"
        },
    }


def points_below(found: Mapping[str, Any]) -> float:
    """Return by how many points of accuracy `fedavg` is below `centralized`."""
    return float(100 * (found["centralized"]["accuracy_mean"] - found["fedavg"]["accuracy_mean"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="softmax alone, three rounds, one seed: whether it runs",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder with EMNIST's files, as data.cache_dir: its 100 first writers are measured too",
    )
    parser.add_argument(
        "--populations", help="mnist5k, emnist or both; all that are there if not given"
    )
    parser.add_argument("--models", default="softmax,cnn")
    parser.add_argument("--algorithms", default=",".join(OWN))
    parser.add_argument(
        "--bar",
        choices=("with", "without", "only"),
        default="with",
        help="the bar beside the table, or not, or alone",
    )
    parser.add_argument("--rounds", type=int, help="in place of those of the population")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    options = parser.parse_args(arguments)
    end_what_was_started()
    for name, value in (
        ("WRAPT_DISABLE_EXTENSIONS", "1"),
        ("TF_CPP_MIN_LOG_LEVEL", "3"),
    ):  # before TensorFlow is imported
        os.environ.setdefault(name, value)
    about = machine()
    from benchmarks.lib.training import Bench, settings
    from fedpipe.engine.runtime import Runtime

    seeds = SEEDS[:1] if options.short else SEEDS[: options.seeds]
    models = ["softmax"] if options.short else options.models.split(",")
    bar = not options.short and options.bar != "without"
    algorithms = [] if options.bar == "only" else options.algorithms.split(",")
    there = ["mnist5k", *(["emnist"] if options.data else [])]
    names = options.populations.split(",") if options.populations else there
    if unknown := set(names) - set(there):
        parser.error(
            f"--populations: expected some of {', '.join(there)}, found {', '.join(sorted(unknown))}; emnist needs --data"
        )
    result: dict[str, Any] = {}
    equal: dict[str, Any] = {}
    for name in names:
        data = {
            **POPULATIONS[name],
            **({"data.cache_dir": str(Path(options.data).resolve())} if name == "emnist" else {}),
        }
        rounds = 3 if options.short else options.rounds or data.get("rounds", COMMON["rounds"])
        config = settings(data)
        with (
            tempfile.TemporaryDirectory(prefix="fedpipe-accuracy-") as folder,
            Runtime(config.runtime, Path(folder) / "worker.log") as runtime,
        ):
            runtime.start()
            bench = Bench.prepare(config, runtime, Path(folder))
            if algorithms:
                result[name] = measure(bench, data, models, algorithms, seeds, rounds)
            if bar:
                trainings = {
                    algorithm: [bar_config(algorithm, data, seed) for seed in seeds]
                    for algorithm in ("fedavg", "centralized")
                }
                equal[name] = {
                    algorithm: over_seeds(bench, configs)
                    for algorithm, configs in trainings.items()
                }
        for model, by_algorithm in result.get(name, {}).items():
            rows = [
                [a, f"{100 * f['accuracy_mean']:.2f}", f"{100 * f['accuracy_std']:.2f}"]
                for a, f in by_algorithm.items()
            ]
            show_table(
                f"{name}, {model}: {rounds} rounds, {len(seeds)} seeds",
                ["algorithm", "accuracy %", "standard deviation"],
                rows,
            )
    gaps = {name: points_below(found) for name, found in equal.items()}
    for name, gap in gaps.items():
        console.print(
            f"{name}: fedavg on the CNN is {gap:.2f} points below centralized (bar: at most {BAR_POINTS})"
        )
    if options.json:
        show_json(
            {**result, "equal_epochs": equal, "points_below_centralized": gaps, "machine": about}
        )
    return int(any(gap > BAR_POINTS for gap in gaps.values()))


if __name__ == "__main__":
    sys.exit(main())
