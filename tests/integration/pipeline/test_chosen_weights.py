"""Train, evaluate and record, each on the weights and the examples that it is for: every figure is computed here once more."""

import csv
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from fedpipe.algorithms.personalize import personalized_scores
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.models import build_model
from fedpipe.models.evaluate import Evaluation, Evaluator, Predictor
from fedpipe.models.federated import evaluate_clients, pooled
from fedpipe.models.input_facts import InputFacts
from fedpipe.models.saved import SavedClassifier
from fedpipe.models.weights_io import load_weights
from fedpipe.pipeline.describe import label_names
from fedpipe.pipeline.evaluate import evaluate
from fedpipe.pipeline.record import record
from fedpipe.pipeline.sample_clients import sample_clients
from fedpipe.pipeline.train import train
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.step_results import DataRef, EvalRef, RecordRef, TrainRef
from fedpipe.tables.confusion import confusion_counts_csv, confusion_csv
from fedpipe.tables.evaluation import labels_csv, reliability_csv
from fedpipe.tables.mistakes import write_mistakes
from fedpipe.tracking.fetch import fetch_model
from fedpipe.tracking.store import Store, open_store
from fedpipe.types import Examples, Weights, weights_sha256

CONFIG = Config.model_validate(
    {
        "rounds": 5,
        "cohort": {"size": 2},
        "client": {"learning_rate": 1.0},
        "data": {
            "clients": 20,
            "partition": "pathological",
            "validation_fraction": 0.2,
            "held_out_fraction": 0.2,
        },
        "eval": {"personalize_steps": 3},
        "tracking": {"register": True, "model_name": "digits"},
    }
)
"""Few labels for each client and a high learning rate: the best round by validation, the best by test and the last are three."""

WEIGHTS = ("initial", "best", "final")
PICTURES = {
    "learning_curves": "fedpipe.figures.learning_curves",
    "confusion_matrix": "fedpipe.figures.confusion_matrix",
    "reliability_diagram": "fedpipe.figures.evaluation_charts",
    "client_values": "fedpipe.figures.evaluation_charts",
}
"""Functions that draw, and their modules."""


@dataclass
class Run:
    """A run from data to registered model, and what is needed to compute its figures apart from it."""

    project: Project
    population: Population
    trained: TrainRef
    evaluated: EvalRef
    recorded: RecordRef
    drawn: dict[str, tuple[Any, ...]]
    """Arguments of each function of `PICTURES`."""

    def __post_init__(self) -> None:
        manifest = self.population.manifest
        self.model = build_model(CONFIG, tuple(manifest.feature_shape), manifest.num_classes)
        self.names = label_names(self.population)
        self.folder = Path(self.trained.run_dir)
        self.store: Store = open_store(self.project.root, CONFIG.tracking.experiment)
        self.metrics: dict[str, float] = self.store.client.get_run(self.trained.run_id).data.metrics

    def weights(self, name: str) -> Weights:
        """Return the weights `initial`, `best` or `final`."""
        return load_weights(self.folder / f"{name}.safetensors")

    def measure(self, name: str, examples: Examples) -> Evaluation:
        return Evaluator(self.model, examples).evaluate(self.weights(name))

    def examples(self, split: str) -> Examples:
        """Return the central test examples, or the validation examples of the clients that may train."""
        return self.population.central_test() if split == "test" else self.validation()

    def validation(self) -> Examples:
        clients = self.population.client_ids("validation")
        return pooled(
            self.population,
            [client for client in clients if client in self.population.participating()],
            "validation",
        )

    def rows(self) -> dict[int, dict[str, str]]:
        """Return the table of rounds by round."""
        with (self.folder / "rounds.csv").open(newline="") as file:
            return {int(row["round"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("project")
    (root / "params.yaml").write_text("")
    project, drawn = Project(root), {}

    def noted(name: str, draw: Any) -> Any:
        def note_and_draw(*arguments: Any) -> Any:
            drawn[name] = arguments
            return draw(*arguments)

        return note_and_draw

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        prepare_shards(CONFIG.data, project.shards, root)
        data = DataRef(str(project.shards), "0" * 32 + ".dir", "made", 0.0)
        context = RunContext(project, CONFIG, project.run_dir("chosen"), "chosen")
        trained = train(context, data, sample_clients(context, data))
        evaluated = evaluate(context, data, trained)
        importlib.import_module("fedpipe.report.page")  # which keeps the functions that are there
        for name, module in PICTURES.items():
            patch.setattr(
                f"{module}.{name}", noted(name, getattr(importlib.import_module(module), name))
            )
        recorded = record(context, data, trained, evaluated)
        yield Run(project, Population.open(project.shards), trained, evaluated, recorded, drawn)


def test_the_run_can_tell_its_weights_and_its_examples_apart(run: Run) -> None:
    """Without these differences the other tests would let a mistake through."""
    rows = run.rows()
    by_test = max(rows, key=lambda number: float(rows[number]["test_accuracy"]))
    assert run.trained.best_round is not None
    assert 0 < run.trained.best_round < by_test < run.trained.rounds == CONFIG.rounds
    scores = {
        (name, split): run.measure(name, run.examples(split)).accuracy
        for name in WEIGHTS
        for split in ("test", "validation")
    }
    assert len(set(scores.values())) == 6


def test_each_split_is_measured_on_its_own_examples(run: Run) -> None:
    rows = run.rows()
    rounds = {"initial": 0, "best": run.trained.best_round, "final": run.trained.rounds}
    for name, number in rounds.items():
        for split in ("test", "validation"):
            expected = run.measure(name, run.examples(split))
            assert float(rows[number or 0][f"{split}_accuracy"]) == pytest.approx(
                expected.accuracy
            ), (name, split)
            assert float(rows[number or 0][f"{split}_loss"]) == pytest.approx(expected.loss), (
                name,
                split,
            )


def test_validation_chooses_the_round(run: Run) -> None:
    scores = {number: float(row["validation_accuracy"]) for number, row in run.rows().items()}
    assert run.trained.best_round == max(scores, key=lambda number: scores[number])
    assert run.trained.result_round == run.trained.best_round
    assert Path(run.trained.result_weights) == run.folder / "best.safetensors"
    assert run.trained.weights_sha256 == weights_sha256(run.weights("final"))


def test_figures_are_of_the_weights_that_they_name(run: Run) -> None:
    figures = {
        "initial": run.evaluated.initial,
        "best": run.evaluated.best,
        "final": run.evaluated.final,
    }
    for name, values in figures.items():
        expected = run.measure(name, run.examples("test")).metrics("test")
        assert values is not None
        assert {key: values[key] for key in expected} == pytest.approx(expected), name
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary == {key: figures["best"][key] for key in ("test/accuracy", "test/loss")}
    assert json.loads((run.folder / "metrics.json").read_text()) == figures


def test_tables_are_of_the_chosen_weights(run: Run) -> None:
    best = run.measure("best", run.population.central_test())
    for name, text in (
        ("confusion.csv", confusion_csv(best.confusion, run.names)),
        ("confusion_counts.csv", confusion_counts_csv(best.confusion, run.names)),
        ("labels.csv", labels_csv(best.confusion, run.names)),
        ("reliability.csv", reliability_csv(best.calibration)),
    ):
        assert (run.folder / name).read_text() == text, name


def test_pictures_of_mistakes_are_of_the_chosen_weights(run: Run, tmp_path: Path) -> None:
    central = run.population.central_test()
    write_mistakes(
        tmp_path / "mistakes.parquet", central, run.measure("best", central).predictions, run.names
    )
    expected = pq.read_table(tmp_path / "mistakes.parquet")
    assert expected.num_rows > 0
    assert pq.read_table(run.folder / "mistakes.parquet").equals(expected)


def test_pictures_are_drawn_from_the_tables_that_they_name(run: Run) -> None:
    """The learning curves have both splits, the others what the tables of the chosen weights hold."""
    assert run.drawn.keys() == {
        "learning_curves",
        "confusion_matrix",
        "reliability_diagram",
        "client_values",
    }
    best = run.measure("best", run.population.central_test())
    curves, _ = run.drawn["learning_curves"]
    assert [row["validation/accuracy"] for row in curves] == [
        float(row["validation_accuracy"]) for row in run.rows().values()
    ]
    confusion, names = run.drawn["confusion_matrix"]
    assert (confusion.pairs(), list(names)) == (best.confusion.pairs(), list(run.names))
    bins = np.array(list(best.calibration.rows())).T
    np.testing.assert_allclose(np.array(run.drawn["reliability_diagram"]), bins)
    table = pq.read_table(run.folder / "clients.parquet").to_pylist()
    metric, accuracies, gains = run.drawn["client_values"]
    assert metric == "accuracy"
    for kind, held_out in (("participating", False), ("held out", True)):
        assert accuracies[kind].tolist() == [
            row["accuracy"] for row in table if row["held_out"] is held_out
        ]
    assert gains.tolist() == [row["gain"] for row in table]


def test_each_clients_row_is_its_own(run: Run) -> None:
    table = {
        row["client_id"]: row for row in pq.read_table(run.folder / "clients.parquet").to_pylist()
    }
    held_out = [client for client, row in table.items() if row["held_out"]]
    assert set(table) - set(held_out) == set(run.population.participating())
    assert len(held_out) == 4
    predictor, weights = Predictor(run.model), run.weights("best")
    for client in (*held_out[:3], *sorted(set(table) - set(held_out))[:3]):
        row = table[client]
        scores = evaluate_clients(predictor, weights, run.population, [client])
        assert row["accuracy"] == pytest.approx(scores.accuracies[0]), client
        (after,) = personalized_scores(CONFIG, predictor, weights, run.population, [client])
        assert row["personalized_accuracy"] == pytest.approx(after), client
        assert row["gain"] == pytest.approx(after - scores.accuracies[0]), client


def test_metrics_of_the_run_are_of_the_weights_that_they_name(run: Run) -> None:
    rows = run.rows()
    chosen = rows[run.trained.result_round]
    for key in ("train_loss", "validation_accuracy", "validation_loss"):
        assert run.metrics[f"best/{key.replace('_', '/')}"] == pytest.approx(float(chosen[key])), (
            key
        )
    for name in ("best", "final"):
        assert run.metrics[f"{name}/test/accuracy"] == pytest.approx(
            run.measure(name, run.examples("test")).accuracy
        ), name
    assert "final/validation/accuracy" not in run.metrics


def test_the_registered_model_has_the_chosen_weights_and_their_figures(
    run: Run, tmp_path: Path
) -> None:
    registered = run.recorded.registered
    assert registered is not None
    fetched = fetch_model(run.store, f"digits/{registered.version}", tmp_path)
    central = run.population.central_test()
    pixels = central.x.astype(np.float32) / 255
    labels = SavedClassifier.load(fetched.saved_model).predict(pixels).argmax(axis=1)
    np.testing.assert_array_equal(labels, run.measure("best", central).predictions.predicted)
    assert fetched.facts == InputFacts.of(run.population.manifest, run.model, CONFIG.data)
    assert registered.validation_accuracy == pytest.approx(
        run.measure("best", run.validation()).accuracy
    )
    logged = run.store.client.get_logged_model(str(run.recorded.model_uri).removeprefix("models:/"))
    assert (logged.tags["weights_sha256"], logged.tags["round"]) == (
        weights_sha256(run.weights("best")),
        str(run.trained.best_round),
    )
    (output,) = run.store.client.get_run(run.trained.run_id).outputs.model_outputs
    assert output.step == run.trained.best_round
    of_model = {metric.key for metric in logged.metrics}
    assert "best/test/accuracy" in of_model
    assert not any(key.startswith("final/") for key in of_model)
