"""The examples train as their folders stand, and reach what a pooled model of scikit-learn reaches on the same examples."""

import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from fedpipe.data.population import Population
from fedpipe.types import Examples
from tests.e2e.conftest import User

EXAMPLES = Path(__file__).parents[2] / "examples"
Reader = Callable[..., tuple[dict[str, Any], Population]]


@pytest.fixture
def trained_example(tmp_path: Path) -> Reader:
    def train(name: str, *before: str) -> tuple[dict[str, Any], Population]:
        folder = tmp_path / name
        shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("*.csv", ".*"))
        user = User(folder, tmp_path / "home")
        if before:
            user.run(sys.executable, *before)
        summary = user.train()
        (shards,) = (folder / ".fedpipe" / "shards").iterdir()
        return summary, Population.open(shards)

    return train


def pooled_training(population: Population) -> Examples:
    examples = [population.examples(client_id) for client_id in population.participating()]
    return Examples(
        np.concatenate([client.x for client in examples]),
        np.concatenate([client.y for client in examples]),
    )


def test_tumours_of_20_hospitals_are_told_apart_as_by_pooled_logistic_regression(
    trained_example: Reader,
) -> None:
    summary, population = trained_example("breast_cancer")
    pooled = pooled_training(population)
    test = population.central_test()
    model = LogisticRegression(max_iter=1000).fit(pooled.x, pooled.y)
    reference = roc_auc_score(test.y, model.decision_function(test.x))
    assert summary["best"]["test/auroc"] == pytest.approx(reference, abs=0.01)
    assert population.manifest.clients == 20
    assert reference > 0.97, "the data can be told apart"


def test_digits_are_told_apart_by_a_keras_model_as_by_the_same_one_trained_on_pooled_examples(
    trained_example: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    summary, population = trained_example("keras_cnn")
    pooled = pooled_training(population)
    test = population.central_test()
    monkeypatch.syspath_prepend(str(EXAMPLES / "keras_cnn"))
    tf.keras.utils.set_random_seed(1)
    model = __import__("digits").cnn((28, 28), 10)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.SGD(0.02), loss, ["accuracy"])
    # 15 rounds of 2 epochs of 10 of 50 clients are 6 epochs of all examples.
    model.fit(pooled.x / np.float32(255), pooled.y, batch_size=20, epochs=6, verbose=0)
    reference = model.evaluate(test.x / np.float32(255), test.y, verbose=0)[1]
    assert reference > 0.93, "the model can learn it"
    assert summary["final"]["test/accuracy"] > reference - 0.07


def test_diabetes_of_20_clinics_is_predicted_as_by_pooled_ridge(trained_example: Reader) -> None:
    summary, population = trained_example("diabetes")
    pooled = pooled_training(population)
    test = population.central_test()
    predicted = Ridge().fit(pooled.x, pooled.y[:, 0]).predict(test.x)
    reference = math.sqrt(np.mean((predicted - test.y[:, 0]) ** 2))
    assert summary["final"]["test/rmse"] == pytest.approx(reference, rel=0.03)
    assert summary["final"]["test/rmse"] < np.std(test.y[:, 0]), "better than the mean"


def test_texts_are_told_apart_nearly_as_by_a_pooled_bag_of_words(trained_example: Reader) -> None:
    summary, population = trained_example("texts", "make_table.py")
    tokens = population.manifest.understood
    assert tokens is not None
    pooled = pooled_training(population)
    test = population.central_test()

    def words(x: np.ndarray) -> np.ndarray:
        counts = np.zeros((len(x), 2000), np.float32)
        np.maximum.at(counts, (np.arange(len(x))[:, np.newaxis], x), 1)
        counts[:, 0] = 0  # padding
        return counts

    model = LogisticRegression(C=0.3, max_iter=1000).fit(words(pooled.x), pooled.y)
    reference = model.score(words(test.x), test.y)
    assert reference > 0.75
    assert summary["final"]["test/accuracy"] == pytest.approx(reference, abs=0.05)
