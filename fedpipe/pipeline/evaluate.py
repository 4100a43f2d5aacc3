"""Step `evaluate`: what the weights are worth on the central test set and for each client, in this
process. It chooses nothing.
"""

import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedpipe.config import Config
from fedpipe.config.task import TaskConfig
from fedpipe.config.task_metrics import metric_key
from fedpipe.runs.context import RunContext
from fedpipe.runs.optional_parts import Parts
from fedpipe.runs.step_results import DataRef, EvalRef, TrainRef
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tables.kinds import KIND_TABLES

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.models.evaluate import Evaluation, Predictor
    from fedpipe.models.federated import ClientScores
    from fedpipe.types import Examples, Weights

CENTRAL = "evaluation on the test examples"
CLIENTS = "evaluation of each client"
PERSONALIZED = "evaluation of personalization"
"""Names of the parts of an evaluation; tables are called `table NAME`."""


def summary_keys(task: TaskConfig) -> tuple[str, ...]:
    """Return the figures of the chosen weights in `summary.json`, which is what `dvc metrics diff`
    compares: the metric that chooses, the loss, and the metrics that were asked for; `metrics.json`
    has all.

    >>> summary_keys(TaskConfig())
    ('test/accuracy', 'test/loss')
    """
    names = (task.choice, "loss", *map(metric_key, task.metrics))
    return tuple(dict.fromkeys(f"test/{name}" for name in names))


@dataclass(frozen=True)
class _Central:
    """The evaluation on the central test set, and what it was made with."""

    population: "Population"
    examples: "Examples"
    predictor: "Predictor"
    weights: "dict[str, Weights]"
    results: "dict[str, Evaluation]"


def evaluate(run: RunContext, data: DataRef, trained: TrainRef, out: Path | None = None) -> EvalRef:
    """Evaluate the initial, final and best weights and write figures and tables to the folder
    `out`; default: the run's.

    Nothing that fails here is raised: it is named in the result's `missing`. Where the weights
    cannot be evaluated at all, the figures are those that training measured on the same examples.
    """
    start = time.perf_counter()
    parts = Parts()
    chosen = "final" if trained.best_weights is None else "best"
    folder = out or run.folder
    paths = {name: folder / file for name, file in _TABLES.items()}
    central = parts.attempt(CENTRAL, lambda: _evaluate_centrally(run, data, trained))
    if central is None:
        figures = parts.attempt(
            "figures measured in training", lambda: _figures_of_training(trained)
        ) or {"initial": {}, "final": {}}
    else:
        figures = {name: result.metrics("test") for name, result in central.results.items()}
        _evaluate_clients(run.config, parts, central, figures[chosen], chosen, paths["clients"])
        _write_tables(parts, central, chosen, paths)
        _write_kind_tables(parts, central.results[chosen], run.config, folder)
    of_chosen = figures.get(chosen, {})
    summary = {key: of_chosen[key] for key in summary_keys(run.config.task) if key in of_chosen}
    for name, body in (("metrics", figures), ("summary", summary)):
        text = json.dumps(body, indent=1) + "\n"
        parts.attempt(
            f"table {_TABLES[name]}",
            lambda name=name, text=text: write_atomic(paths[name], text),  # type: ignore[misc]
        )
    return EvalRef(
        metrics=str(paths["metrics"]),
        confusion_table=str(paths["confusion"]),
        confusion_counts=str(paths["confusion_counts"]),
        labels_table=str(paths["labels"]),
        reliability_table=str(paths["reliability"]),
        clients_table=str(paths["clients"]),
        mistakes_table=str(paths["mistakes"]),
        kind_tables=tuple(str(folder / name) for name in KIND_TABLES[run.config.task.kind]),
        metric=run.config.task.choice,
        initial=figures["initial"],
        final=figures["final"],
        best=figures.get("best"),
        seconds=time.perf_counter() - start,
        missing=parts.missing,
    )


_TABLES = {
    "metrics": "metrics.json",
    "summary": "summary.json",
    "confusion": "confusion.csv",
    "confusion_counts": "confusion_counts.csv",
    "labels": "labels.csv",
    "reliability": "reliability.csv",
    "clients": "clients.parquet",
    "mistakes": "mistakes.parquet",
}


def _evaluate_centrally(run: RunContext, data: DataRef, trained: TrainRef) -> _Central:
    from fedpipe.data.population import Population
    from fedpipe.models import build_model
    from fedpipe.models.evaluate import Evaluator, Predictor
    from fedpipe.models.weights_io import load_weights
    from fedpipe.tasks import task_of

    population = Population.open(Path(data.path), verify=False)
    manifest = population.manifest
    model = build_model(
        run.config,
        tuple(manifest.feature_shape),
        manifest.outputs,
        run.project.root,
        manifest.tokens,
    )
    task = task_of(run.config, population, run.project.root)
    examples = population.central_test()
    evaluator = Evaluator(model, examples, task=task)
    files = {
        "initial": trained.initial_weights,
        "final": trained.final_weights,
        "best": trained.best_weights,
    }
    weights = {name: load_weights(Path(file)) for name, file in files.items() if file is not None}
    results = {name: evaluator.evaluate(values) for name, values in weights.items()}
    return _Central(population, examples, Predictor(model, task=task), weights, results)


def _figures_of_training(trained: TrainRef) -> dict[str, dict[str, float]]:
    """Return what training measured on the central test set in the rounds whose weights are kept,
    by the name of these weights.
    """
    with Path(trained.rounds_table).open(encoding="utf-8", newline="") as file:
        rows = {int(row["round"]): row for row in csv.DictReader(file)}
    rounds = {"initial": 0, "final": trained.rounds} | (
        {} if trained.best_round is None else {"best": trained.best_round}
    )
    return {
        name: {
            key.replace("_", "/", 1): float(value)
            for key, value in rows[number].items()
            if key.startswith("test_") and value
        }
        for name, number in rounds.items()
    }


def _write_tables(parts: Parts, central: _Central, chosen: str, paths: dict[str, Path]) -> None:
    from fedpipe.tables.confusion import confusion_counts_csv, confusion_csv
    from fedpipe.tables.evaluation import labels_csv, reliability_csv
    from fedpipe.tables.mistakes import write_mistakes

    result = central.results[chosen]
    if not result.task.has_classes:
        return
    names = result.task.output_names
    texts = {
        "confusion": lambda: confusion_csv(result.confusion, names),
        "confusion_counts": lambda: confusion_counts_csv(result.confusion, names),
        "labels": lambda: labels_csv(result.confusion, names),
    }
    if result.task.kind != "binary":  # which has that of the positive class
        texts["reliability"] = lambda: reliability_csv(result.calibration)
    for name, make in texts.items():
        parts.attempt(
            f"table {_TABLES[name]}",
            lambda name=name, make=make: write_atomic(paths[name], make()),  # type: ignore[misc]
        )
    parts.attempt(
        f"table {_TABLES['mistakes']}",
        lambda: write_mistakes(paths["mistakes"], central.examples, result.predictions, names),
    )


def _write_kind_tables(parts: Parts, result: "Evaluation", config: Config, folder: Path) -> None:
    from fedpipe.pipeline.kind_tables import kind_tables

    for name, make in kind_tables(result, config.seed).items():
        parts.attempt(
            f"table {name}",
            lambda name=name, make=make: write_atomic(folder / name, make()),  # type: ignore[misc]
        )


def _evaluate_clients(
    config: Config,
    parts: Parts,
    central: _Central,
    figures: dict[str, float],
    chosen: str,
    table: Path,
) -> None:
    """Add the figures of federated evaluation and of personalization to `figures`; write the table
    of clients.

    At most `eval.clients` of each kind are read, whatever the population.
    """
    from fedpipe.models.federated import choose_clients, evaluate_clients
    from fedpipe.tables.evaluation import write_clients

    population = central.population
    predictor = central.predictor
    weights = central.weights[chosen]

    def evaluate_both() -> "tuple[list[tuple[str, ...]], list[ClientScores]]":
        groups = [
            choose_clients(population.index, "test", held_out, config.eval.clients, config.seed)
            for held_out in (False, True)
        ]
        return groups, [
            evaluate_clients(predictor, weights, population, clients) for clients in groups
        ]

    evaluated = parts.attempt(CLIENTS, evaluate_both)
    if evaluated is None:
        return
    groups, (participating, held_out) = evaluated
    figures |= participating.metrics("participating") | held_out.metrics("held_out")
    personalized = None
    if config.eval.personalize_steps:
        by = predictor.task.choose_by
        before = np.concatenate([participating.of(by), held_out.of(by)])
        personalized = parts.attempt(
            PERSONALIZED, lambda: _personalize(config, central, weights, groups, before, figures)
        )
    parts.attempt(
        f"table {_TABLES['clients']}",
        lambda: write_clients(table, participating, held_out, personalized, predictor.task.score),
    )


def _personalize(
    config: Config,
    central: _Central,
    weights: "Weights",
    groups: "list[tuple[str, ...]]",
    before: npt.NDArray[np.float64],
    figures: dict[str, float],
) -> npt.NDArray[np.float64]:
    """Return the metric that chooses of each client after personalization, float64 [clients], NaN
    where it has nothing to train on or the metric does not exist; add figures.
    """
    from fedpipe.algorithms.personalize import personalized_scores
    from fedpipe.models.federated import spread, worst_decile

    participating, held_out = groups
    score = central.predictor.task.score
    name = score.metric
    after = personalized_scores(
        config, central.predictor, weights, central.population, [*participating, *held_out]
    )
    gains = after - before if score.higher_is_better else before - after
    known = ~np.isnan(gains)
    if known.any():
        worst = worst_decile(after[known], higher_is_better=score.higher_is_better)
        values = {
            **spread(name, after[known]),
            f"{name}_worst_decile": worst,
            **spread("gain", gains[known]),
            "improved_fraction": float((gains[known] > 0).mean()),
        }
        figures |= {f"personalized/{key}": value for key, value in values.items()}
    for kind, of_kind in (
        ("participating", slice(0, len(participating))),
        ("held_out", slice(len(participating), None)),
    ):
        if (there := known[of_kind]).any():
            figures[f"personalized/{kind}/{name}_mean"] = float(after[of_kind][there].mean())
            figures[f"personalized/{kind}/gain_mean"] = float(gains[of_kind][there].mean())
    return after
