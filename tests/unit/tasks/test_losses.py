"""Losses by hand and against Keras, and that each can be differentiated."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.config import Config
from fedpipe.data.manifest import Manifest, Targets
from fedpipe.errors import ConfigError
from fedpipe.tasks import Task, build_task
from tests.unit.tasks.manifests import manifest_of

LOGITS = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], np.float32)
LABELS = np.array([2, 1], np.int32)
LABEL_SETS = np.array([[1, 0, 1], [0, 0, 1]], np.float32)


def task(manifest: Manifest, **settings: Any) -> Task:
    return build_task(Config.model_validate({"task": settings}), manifest)


def classes(**settings: Any) -> Task:
    return task(manifest_of(3), **settings)


def numbers(outputs: int, **settings: Any) -> Task:
    names = tuple(map(str, range(outputs)))
    targets = Targets(kind="regression", names=names, outputs=outputs)
    return task(manifest_of(10, targets), kind="regression", **settings)


def labels(**settings: Any) -> Task:
    targets = Targets(kind="multilabel", names=("a", "b", "c"), outputs=3)
    return task(manifest_of(4, targets), kind="multilabel", **settings)


def two(**settings: Any) -> Task:
    targets = Targets(kind="binary", names=("no", "yes"), outputs=1)
    return task(manifest_of(2, targets), kind="binary", **settings)


def losses(of: Task, outputs: Any, targets: Any) -> list[float]:
    values: list[float] = of.loss(tf.constant(outputs), tf.constant(targets)).numpy().tolist()
    return values


def softmax(logits: Any) -> Any:
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def test_cross_entropy_spreads_its_smoothing_and_takes_weights() -> None:
    shares = softmax(LOGITS)
    plain = -np.log(shares[[0, 1], LABELS])
    assert losses(classes(), LOGITS, LABELS) == pytest.approx(plain, rel=1e-6)
    assert classes().is_cross_entropy
    smooth = 0.7 * plain - 0.1 * np.log(shares).sum(axis=1)
    of = classes(label_smoothing=0.3)
    assert not of.is_cross_entropy
    assert losses(of, LOGITS, LABELS) == pytest.approx(smooth, rel=1e-6)
    weighted = classes(class_weights=[1.0, 2.0, 4.0])
    assert losses(weighted, LOGITS, LABELS) == pytest.approx(plain * [4, 2], rel=1e-6)


def test_balanced_weights_follow_the_counts_of_labels() -> None:
    config = Config.model_validate({"task": {"class_weights": "balanced"}})
    of = build_task(config, manifest_of(3), label_counts=lambda: np.array([10, 20, 0]))
    plain = -np.log(softmax(LOGITS)[0, [0, 1]])
    found = losses(of, LOGITS[[0, 0]], np.array([0, 1], np.int32))
    # 30 examples, two classes with examples: 30 / (2 x 10) and 30 / (2 x 20)
    assert found == pytest.approx(plain * [1.5, 0.75], rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_that_of_its_paper(gamma: float) -> None:
    share = softmax(LOGITS)[[0, 1], LABELS]
    expected = -((1 - share) ** gamma) * np.log(share)
    assert losses(classes(loss="focal", gamma=gamma), LOGITS, LABELS) == pytest.approx(
        expected, rel=1e-5
    )
    chances = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    of_label = np.where(LABEL_SETS == 1, chances, 1 - chances)
    expected = (-((1 - of_label) ** gamma) * np.log(of_label)).mean(axis=1)
    assert losses(labels(loss="focal", gamma=gamma), LOGITS, LABEL_SETS) == pytest.approx(
        expected, rel=1e-5
    )


def test_focal_loss_of_a_sure_prediction_has_a_finite_gradient() -> None:
    of = classes(loss="focal", gamma=0.5)
    logits = tf.constant([[1000.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = of.loss(logits, tf.constant([0]))
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_binary_cross_entropy_takes_labels_of_one_or_several() -> None:
    outputs = LOGITS[:, :1]
    yes = np.array([1, 0], np.int32)
    expected = np.log1p(np.exp([-1.0, 0.0]))
    assert losses(two(), outputs, yes) == pytest.approx(expected, rel=1e-6)
    weighted = two(class_weights=[1.0, 3.0])
    assert losses(weighted, outputs, yes) == pytest.approx(expected * [3, 1], rel=1e-6)
    keras = tf.keras.losses.BinaryCrossentropy(
        from_logits=True, label_smoothing=0.2, reduction="none"
    )
    found = losses(labels(label_smoothing=0.2), LOGITS, LABEL_SETS)
    assert found == pytest.approx(keras(LABEL_SETS, LOGITS).numpy(), rel=1e-5)
    by_name = losses(labels(loss="BinaryCrossentropy"), LOGITS, LABEL_SETS)
    assert losses(labels(), LOGITS, LABEL_SETS) == pytest.approx(by_name, rel=1e-5)


def test_losses_of_numbers_are_means_over_targets() -> None:
    outputs = np.array([[1.0, 2.0], [0.0, -3.0]], np.float32)
    targets = np.array([[0.5, 2.0], [0.0, 1.0]], np.float32)
    assert losses(numbers(2), outputs, targets) == pytest.approx([0.125, 8.0])
    assert losses(numbers(2, loss="mae"), outputs, targets) == pytest.approx([0.25, 2.0])
    # delta 2: 0.5 x 0.25 and 2 (4 - 1)
    huber = losses(numbers(2, loss="huber", delta=2.0), outputs, targets)
    assert huber == pytest.approx([0.0625, 3.0])
    keras = tf.keras.losses.LogCosh(reduction="none")(targets, outputs).numpy()
    assert losses(numbers(2, loss="LogCosh"), outputs, targets) == pytest.approx(keras, rel=1e-6)


@pytest.mark.parametrize("name", ["CategoricalCrossentropy", "SparseCategoricalCrossentropy"])
def test_a_loss_of_keras_is_taken_from_logits(name: str) -> None:
    found = losses(classes(loss=name), LOGITS, LABELS)
    assert found == pytest.approx(losses(classes(), LOGITS, LABELS), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "settings", "words"),
    [
        (classes, {"loss": "MeanSquaredError"}, "expected a class of tf.keras.losses for"),
        (classes, {"loss": "CategoricalCrossEntropy"}, "Did you mean 'CategoricalCrossentropy'?"),
        (classes, {"class_weights": [1.0, 2.0]}, "expected a weight of each of 3 classes"),
        (classes, {"metrics": ["top_3_accuracy"]}, "is 1 for any model of 3 classes"),
        (classes, {"metrics": ["RootMeanSquaredError"]}, "expected a class of tf.keras.metrics"),
        (classes, {"loss": "no_such_module_here:loss"}, "no_such_module_here"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        make(**settings)


def test_labels_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.kind=regression: expected labels of this kind"):
        task(manifest_of(3), kind="regression")
