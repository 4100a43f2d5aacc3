"""fedpipe's arithmetic beside code that its authors did not write: NumPy from the papers, and peers in venvs of their own.

The same clients, cohorts and initial weights; the server's weights are compared after every round, the largest difference counts.
`python -m benchmarks.oracles --json`; docs/benchmarks.md says how to read it. A peer that cannot be installed is left out, and said.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib import oracle_numpy as oracle
from benchmarks.lib.common import ROOT, console, machine, show_json, show_table
from benchmarks.lib.peer_venvs import NotInstalled, Peer, installed
from benchmarks.lib.processes import end_what_was_started

ROUNDS, POPULATION = 5, 100
COMMON: Mapping[str, Any] = {
    "rounds": ROUNDS,
    "cohort.size": 7,
    "cohort.strategy": "uniform",
    "client.epochs": 2,
    "client.learning_rate": 0.1,
    "eval.every": ROUNDS,
}
PEER_TIMEOUT_SECONDS = 600
ORACLES = (
    Peer(
        "fedjax",
        ("fedjax==0.0.17", "jax==0.5.3", "jaxlib==0.5.3"),
        torch=False,
        module="oracle_fedjax",
        variants={"": {}},
    ),
    Peer("pfl", ("pfl[pytorch]==0.6.0",), torch=True, module="oracle_pfl", variants={"": {}}),
    Peer(
        "libraries",
        ("opacus==1.6.0", "torchmetrics==1.9.0", "flwr==1.41.0", "flwr-datasets==0.6.1"),
        torch=True,
        module="oracle_libraries",
        variants={"": {}},
    ),
    Peer(
        "dp-accounting",
        ("dp-accounting==0.6.0",),
        torch=False,
        module="oracle_accounting",
        variants={"": {}},
    ),
)
"""The peers; each reads `job.json` and `job.npz` in the folder that it is given and writes `answer.json` or `answer.npz` there."""


@dataclass(frozen=True)
class Case:
    """Settings of fedpipe and the same in NumPy.

    Attributes:
        settings: over `COMMON`.
        answer: (clients, cohorts) -> weights after each round, in NumPy.
        peers: by peer, what its script calls the same.
        tolerance: largest difference of a weight that is float32's rounding; weights move by 0.04 to 0.12.
        known: peers whose published code is known to differ, and why; their difference is shown and not judged.
    """

    settings: Mapping[str, Any]
    answer: Callable[[Any, Any], list[oracle.Tensors]]
    peers: Mapping[str, Mapping[str, Any]]
    tolerance: float = 2e-7
    known: Mapping[str, str] | None = None


def _fed(
    work: oracle.Work = oracle.Work(),  # noqa: B008
    **parts: Any,
) -> Callable[[Any, Any], list[oracle.Tensors]]:
    return lambda clients, cohorts: oracle.averaging(clients, cohorts, work, **parts)


def _server(name: str, **constants: float) -> Callable[[Any, Any], list[oracle.Tensors]]:
    return lambda clients, cohorts: oracle.averaging(
        clients, cohorts, oracle.Work(), oracle.Server(name, **constants)
    )


_WRONG_SIGN = (
    "pfl 0.6 adds (y_i - x) / (K lr) to the control variate; the paper has (x - y_i) / (K lr)"
)
CASES: dict[str, Case] = {
    "fedavg": Case({}, _fed(), {"pfl": {"algorithm": "fedavg"}}),
    "fedavg, by examples": Case(
        {"client.weighting": "examples"},
        _fed(oracle.Work(by_examples=True)),
        {"fedjax": {"algorithm": "fedavg"}, "pfl": {"algorithm": "fedavg", "by_examples": True}},
    ),
    "fedavg, three steps": Case({"client.max_steps": 3}, _fed(oracle.Work(max_steps=3)), {}),
    "client momentum": Case(
        {
            "client.optimizer": "momentum",
            "client.momentum": 0.9,
            "client.weighting": "examples",
            "client.learning_rate": 0.02,
        },
        _fed(oracle.Work(rate=0.02, optimizer="momentum", by_examples=True)),
        {"fedjax": {"algorithm": "fedavg", "momentum": 0.9, "rate": 0.02}},
    ),
    "client adam": Case(
        {"client.optimizer": "adam", "client.learning_rate": 0.01},
        _fed(oracle.Work(rate=0.01, optimizer="adam")),
        {},
        tolerance=1e-5,
    ),
    "fedsgd": Case(
        {"algorithm.name": "fedsgd", "client.epochs": 1, "client.weighting": "examples"},
        _fed(oracle.Work(epochs=1, batch_size=None, by_examples=True)),
        {"fedjax": {"algorithm": "fedavg", "batch_size": None, "epochs": 1}},
    ),
    "fedprox": Case(
        {"algorithm.name": "fedprox", "algorithm.mu": 0.1, "client.weighting": "examples"},
        _fed(oracle.Work(proximal=0.1, by_examples=True)),
        {
            "fedjax": {"algorithm": "fedprox", "mu": 0.1},
            "pfl": {"algorithm": "fedprox", "mu": 0.1, "by_examples": True},
        },
    ),
    "scaffold": Case(
        {"algorithm.name": "scaffold", "cohort.size": 40},
        lambda clients, cohorts: oracle.scaffold(clients, cohorts, oracle.Work(), POPULATION),
        {"pfl": {"algorithm": "scaffold", "population": POPULATION}},
        known={"pfl": _WRONG_SIGN},
    ),
    "fednova": Case(
        {"algorithm.name": "fednova", "client.weighting": "examples"},
        lambda clients, cohorts: oracle.fednova(clients, cohorts, oracle.Work(by_examples=True)),
        {},
    ),
    "mimelite": Case(
        {
            "algorithm.name": "mimelite",
            "client.optimizer": "momentum",
            "client.momentum": 0.9,
            "client.weighting": "examples",
            "client.learning_rate": 0.02,
        },
        lambda clients, cohorts: oracle.mimelite(
            clients, cohorts, oracle.Work(rate=0.02, by_examples=True)
        ),
        {"fedjax": {"algorithm": "mimelite", "momentum": 0.9, "rate": 0.02}},
    ),
    "fedavgm": Case(
        {"algorithm.name": "fedavgm", "server.momentum": 0.9, "server.learning_rate": 0.5},
        _server("momentum", rate=0.5),
        {"pfl": {"algorithm": "fedavg", "server_momentum": 0.9, "server_rate": 0.5}},
    ),
    "fedadagrad": Case(
        {"algorithm.name": "fedadagrad", "server.learning_rate": 0.05, "server.epsilon": 0.01},
        _server("adagrad", rate=0.05, tau=0.01),
        {},
        tolerance=1e-6,
    ),
    "fedadam": Case(
        {"algorithm.name": "fedadam", "server.learning_rate": 0.05, "server.epsilon": 0.01},
        _server("adam", rate=0.05, tau=0.01),
        {},
        tolerance=1e-6,
    ),
    "fedyogi": Case(
        {"algorithm.name": "fedyogi", "server.learning_rate": 0.05, "server.epsilon": 0.01},
        _server("yogi", rate=0.05, tau=0.01),
        {},
        tolerance=1e-6,
    ),
    "median": Case({"aggregator.name": "median"}, _fed(aggregate=oracle.median), {}),
    "trimmed mean": Case(
        {"aggregator.name": "trimmed_mean", "aggregator.trim_fraction": 0.2},
        _fed(aggregate=oracle.trimmed(0.2)),
        {},
    ),
    "krum": Case(
        {"aggregator.name": "krum", "aggregator.byzantine": 2, "cohort.min_reports": 7},
        _fed(aggregate=oracle.krum(2)),
        {},
    ),
}

EPSILONS = (
    {
        "strategy": "poisson",
        "clients": 100,
        "cohort": 10,
        "rounds": 15,
        "noise": 1.0,
        "delta": 1e-4,
    },
    {
        "strategy": "poisson",
        "clients": 1000,
        "cohort": 100,
        "rounds": 100,
        "noise": 0.8,
        "delta": 1e-5,
    },
    {
        "strategy": "poisson",
        "clients": 3400,
        "cohort": 50,
        "rounds": 500,
        "noise": 1.0,
        "delta": 1e-5,
    },
    {
        "strategy": "poisson",
        "clients": 20000,
        "cohort": 200,
        "rounds": 200,
        "noise": 0.6,
        "delta": 1e-6,
    },
    {
        "strategy": "uniform",
        "clients": 100,
        "cohort": 10,
        "rounds": 15,
        "noise": 1.0,
        "delta": 1e-4,
    },
    {
        "strategy": "uniform",
        "clients": 3400,
        "cohort": 50,
        "rounds": 500,
        "noise": 1.0,
        "delta": 1e-5,
    },
    {"strategy": "fixed", "clients": 100, "cohort": 10, "rounds": 15, "noise": 4.0, "delta": 1e-4},
    {"strategy": "fixed", "clients": 100, "cohort": 10, "rounds": 1, "noise": 1.0, "delta": 1e-5},
)
"""Private trainings whose epsilon is compared. Of `uniform` the peers have no tight figure, only one that a pair of populations attains."""


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: the case.
        beside: the oracle.
        difference: the largest, absolute of weights, relative of epsilon (above the oracle's), and so on.
        bound: what it may be; None where it is shown alone.
        note: what the reader has to know.
    """

    what: str
    beside: str
    difference: float
    bound: float | None
    note: str = ""

    @property
    def agrees(self) -> bool:
        """Return whether the difference is within its bound, or is not judged."""
        return self.bound is None or bool(self.difference <= self.bound)


class Kept:
    """A `RoundSink` that keeps the weights of each round."""

    def __init__(self) -> None:
        """Start empty."""
        self.weights: list[list[Any]] = []

    def round_done(self, report: Any) -> None:
        """Keep the round's weights; round 0 is what all start from."""
        if report.round_num:
            self.weights.append([np.asarray(value) for value in report.weights.values()])


def largest(found: Sequence[Sequence[Any]], expected: Sequence[Sequence[Any]]) -> float:
    """Return the largest absolute difference of a weight in any round."""
    pairs = [
        (a, b)
        for one, other in zip(found, expected, strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    return max(
        float(np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))))
        for a, b in pairs
    )


def run_fedpipe(
    names: Sequence[str], folder: Path
) -> tuple[dict[str, list[list[Any]]], dict[str, Any]]:
    """Return the weights of each case by round, and what the oracles need: clients, cohorts by case, the test set."""
    from benchmarks.lib.training import Bench, settings
    from fedpipe.data.cohort_plan import plan_cohorts
    from fedpipe.engine.loop import run_rounds
    from fedpipe.engine.runtime import Runtime

    config = settings({"data.clients": POPULATION})
    weights, cohorts = {}, {}
    with Runtime(config.runtime, folder / "worker.log") as runtime:
        runtime.start()
        bench = Bench.prepare(config, runtime, folder)
        for name in names:
            chosen = settings(COMMON, CASES[name].settings)
            plan = plan_cohorts(
                bench.population.participating(), chosen.cohort, ROUNDS, chosen.seed
            )
            kept = Kept()
            run_rounds(bench.algorithm(chosen), runtime, plan, lambda _: {}, ROUNDS, [kept])
            weights[name], cohorts[name] = kept.weights, [list(cohort) for cohort in plan.cohorts]
            console.print(f"{name}: {ROUNDS} rounds", style="dim")
    clients = {}
    for client in sorted(
        {client for plan in cohorts.values() for cohort in plan for client in cohort}
    ):
        examples = bench.population.examples(client)
        clients[client] = (
            np.asarray(examples.x, np.float32).reshape(len(examples), -1) / np.float32(255),
            np.asarray(examples.y, np.int64),
        )
    return weights, {"clients": clients, "cohorts": cohorts}


def numpy_rows(found: Mapping[str, list[list[Any]]], about: Mapping[str, Any]) -> list[Row]:
    """Return the comparison of each case with NumPy."""
    clients = {client: (x.astype(np.float64), y) for client, (x, y) in about["clients"].items()}
    rows = []
    for name, weights in found.items():
        case = CASES[name]
        difference = largest(weights, case.answer(clients, about["cohorts"][name]))
        rows.append(Row(name, "NumPy, from the paper", difference, case.tolerance))
    return rows


def epsilon_of(training: Mapping[str, Any]) -> float:
    """Return fedpipe's epsilon of a private training."""
    from benchmarks.lib.training import settings
    from fedpipe.algorithms.privacy_budget import account
    from fedpipe.types import CohortPlan

    size = training["cohort"]
    config = settings(
        {
            "privacy.mechanism": "gaussian",
            "privacy.clip_norm": 1.0,
            "privacy.noise_multiplier": training["noise"],
            "privacy.delta": training["delta"],
            "cohort.strategy": training["strategy"],
            "cohort.size": size,
            "data.clients": training["clients"],
            "rounds": training["rounds"],
        }
    )
    plan = CohortPlan(
        training["strategy"], 1, tuple([tuple(map(str, range(size)))] * training["rounds"])
    )
    return account(config, training["clients"], plan).epsilon(training["rounds"])


def ask(
    peer: Peer, python: Path, folder: Path, job: Mapping[str, Any], arrays: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the peer's answer to a job: JSON and arrays.

    Raises:
        NotInstalled: its script fails; the message has the last line of what it said.
    """
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    np.savez(folder / "job.npz", **arrays)
    log = folder / "log.txt"
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [*peer.command("", python), str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            timeout=PEER_TIMEOUT_SECONDS,
            check=False,
        )
    if done.returncode:
        lines = [
            line
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        ]
        raise NotInstalled(
            f"its script failed: {lines[-1][:300] if lines else f'exit code {done.returncode}'}"
        )
    numbers = (
        json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        if (folder / "answer.json").exists()
        else {}
    )
    with np.load(folder / "answer.npz") if (folder / "answer.npz").exists() else _Nothing() as file:
        tensors = {name: file[name] for name in file.files}
    return numbers, tensors


class _Nothing:
    """An archive without arrays."""

    files: tuple[str, ...] = ()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def peer_rows(
    peer: Peer,
    python: Path,
    folder: Path,
    found: Mapping[str, list[list[Any]]],
    about: Mapping[str, Any],
) -> list[Row]:
    """Return the comparisons with one peer."""
    names = [name for name in found if peer.name in CASES[name].peers]
    arrays = {
        f"{kind}/{client}": value
        for client, pair in about["clients"].items()
        for kind, value in zip("xy", pair, strict=True)
    }
    rng = np.random.Generator(np.random.PCG64(1))
    arrays |= {
        "updates": rng.normal(size=(9, 50)).astype(np.float32),
        "probabilities": rng.dirichlet(np.ones(10), 2000),
    }
    arrays["labels"] = rng.integers(0, 10, 2000)
    arrays["digits"] = digit_labels(POPULATION, 1)[1]
    job = {
        "cases": {
            name: {**CASES[name].peers[peer.name], "cohorts": about["cohorts"][name]}
            for name in names
        },
        "epsilons": [training for training in EPSILONS if training["strategy"] == "poisson"],
    }
    numbers, tensors = ask(peer, python, folder, job, arrays)
    rows = []
    for name in names:
        case = CASES[name]
        history = [
            [tensors[f"{name}/{number}/{place}"] for place in (0, 1)] for number in range(ROUNDS)
        ]
        note = (case.known or {}).get(peer.name, "")
        rows.append(
            Row(
                name,
                peer.name,
                largest(found[name], history),
                None if note else max(case.tolerance, 1e-6),
                note,
            )
        )
    for key, values in numbers.get("epsilons", {}).items():
        for training, value in zip(job["epsilons"], values, strict=True):
            rows.append(
                epsilon_row(
                    training,
                    f"{'opacus' if peer.name == 'libraries' else peer.name} {key}",
                    float(value),
                )
            )
    rows += robust_rows(arrays["updates"], tensors, peer.name)
    if "calibration_error" in numbers:
        ours = calibration_of(arrays["probabilities"], arrays["labels"])
        rows.append(
            Row("calibration error", peer.name, abs(ours - numbers["calibration_error"]), 1e-6)
        )
    for alpha, total_variation in numbers.get("dirichlet", {}).items():
        ours = total_variation_of(float(alpha))
        rows.append(
            Row(
                f"Dirichlet {alpha}, mean total variation",
                peer.name,
                abs(ours - total_variation),
                0.03,
                "means of five seeds",
            )
        )
    return rows


def epsilon_row(training: Mapping[str, Any], beside: str, value: float) -> Row:
    """Return by what fraction fedpipe's epsilon is above an oracle's.

    Below a PLD or a closed form by more than rounding it would promise too much. PRV adds an error bound of 0.01 to its own, Renyi
    divergences are looser by design.
    """
    what = "epsilon, {strategy} {cohort} of {clients}, {rounds} rounds, z {noise}".format(
        **training
    )
    above = epsilon_of(training) / value - 1
    if "RDP" in beside:
        return Row(what, beside, above, None, "looser by design")
    if "PRV" in beside:
        return Row(what, beside, abs(above), 0.02, "PRV has an error bound of 0.01 in it")
    return Row(what, beside, above if above > -1e-3 else float("inf"), 0.02)


def gaussian_rows() -> list[Row]:
    """Return epsilon without sampling beside the closed form (Balle and Wang 2018, Theorem 8), in NumPy and SciPy."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    rows = []
    for training in (one for one in EPSILONS if one["strategy"] == "fixed"):
        noise = float(training["noise"]) / float(training["rounds"]) ** 0.5

        def delta(epsilon: float, noise: float = noise) -> float:
            shift = 1 / (2 * noise)
            return float(
                norm.cdf(shift - epsilon * noise)
                - np.exp(epsilon) * norm.cdf(-shift - epsilon * noise)
            )

        rows.append(
            epsilon_row(
                training,
                "closed form",
                brentq(lambda e, d=delta, t=training: d(e) - t["delta"], 0, 100),
            )
        )
    return rows


def robust_rows(updates: Any, tensors: Mapping[str, Any], beside: str) -> list[Row]:
    """Return fedpipe's robust aggregates of nine updates beside the peer's."""
    wanted = {key: value for key, value in tensors.items() if key.startswith("robust/")}
    if not wanted:
        return []
    import tensorflow as tf

    from fedpipe.algorithms.robust import krum, median, trimmed_mean

    functions = {"median": median, "trimmed": trimmed_mean(0.2), "krum": krum(2)}
    stack = [tf.constant(updates)]
    return [
        Row(
            f"{key.removeprefix('robust/')} of nine updates",
            beside,
            largest([functions[key[7:]](stack)], [[value]]),
            1e-6,
        )
        for key, value in wanted.items()
    ]


def calibration_of(probabilities: Any, labels: Any) -> float:
    """Return fedpipe's calibration error of predictions."""
    from fedpipe.models.calibration import calibrate

    found = calibrate(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    return float(found.error)


def digit_labels(clients: int, seed: int, alpha: float = 1.0) -> tuple[Any, Any]:
    """Return the data settings of a Dirichlet partition of the 5,000 digits, and the digits' labels, int64 [5000]."""
    from benchmarks.lib.training import settings
    from fedpipe.data.sources import SOURCES

    config = settings(
        {
            "data.alpha": alpha,
            "data.partition": "dirichlet",
            "data.clients": clients,
            "data.seed": seed,
        }
    ).data
    (digits,) = SOURCES["mnist5k"](config, ROOT).batches()
    return config, np.asarray(digits.y, np.int64)


def total_variation_of(alpha: float) -> float:
    """Return the mean distance of a client's labels from all labels, over five seeds of fedpipe's Dirichlet partition."""
    from fedpipe.data.partition import partition_pool

    values = []
    for seed in range(1, 6):
        config, labels = digit_labels(POPULATION, seed, alpha)
        owner = np.asarray(partition_pool(labels.astype(np.int32), config, "dirichlet"))
        counts = np.zeros((POPULATION, 10))
        np.add.at(counts, (owner, labels), 1)
        shares = counts / counts.sum(axis=1, keepdims=True)
        values.append(0.5 * np.abs(shares - counts.sum(axis=0) / counts.sum()).sum(axis=1).mean())
    return float(np.mean(values))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; return 1 if something that is judged differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oracles", description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="print the result to stdout as one line of JSON"
    )
    parser.add_argument(
        "--only",
        help="peers, comma-separated; `none` compares with NumPy and the closed form alone",
    )
    parser.add_argument(
        "--cases", help="cases, comma-separated (their names end at the comma: use ; between them)"
    )
    parser.add_argument(
        "--venvs",
        metavar="DIR",
        help="where the peers' venvs are and stay; a temporary folder if not given",
    )
    options = parser.parse_args(arguments)
    end_what_was_started()
    for name, value in (
        ("WRAPT_DISABLE_EXTENSIONS", "1"),
        ("TF_CPP_MIN_LOG_LEVEL", "3"),
    ):  # before TensorFlow is imported
        os.environ.setdefault(name, value)
    names = options.cases.split(";") if options.cases else list(CASES)
    if unknown := set(names) - set(CASES):
        parser.error(f"--cases: no case {', '.join(sorted(unknown))}; there are {'; '.join(CASES)}")
    wanted = (
        {peer.name for peer in ORACLES}
        if options.only is None
        else set(options.only.split(",")) - {"none"}
    )
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="fedpipe-oracles-") as scratch:
        folder = Path(scratch)
        found, about = run_fedpipe(names, folder)
        rows = numpy_rows(found, about) + gaussian_rows()
        for peer in ORACLES:
            if peer.name not in wanted:
                skipped[peer.name] = "not asked for (--only)"
                continue
            console.print(f"{peer.name}: installing, unless it is there", style="dim")
            try:
                python = installed(peer, Path(options.venvs) if options.venvs else folder / "venvs")
                rows += peer_rows(peer, python, folder / "jobs" / peer.name, found, about)
            except (NotInstalled, subprocess.TimeoutExpired) as err:
                skipped[peer.name] = str(err)
    show_table(
        "Largest differences",
        ["what", "beside", "difference", "bound", "", "note"],
        [
            [
                row.what,
                row.beside,
                f"{row.difference:.2g}",
                "" if row.bound is None else f"{row.bound:.2g}",
                _mark(row),
                row.note,
            ]
            for row in rows
        ],
    )
    for name, reason in skipped.items():
        console.print(f"{name} is left out: {reason}", markup=False, style="yellow")
    disagree = [row for row in rows if not row.agrees]
    if options.json:
        show_json(
            {
                "rows": [{**asdict(row), "agrees": row.agrees} for row in rows],
                "skipped": skipped,
                "machine": machine(),
            }
        )
    return int(bool(disagree))


def _mark(row: Row) -> str:
    if row.bound is None:
        return "not judged"
    return "agrees" if row.agrees else "DIFFERS"


if __name__ == "__main__":
    sys.exit(main())
