"""Metrics against scikit-learn on pooled predictions, whatever way the predictions lie at clients."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as sk

from fedpipe.config import Config
from fedpipe.config.task import TaskKind
from fedpipe.tasks import Predictions
from fedpipe.tasks.build import build_metric_of
from fedpipe.tasks.scores import sigmoid, softmax
from fedpipe.tasks.task import Metric

SEEDS = range(12)
CLASSES = 4


def metric(kind: TaskKind, name: str, outputs: int) -> Metric:
    task = Config.model_validate({"task": {"kind": kind, "metrics": [name]}}).task
    names = ("no", "yes") if kind == "binary" else tuple(map(str, range(outputs)))
    return build_metric_of(task, name, names)


def of_classes(rng: np.random.Generator, count: int) -> Predictions:
    # Rounded, so that some scores are the same.
    logits = np.round(rng.normal(size=(count, CLASSES)), 1).astype(np.float32)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    shares = softmax(logits)
    of_label = logits[np.arange(count), labels]
    return Predictions(
        rows=np.arange(count),
        labels=labels,
        predicted=logits.argmax(axis=1).astype(np.int32),
        losses=-np.log(shares[np.arange(count), labels]).astype(np.float32),
        confidences=shares.max(axis=1).astype(np.float32),
        outputs=logits,
        ranks=(logits > of_label[:, np.newaxis]).sum(axis=1).astype(np.int32),
        briers=((shares - np.eye(CLASSES)[labels]) ** 2).sum(axis=1).astype(np.float32),
    )


def of_two(rng: np.random.Generator, count: int) -> Predictions:
    logits = np.round(rng.normal(size=(count, 1)), 1).astype(np.float32)
    labels = (rng.random(count) < 0.4).astype(np.int32)
    predicted = (logits[:, 0] > 0).astype(np.int32)
    shares = sigmoid(logits[:, 0])
    confidences = np.where(predicted == 1, shares, 1 - shares).astype(np.float32)
    losses = np.zeros(count, np.float32)
    return Predictions(np.arange(count), labels, predicted, losses, confidences, logits)


def of_labels(rng: np.random.Generator, count: int) -> Predictions:
    logits = np.round(rng.normal(size=(count, 3)), 1).astype(np.float32)
    targets = (rng.random((count, 3)) < 0.3).astype(np.float32)
    none = np.zeros(0, np.int32)
    empty = np.zeros(0, np.float32)
    losses = np.zeros(count, np.float32)
    return Predictions(np.arange(count), none, none, losses, empty, logits, targets)


def of_numbers(rng: np.random.Generator, count: int) -> Predictions:
    targets = (1e3 + rng.normal(size=(count, 2)) * [1.0, 20.0]).astype(np.float32)
    outputs = (targets + rng.normal(size=(count, 2))).astype(np.float32)
    none = np.zeros(0, np.int32)
    empty = np.zeros(0, np.float32)
    losses = np.zeros(count, np.float32)
    return Predictions(np.arange(count), none, none, losses, empty, outputs, targets)


def merged(of: Metric, predictions: Predictions, rng: np.random.Generator) -> float | None:
    """Return the metric of predictions that lie at clients of any size, some of them empty."""
    bounds = np.sort(rng.integers(0, len(predictions) + 1, 7)).tolist()
    edges = [0, *bounds, len(predictions)]
    parts = [of.sums(predictions.between(start, stop)) for start, stop in itertools.pairwise(edges)]
    first = of.merge(parts[:4])
    return of.value(of.merge([first, *parts[4:]]))


def references_of_classes(p: Predictions) -> dict[str, float]:
    assert p.outputs is not None
    shares = softmax(p.outputs)
    one_hot = np.eye(CLASSES)[p.labels]
    figures = {
        "accuracy": sk.accuracy_score(p.labels, p.predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(p.labels, p.predicted),
        "auroc": sk.roc_auc_score(p.labels, shares, multi_class="ovr"),
        "auprc": sk.average_precision_score(one_hot, shares),
        "log_loss": sk.log_loss(p.labels, shares, labels=range(CLASSES)),
        "brier": float(((shares - one_hot) ** 2).sum(axis=1).mean()),
        "top_2_accuracy": sk.top_k_accuracy_score(p.labels, shares + _tie_break(p), k=2),
    }
    for average in ("macro", "micro"):
        figures[f"precision_{average}"] = sk.precision_score(
            p.labels, p.predicted, average=average, zero_division=0
        )
        figures[f"recall_{average}"] = sk.recall_score(
            p.labels, p.predicted, average=average, zero_division=0
        )
        figures[f"f1_{average}"] = sk.f1_score(
            p.labels, p.predicted, average=average, zero_division=0
        )
    return figures


def _tie_break(p: Predictions) -> npt.NDArray[np.float64]:
    """Return what puts the label first among classes of the same score, as ranks do."""
    return np.eye(CLASSES)[p.labels] * 1e-9


@pytest.mark.parametrize("seed", SEEDS)
def test_metrics_of_classes_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predictions = of_classes(rng, 200)
    for name, reference in references_of_classes(predictions).items():
        of = metric("classification", name, CLASSES)
        assert of.value(of.sums(predictions)) == pytest.approx(reference, rel=1e-6), name
        assert merged(of, predictions, rng) == pytest.approx(reference, rel=1e-6), name


@pytest.mark.parametrize("seed", SEEDS)
def test_metrics_of_two_classes_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = of_two(rng, 150)
    assert p.outputs is not None
    shares = sigmoid(p.outputs[:, 0])
    references = {
        "accuracy": sk.accuracy_score(p.labels, p.predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(p.labels, p.predicted),
        "precision": sk.precision_score(p.labels, p.predicted),
        "recall": sk.recall_score(p.labels, p.predicted),
        "f1": sk.f1_score(p.labels, p.predicted),
        "f1_macro": sk.f1_score(p.labels, p.predicted, average="macro"),
        "auroc": sk.roc_auc_score(p.labels, shares),
        "auprc": sk.average_precision_score(p.labels, shares),
        "log_loss": sk.log_loss(p.labels, shares),
        "brier": sk.brier_score_loss(p.labels, shares),
    }
    for name, reference in references.items():
        of = metric("binary", name, 1)
        assert merged(of, p, rng) == pytest.approx(reference, rel=1e-6), name


@pytest.mark.parametrize("seed", SEEDS)
def test_metrics_of_labels_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = of_labels(rng, 120)
    assert p.outputs is not None
    assert p.targets is not None
    predicted = p.outputs > 0
    shares = sigmoid(p.outputs)
    labels = p.targets.astype(int)
    references = {
        "accuracy": 1 - sk.hamming_loss(labels, predicted),
        "f1_macro": sk.f1_score(labels, predicted, average="macro"),
        "f1_micro": sk.f1_score(labels, predicted, average="micro"),
        "precision_macro": sk.precision_score(labels, predicted, average="macro"),
        "recall_micro": sk.recall_score(labels, predicted, average="micro"),
        "auroc": sk.roc_auc_score(labels, shares),
        "auprc": sk.average_precision_score(labels, shares),
        "brier": np.mean((shares - labels) ** 2),
        "log_loss": np.mean([sk.log_loss(labels[:, i], shares[:, i]) for i in range(3)]),
    }
    for name, reference in references.items():
        of = metric("multilabel", name, 3)
        assert merged(of, p, rng) == pytest.approx(reference, rel=1e-6), name


@pytest.mark.parametrize("seed", SEEDS)
def test_metrics_of_numbers_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = of_numbers(rng, 90)
    assert p.outputs is not None
    assert p.targets is not None
    outputs = p.outputs.astype(np.float64)
    targets = p.targets.astype(np.float64)
    references = {
        "rmse": np.sqrt(sk.mean_squared_error(targets, outputs, multioutput="raw_values")),
        "mae": sk.mean_absolute_error(targets, outputs, multioutput="raw_values"),
        "r2": sk.r2_score(targets, outputs, multioutput="raw_values"),
    }
    for name, reference in references.items():
        of = metric("regression", name, 2)
        assert merged(of, p, rng) == pytest.approx(reference.mean(), rel=1e-9), name
        parts = of.parts(of.sums(p))
        assert parts == pytest.approx(
            {f"{name}_0": reference[0], f"{name}_1": reference[1]}, rel=1e-9
        )


@pytest.mark.parametrize(
    ("name", "labels", "predicted"),
    [
        ("auroc", [1, 1], [0, 1]),
        ("auprc", [0, 0], [0, 1]),
        ("precision", [1, 0], [0, 0]),
        ("recall", [0, 0], [0, 1]),
        ("f1", [0, 0], [0, 0]),
    ],
)
def test_what_does_not_exist_is_absent(name: str, labels: list[int], predicted: list[int]) -> None:
    logits = np.array([[2.0 * guess - 1] for guess in predicted], np.float32)
    predictions = Predictions(
        rows=np.arange(2),
        labels=np.array(labels, np.int32),
        predicted=np.array(predicted, np.int32),
        losses=np.zeros(2, np.float32),
        confidences=np.ones(2, np.float32),
        outputs=logits,
    )
    of = metric("binary", name, 1)
    assert of.value(of.sums(predictions)) is None
    assert not of.always_exists


def test_r2_of_equal_targets_is_absent() -> None:
    table = np.array([[2.0], [2.0]], np.float32)
    none = np.zeros(0, np.int32)
    empty = np.zeros(0, np.float32)
    predictions = Predictions(
        np.arange(2), none, none, empty, empty, outputs=table + 1, targets=table
    )
    of = metric("regression", "r2", 1)
    assert of.value(of.sums(predictions)) is None
    rmse = metric("regression", "rmse", 1)
    assert rmse.value(rmse.sums(predictions)) == 1.0


def test_an_area_of_a_model_that_diverged_is_no_number() -> None:
    rng = np.random.default_rng(1)
    p = of_two(rng, 20)
    assert p.outputs is not None
    p.outputs[3] = np.nan
    of = metric("binary", "auroc", 1)
    assert np.isnan(of.value(of.sums(p)))  # type: ignore[arg-type]


def test_perplexity_is_the_exponential_of_the_mean_loss() -> None:
    predictions = of_classes(np.random.default_rng(3), 50)
    of = metric("tokens", "perplexity", CLASSES)
    expected = np.exp(predictions.losses.astype(np.float64).mean())
    assert of.value(of.sums(predictions)) == pytest.approx(expected, rel=1e-9)
