"""Keras models in TFF's worker: as raw ops where they are the same, and to the bit with dropout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.aggregation import mean
from fedpipe.algorithms.fedavg_reference import create_keras_model
from fedpipe.algorithms.recipe import Recipe, build_client_work
from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.config import Config
from fedpipe.data.resident import ResidentCache
from fedpipe.models import ModelSpec, build_model

MODULE = """
import tensorflow as tf
L = tf.keras.layers

def softmax(shape, classes):
    return tf.keras.Sequential([L.Flatten(), L.Dense(classes, kernel_initializer="zeros")])

def dropout(shape, classes):
    return tf.keras.Sequential([L.Flatten(), L.Dense(16, "relu"), L.GroupNormalization(4), L.Dropout(0.5), L.Dense(classes)])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "keras_on_worker.py").write_text(MODULE)
    return folder


def config_of(name: str, groups: int = 2) -> Config:
    return Config.model_validate(
        {"model": {"name": name}, "client": {"batch_size": 20}, "runtime": {"groups": groups}}
    )


@pytest.fixture
def trained(project: Path, tmp_path: Path, mixed_clients: Any, after: Any) -> Callable[..., Any]:
    def train(name: str, groups: int = 2) -> tuple[ModelSpec, list[Any]]:
        config = config_of(name, groups)
        model = build_model(config, (28, 28), 10, project)
        work = build_client_work(config, model, np.dtype(np.uint8))
        cache = ResidentCache(tmp_path, mixed_clients, ["keras"], max_bytes=10**9)
        algorithm = RecipeAlgorithm(config, Recipe(work, mean()), cache)
        state = after(algorithm, 2, tuple(sorted(mixed_clients.data)[:4]))
        return model, list(algorithm.weights(state).values())

    return train


def test_softmax_regression_is_that_of_raw_ops(trained: Any) -> None:
    _, keras = trained("keras_on_worker:softmax")
    _, raw = trained("softmax")
    for left, right in zip(keras, raw, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)


def test_dropout_repeats_to_the_bit(trained: Any) -> None:
    """The same groups give the same bits; another number of them adds in another order."""
    _, first = trained("keras_on_worker:dropout")
    _, again = trained("keras_on_worker:dropout")
    _, one_group = trained("keras_on_worker:dropout", groups=1)
    for left, right, other in zip(first, again, one_group, strict=True):
        np.testing.assert_array_equal(left, right)
        np.testing.assert_allclose(left, other, atol=1e-5)


def test_the_reference_takes_a_keras_model(project: Path) -> None:
    model = build_model(config_of("keras_on_worker:softmax"), (28, 28), 10, project)
    keras = create_keras_model(model)
    x = np.random.default_rng(0).random((3, 28, 28)).astype(np.float32)
    np.testing.assert_allclose(keras(x), np.full((3, 10), 0.1), rtol=1e-6)
