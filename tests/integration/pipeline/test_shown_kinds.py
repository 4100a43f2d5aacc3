"""Tables, pictures, report, model and warnings of a run follow the kind of its task."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from fedpipe.config import Config
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.data.population import Population
from fedpipe.inference.predict import predict
from fedpipe.models import build_model
from fedpipe.models.evaluate import Predictor
from fedpipe.models.weights_io import load_weights
from fedpipe.pipeline.evaluate import evaluate
from fedpipe.pipeline.record import record
from fedpipe.pipeline.sample_clients import sample_clients
from fedpipe.pipeline.train import train
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.shards import prepare
from fedpipe.runs.step_results import DataRef, RecordRef, TrainRef
from fedpipe.tables.multilabel import read_label_scores
from fedpipe.tables.ranking import read_ranking_curves
from fedpipe.tables.regression import read_target_scores
from fedpipe.tasks import task_of

CLIENTS = 6
EXAMPLES = 240


@dataclass
class Run:
    """A finished run of one kind."""

    project: Project
    config: Config
    trained: TrainRef
    recorded: RecordRef
    table: Path

    @property
    def folder(self) -> Path:
        return Path(self.trained.run_dir)

    @property
    def pictures(self) -> set[str]:
        return {path.stem for path in (self.folder / "plots").glob("*.svg")}

    @property
    def report(self) -> str:
        return (self.folder / "report.html").read_text()

    def outputs(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return outputs and targets of the central test set."""
        population = Population.open(self.project.shards)
        manifest = population.manifest
        model = build_model(self.config, tuple(manifest.feature_shape), manifest.outputs)
        task = task_of(self.config, population)
        examples = population.central_test()
        weights = load_weights(Path(self.trained.result_weights))
        predictions = Predictor(model, task=task).predict(weights, examples)
        assert predictions.outputs is not None
        return predictions.outputs, examples.y


def finished(root: Path, rows: dict[str, Any], settings: dict[str, Any]) -> Run:
    """Return a run of a table: its columns are `rows`, four features and clients are added."""
    x = rows.pop("x")
    clients = [f"c{number % CLIENTS}" for number in range(EXAMPLES)]
    table = root / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "client", *rows])
        writer.writerows(zip(*x.T.tolist(), clients, *rows.values(), strict=True))
    (root / "params.yaml").write_text("")
    data = {
        "source": "csv",
        "path": "table.csv",
        "client_column": "client",
        "label_column": list(rows) if len(rows) > 1 else next(iter(rows)),
    }
    config = Config.model_validate(
        {
            "rounds": 4,
            "cohort": {"size": 3},
            "client": {"learning_rate": 0.05},
            "eval": {"personalize_steps": 2},
            **settings,
            "data": data,
        }
    )
    project = Project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        prepare(ShardSettings.of(config), project.shards, project)
        shards = DataRef(str(project.shards), "0" * 32 + ".dir", "made", 0.0)
        context = RunContext(project, config, project.run_dir("kind"), "kind")
        trained = train(context, shards, sample_clients(context, shards))
        evaluated = evaluate(context, shards, trained)
        recorded = record(context, shards, trained, evaluated)
    assert recorded.incomplete == {}
    return Run(project, config, trained, recorded, table)


def features() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=(EXAMPLES, 4)).round(6)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Run:
    x = features()
    noise = np.random.default_rng(2).normal(size=EXAMPLES)
    labels = np.where(x[:, 0] + x[:, 1] + noise > 0, "sick", "healthy")
    settings = {"task": {"kind": "binary", "choose_by": "auroc"}}
    return finished(tmp_path_factory.mktemp("binary"), {"x": x, "state": labels}, settings)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Run:
    x = features()
    rows = {"x": x, "price": (3 * x[:, 0] + 1).round(6), "area": (x[:, 1] - x[:, 2]).round(6)}
    settings = {"task": {"kind": "regression"}}
    return finished(tmp_path_factory.mktemp("regression"), rows, settings)


@pytest.fixture(scope="module")
def multilabel(tmp_path_factory: pytest.TempPathFactory) -> Run:
    x = features()
    rows = {"x": x, "red": (x[:, 0] > 0).astype(int), "round": (x[:, 1] > 1).astype(int)}
    settings = {"task": {"kind": "multilabel"}}
    return finished(tmp_path_factory.mktemp("multilabel"), rows, settings)


def test_a_binary_run_shows_its_ranking(binary: Run) -> None:
    outputs, labels = binary.outputs()
    (roc,) = read_ranking_curves(binary.folder / "roc.csv")
    (precision_recall,) = read_ranking_curves(binary.folder / "precision_recall.csv")
    assert roc.label == "sick"
    assert roc.area == pytest.approx(sklearn_metrics.roc_auc_score(labels, outputs[:, 0]))
    average = sklearn_metrics.average_precision_score(labels, outputs[:, 0])
    assert precision_recall.area == pytest.approx(average)
    summary = json.loads((binary.folder / "summary.json").read_text())
    assert summary["test/auroc"] == pytest.approx(roc.area)
    assert binary.pictures == {
        *("learning_curves", "confusion_matrix", "reliability", "roc", "precision_recall"),
        "client_scores",
    }
    page = binary.report
    for heading in ("AUROC of each client", "Confusion", "Predictions on the central test set"):
        assert f">{heading}</h2>" in page
    assert f"sick: area {roc.area:.3f}" in page
    assert "predicted probability of sick" in page
    assert "Missing:" not in page


def test_a_regression_run_shows_errors_and_targets(regression: Run) -> None:
    predicted, true = regression.outputs()
    scores = read_target_scores(regression.folder / "targets.csv")
    assert [score.target for score in scores] == ["price", "area"]
    r2 = sklearn_metrics.r2_score(true, predicted, multioutput="raw_values")
    assert [score.r2 for score in scores] == pytest.approx(r2, rel=1e-5)
    assert regression.pictures == {
        *("learning_curves", "predicted_against_true", "residuals", "client_scores"),
    }
    assert not (regression.folder / "confusion.csv").exists()
    page = regression.report
    assert ">RMSE of each client</h2>" in page
    assert "clients with the highest RMSE" in page
    assert ">Confusion</h2>" not in page
    assert ">Predictions on the central test set</h2>" in page
    assert "Predicted against true: price" in page
    assert "Errors of area" in page
    assert f"{scores[0].rmse:.4g}" in page
    assert "Missing:" not in page


def test_a_multilabel_run_shows_each_label(multilabel: Run) -> None:
    outputs, has_label = multilabel.outputs()
    scores = read_label_scores(multilabel.folder / "labels.csv")
    assert [score.label for score in scores] == ["red", "round"]
    areas = [
        sklearn_metrics.roc_auc_score(has_label[:, column], outputs[:, column]) for column in (0, 1)
    ]
    assert [score.auroc for score in scores] == pytest.approx(areas)
    assert multilabel.pictures == {
        *("learning_curves", "labels", "roc", "precision_recall", "client_scores"),
    }
    page = multilabel.report
    assert ">F1 (macro) of each client</h2>" in page
    assert "Precision, recall and F1 by label" in page
    assert f"red: area {areas[0]:.3f}" in page
    assert ">Confusion</h2>" not in page


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("binary", ["label", "probability of sick"]),
        ("regression", ["price", "area"]),
        ("multilabel", ["labels", "red", "round"]),
    ],
)
def test_predictions_of_a_recorded_run_follow_its_kind(
    kind: str, columns: list[str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Run = request.getfixturevalue(kind)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    answer = predict(run.project, run.recorded.run_id, [run.table])
    assert answer.kind == kind
    assert len(answer.predictions) == EXAMPLES
    assert list(answer.predictions[0].columns) == columns
    (shards,) = run.project.shards.glob("central-*.parquet")
    of_shards = predict(run.project, run.recorded.run_id, [shards]).predictions
    outputs, _ = run.outputs()
    if kind == "regression":
        values = [list(prediction.columns.values()) for prediction in of_shards]
        np.testing.assert_allclose(np.array(values, float), outputs, rtol=1e-5)
    assert len(of_shards) == len(outputs)
