"""Step `evaluate`: what the weights are worth on the central test set and for each client, in this process. It chooses nothing."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config import Config
from fedpipe.steps.files import write_atomic
from fedpipe.steps.refs import DataRef, EvalRef, TrainRef

if TYPE_CHECKING:
    from fedpipe.data.population import Population
    from fedpipe.models.evaluate import Predictor
    from fedpipe.types import Weights

SUMMARY_KEYS = ("test/accuracy", "test/loss")
"""Figures of the chosen weights in `summary.json`, which is what `dvc metrics diff` compares; `metrics.json` has all."""


def evaluate(config: Config, data: DataRef, trained: TrainRef, out: Path) -> EvalRef:
    """Evaluate the initial, final and best weights and write figures and tables to the folder `out`.

    Raises:
        ModelError: a weights file is damaged or does not fit the model.
        DataError: the shards cannot be read.
    """
    from fedpipe.data.population import Population
    from fedpipe.models import build_model
    from fedpipe.models.evaluate import Evaluator, Predictor
    from fedpipe.models.weights_io import load_weights
    from fedpipe.report.evaluation_tables import labels_csv, reliability_csv
    from fedpipe.report.mistakes import write_mistakes
    from fedpipe.report.tables import confusion_csv
    from fedpipe.steps.describe import label_names

    start = time.perf_counter()
    population = Population.open(Path(data.path), verify=False)
    model = build_model(config, tuple(population.manifest.feature_shape), population.manifest.num_classes)
    central = population.central_test()
    evaluator = Evaluator(model, central)
    files = {"initial": trained.initial_weights, "final": trained.final_weights, "best": trained.best_weights}
    weights = {name: load_weights(Path(file)) for name, file in files.items() if file is not None}
    results = {name: evaluator.evaluate(values) for name, values in weights.items()}
    figures = {name: result.metrics("test") for name, result in results.items()}
    chosen = "best" if "best" in results else "final"
    predictor = Predictor(model)
    figures[chosen] |= _of_clients(config, predictor, weights[chosen], population, out / "clients.parquet")
    confusion, names = results[chosen].confusion, label_names(population)
    write_atomic(out / "metrics.json", json.dumps(figures, indent=1) + "\n")
    summary = {key: figures[chosen][key] for key in SUMMARY_KEYS if key in figures[chosen]}
    write_atomic(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_atomic(out / "confusion.csv", confusion_csv(confusion, names))
    write_atomic(out / "labels.csv", labels_csv(confusion, names))
    write_atomic(out / "reliability.csv", reliability_csv(results[chosen].calibration))
    write_mistakes(out / "mistakes.parquet", central, predictor.predict(weights[chosen], central), names)
    return EvalRef(
        metrics=str(out / "metrics.json"),
        confusion_table=str(out / "confusion.csv"),
        confusion=confusion.tolist(),
        labels_table=str(out / "labels.csv"),
        reliability_table=str(out / "reliability.csv"),
        clients_table=str(out / "clients.parquet"),
        mistakes_table=str(out / "mistakes.parquet"),
        initial=figures["initial"],
        final=figures["final"],
        best=figures.get("best"),
        seconds=time.perf_counter() - start,
    )


def _of_clients(config: Config, predictor: "Predictor", weights: "Weights", population: "Population", table: Path) -> dict[str, float]:
    """Return the figures of federated evaluation and of personalization; write the table of clients.

    At most `eval.clients` of each kind are read, whatever the population.
    """
    import numpy as np

    from fedpipe.models.federated import choose_clients, evaluate_clients, spread, worst_decile
    from fedpipe.report.evaluation_tables import write_clients

    chosen = [choose_clients(population.index, "test", held_out, config.eval.clients, config.seed) for held_out in (False, True)]
    participating, held_out = (evaluate_clients(predictor, weights, population, clients) for clients in chosen)
    figures = participating.metrics("participating") | held_out.metrics("held_out")
    after = None
    if config.eval.personalize_steps:
        from fedpipe.algorithms.personalize import personalized_accuracies

        after = personalized_accuracies(config, predictor, weights, population, [*chosen[0], *chosen[1]])
        gains = after - np.concatenate([participating.accuracies, held_out.accuracies])
        known = ~np.isnan(after)
        if known.any():
            found = {
                **spread("accuracy", after[known]),
                "accuracy_worst_decile": worst_decile(after[known]),
                **spread("gain", gains[known]),
            }
            found["improved_fraction"] = float((gains[known] > 0).mean())
            figures |= {f"personalized/{name}": value for name, value in found.items()}
        for kind, of_kind in (("participating", slice(0, len(chosen[0]))), ("held_out", slice(len(chosen[0]), None))):
            if (there := known[of_kind]).any():
                figures[f"personalized/{kind}/accuracy_mean"] = float(after[of_kind][there].mean())
                figures[f"personalized/{kind}/gain_mean"] = float(gains[of_kind][there].mean())
    write_clients(table, participating, held_out, after)
    return figures
