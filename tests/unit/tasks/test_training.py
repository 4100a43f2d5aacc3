"""Metrics of training: sums of clients are those of all their batches, and agree with an evaluation."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.algorithms.client_work import ClientWork, add, train_metrics
from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.config import Config
from fedpipe.data.manifest import Targets
from fedpipe.errors import ConfigError
from fedpipe.models.evaluate import Evaluator, Predictor
from fedpipe.models.federated import evaluate_clients
from fedpipe.models.softmax import softmax
from fedpipe.tasks import Task, build_task
from fedpipe.tasks.predictions import Predictions
from fedpipe.types import Examples
from tests.unit.tasks.manifests import manifest_of

FEATURES = 3
KINDS: dict[str, tuple[int, Targets | None, list[str]]] = {
    "classification": (4, None, ["f1_macro", "auroc", "log_loss", "brier", "top_2_accuracy"]),
    "binary": (1, Targets(kind="binary", names=("n", "y"), outputs=1), ["auprc", "brier"]),
    "multilabel": (
        2,
        Targets(kind="multilabel", names=("a", "b"), outputs=2),
        ["accuracy", "log_loss", "precision_macro"],
    ),
    "regression": (2, Targets(kind="regression", names=("a", "b"), outputs=2), []),
}


def task_of_kind(kind: str, **settings: Any) -> Task:
    outputs, targets, metrics = KINDS[kind]
    values = {"kind": kind, "metrics": metrics} | settings
    manifest = manifest_of(outputs if targets is None else 2, targets)
    return build_task(Config.model_validate({"task": values}), manifest)


def examples(kind: str, count: int, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES)).astype(np.float32)
    outputs = KINDS[kind][0]
    if kind == "regression":
        return Examples(x, (x[:, :2] * 3 + rng.normal(size=(count, 2))).astype(np.float32))
    if kind == "multilabel":
        return Examples(x, (rng.random((count, outputs)) < 0.4).astype(np.float32))
    classes = 2 if kind == "binary" else outputs
    return Examples(x, rng.integers(0, classes, count).astype(np.int32))


def work_of(task: Task, /, **settings: Any) -> ClientWork:
    values: dict[str, Any] = {
        "model": softmax((FEATURES,), task.outputs),
        "optimizer": build_optimizer("sgd", 0.0),
        "feature_dtype": np.dtype(np.float32),
        "batch_size": 4,
        "by_value": True,
        "target_width": None if task.has_classes else task.outputs,
        "task": task,
    }
    return ClientWork(**(values | settings))


def run(work: ClientWork, weights: Any, data: Examples) -> Any:
    raw = tf.constant(data.x.tobytes() + data.y.tobytes())
    count = tf.constant(len(data), tf.int64)
    return tf.function(work)([*map(tf.constant, weights)], raw, count, tf.constant(1, tf.int64))


def weights_of(task: Task) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(5)
    kernel = rng.normal(size=(FEATURES, task.outputs)).astype(np.float32)
    return [kernel, rng.normal(size=task.outputs).astype(np.float32)]


@pytest.mark.parametrize("kind", KINDS)
def test_training_that_changes_nothing_measures_what_an_evaluation_does(kind: str) -> None:
    task = task_of_kind(kind)
    work = work_of(task)
    weights = weights_of(task)
    data = examples(kind, 90)
    clients = [data.x[:30], data.x[30:]], [data.y[:30], data.y[30:]]
    sums = work.zero_sums()
    for x, y in zip(*clients, strict=True):
        sums = add(sums, run(work, weights, Examples(x, y)).sums)
    found = train_metrics(sums, task)
    named = dict(zip(("kernel", "bias"), weights, strict=True))
    evaluated = Evaluator(work.model, data, task=task).evaluate(named)
    assert found.pop("train/steps") == 23  # 30 examples are 8 batches of 4, 60 are 15
    assert found.pop("train/loss") == pytest.approx(evaluated.loss, rel=1e-5)
    assert set(found) >= {f"train/{metric.name}" for metric in task.metrics if metric.training}
    for key, value in found.items():
        name = key.removeprefix("train/")
        # Areas have bins in training; the others are the same.
        tolerance = 0.01 if name in ("auroc", "auprc") else 1e-5
        assert value == pytest.approx(evaluated.values[name], abs=tolerance), name


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("regression", {}),
        ("regression", {"loss": "huber", "delta": 0.5}),
        ("binary", {}),
        ("multilabel", {"class_weights": [1.0, 3.0]}),
        ("classification", {"label_smoothing": 0.1}),
        ("classification", {"loss": "focal"}),
        ("classification", {}),
    ],
)
def test_a_step_goes_down_the_mean_loss_of_its_batch(kind: str, settings: dict[str, Any]) -> None:
    task = task_of_kind(kind, **settings)
    work = work_of(task, optimizer=build_optimizer("sgd", 1.0), batch_size=100)
    weights = weights_of(task)
    data = examples(kind, 9)
    update = run(work, weights, data).update
    variables = [tf.Variable(tensor) for tensor in weights]
    with tf.GradientTape() as tape:
        outputs = tf.matmul(data.x, variables[0]) + variables[1]
        loss = tf.reduce_mean(task.loss(outputs, tf.constant(data.y)))
    for found, gradient in zip(update, tape.gradient(loss, variables), strict=True):
        np.testing.assert_allclose(found, -gradient, rtol=1e-4, atol=1e-6)


def test_the_plain_task_measures_nothing_more_and_has_the_same_update() -> None:
    task = task_of_kind("classification", metrics=[])
    data = examples("classification", 20)
    weights = weights_of(task)
    settings = {"optimizer": build_optimizer("sgd", 0.1)}
    with_task = run(work_of(task, **settings), weights, data)
    without = run(work_of(task, task=None, **settings), weights, data)
    assert list(with_task.sums) == ["loss", "correct", "examples", "steps", "predictions"]
    for left, right in zip(with_task.update, without.update, strict=True):
        assert left.numpy().tobytes() == right.numpy().tobytes()


def test_a_private_run_adds_up_no_metrics_in_training() -> None:
    outputs, targets, metrics = KINDS["binary"]
    values = {
        "task": {"kind": "binary", "metrics": metrics},
        "privacy": {
            "mechanism": "gaussian",
            "clip_norm": 1.0,
            "noise_multiplier": 1.0,
            "delta": 1e-5,
        },
        "cohort": {"strategy": "poisson"},
        "client": {"weighting": "uniform"},
    }
    task = build_task(Config.model_validate(values), manifest_of(outputs + 1, targets))
    assert task.training_sums == ()


class Clients:
    def __init__(self, kind: str, sizes: list[int]) -> None:
        self.all = [examples(kind, size, seed) for seed, size in enumerate(sizes)]

    def examples(self, client_id: str, _split: str) -> Examples:
        return self.all[int(client_id)]


@pytest.mark.parametrize("kind", KINDS)
def test_clients_together_have_the_metrics_of_their_pooled_examples(kind: str) -> None:
    task = task_of_kind(kind)
    sizes = [1, 2, 700, 40, 5, 3, 60, 900, 1, 33]
    clients = Clients(kind, sizes)
    model = softmax((FEATURES,), task.outputs)
    weights = dict(zip(("kernel", "bias"), weights_of(task), strict=True))
    ids = [str(number) for number in range(len(sizes))]
    scores = evaluate_clients(Predictor(model, task=task), weights, clients, ids)  # type: ignore[arg-type]
    pooled = Examples(
        np.concatenate([client.x for client in clients.all]),
        np.concatenate([client.y for client in clients.all]),
    )
    together = Evaluator(model, pooled, task=task).evaluate(weights)
    figures = scores.metrics("participating")
    assert scores.predictions.tolist() == sizes
    assert figures["participating/loss"] == pytest.approx(together.loss, rel=1e-6)
    for name in task.over_clients:
        assert figures[f"participating/{name}"] == pytest.approx(together.values[name], rel=1e-9), (
            name
        )
        alone = [
            Evaluator(model, client, task=task).evaluate(weights).values.get(name, np.nan)
            for client in clients.all
        ]
        np.testing.assert_allclose(scores.of(name), alone, rtol=1e-6)
        known = np.array(alone)[~np.isnan(alone)]
        assert figures[f"participating/{name}_mean"] == pytest.approx(known.mean(), rel=1e-6)
        if name in scores.may_be_absent:
            assert figures[f"participating/{name}_clients"] == len(known)


def test_the_worst_tenth_is_that_of_the_largest_errors() -> None:
    task = task_of_kind("regression")
    clients = Clients("regression", [20] * 11)
    model = softmax((FEATURES,), 2)
    weights = dict(zip(("kernel", "bias"), weights_of(task), strict=True))
    ids = [str(number) for number in range(11)]
    scores = evaluate_clients(Predictor(model, task=task), weights, clients, ids)  # type: ignore[arg-type]
    figures = scores.metrics("held_out")
    worst = np.sort(scores.of("rmse"))[-2:].mean()
    assert figures["held_out/rmse_worst_decile"] == pytest.approx(worst, rel=1e-9)
    lowest = np.sort(scores.of("r2"))[:2].mean()
    assert figures["held_out/r2_worst_decile"] == pytest.approx(lowest, rel=1e-9)


OWN = """
import numpy as np
import tensorflow as tf

def pinball(outputs, targets, share: float = 0.5):
    error = targets - outputs
    return tf.reduce_mean(tf.maximum(share * error, (share - 1) * error), axis=-1)

def of_all(outputs, targets):
    return tf.reduce_mean(targets - outputs)

def constant(outputs, targets):
    return tf.ones(tf.shape(outputs)[0])

def largest(outputs, targets):
    return np.abs(outputs - targets).max()

largest.higher_is_better = False

def words(outputs, targets):
    return "many"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "own_task_functions.py").write_text(OWN)
    return folder


def of_own(project: Path, **settings: Any) -> Task:
    _, targets, _ = KINDS["regression"]
    config = Config.model_validate({"task": {"kind": "regression"} | settings})
    return build_task(config, manifest_of(2, targets), project)


def test_a_loss_and_a_metric_of_the_users_own(project: Path) -> None:
    task = of_own(
        project,
        loss="own_task_functions:pinball",
        metrics=["own_task_functions:largest"],
        choose_by="own_task_functions:largest",
        options={"share": 0.25},
    )
    assert (task.choose_by, task.higher_is_better) == ("largest", False)
    outputs = tf.constant([[1.0, 1.0]])
    assert task.loss(outputs, tf.constant([[3.0, 0.0]])).numpy() == pytest.approx([0.625])
    data = examples("regression", 30)
    weights = dict(zip(("kernel", "bias"), weights_of(task), strict=True))
    evaluated = Evaluator(softmax((FEATURES,), 2), data, task=task).evaluate(weights)
    outputs = data.x @ weights["kernel"] + weights["bias"]
    assert evaluated.values["largest"] == pytest.approx(np.abs(outputs - data.y).max(), rel=1e-5)
    assert evaluated.score == evaluated.values["largest"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "own_task_functions:of_all"}, "expected one loss for each of 6 examples"),
        ({"loss": "own_task_functions:constant"}, "expected a loss that can be differentiated"),
        ({"loss": "own_task_functions:pinbal"}, "pinbal"),
        ({"metrics": ["own_task_functions:words"]}, "expected a number or None, found str 'many'"),
        (
            {"loss": "own_task_functions:pinball", "options": {"shore": 0.5}},
            "task.options",
        ),
    ],
)
def test_functions_that_are_none_are_refused(
    project: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        of_own(project, **settings)


def test_metrics_of_keras_are_those_of_all_examples() -> None:
    metrics = ["RootMeanSquaredError", "R2Score"]
    task = task_of_kind("regression", metrics=metrics)
    clients = Clients("regression", [3, 20, 8])
    weights = dict(zip(("kernel", "bias"), weights_of(task), strict=True))
    model = softmax((FEATURES,), 2)
    scores = evaluate_clients(Predictor(model, task=task), weights, clients, ["0", "1", "2"])  # type: ignore[arg-type]
    errors = np.concatenate(
        [client.x @ weights["kernel"] + weights["bias"] - client.y for client in clients.all]
    )
    assert scores.pooled["RootMeanSquaredError"] == pytest.approx(
        np.sqrt(np.mean(errors**2)), rel=1e-5
    )
    assert "RootMeanSquaredError" in scores.lower_is_better
    assert scores.pooled["R2Score"] == pytest.approx(scores.pooled["r2"], rel=1e-4)


@pytest.mark.parametrize("name", ["F1Score", "FBetaScore"])
def test_f1_of_keras_is_that_of_probabilities_above_one_half(name: str) -> None:
    task = task_of_kind("binary", metrics=[name])
    (metric,) = [metric for metric in task.metrics if metric.name == name]
    outputs = np.array([[2.0], [-1.0], [-3.0], [1.0]], np.float32)
    labels = np.array([1, 1, 0, 0], np.int32)
    zeros = np.zeros(4, np.float32)
    predicted = (outputs[:, 0] > 0).astype(np.int32)
    predictions = Predictions(np.arange(4), labels, predicted, zeros, zeros, outputs)
    assert metric.value(metric.sums(predictions)) == pytest.approx(0.5)
