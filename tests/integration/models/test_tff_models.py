"""Models of `tff.learning.models` compute what the Keras model that they were made of does."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.config import Config
from fedpipe.errors import ModelError
from fedpipe.models import ModelSpec, build_model

MODULE = """
import collections
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

L = tf.keras.layers
LOSS = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

def layers(shape, classes, rate=0.0):
    return tf.keras.Sequential([L.Input(shape), L.Flatten(), L.Dense(5, "relu"), L.Dropout(rate), L.Dense(classes)])

def spec(shape):
    return (tf.TensorSpec((None, *shape), tf.float32), tf.TensorSpec((None,), tf.int32))

def keras(shape, classes):
    return layers(shape, classes)

def variable(shape, classes):
    return tff.learning.models.from_keras_model(layers(shape, classes), loss=LOSS, input_spec=spec(shape))

def model_fn(shape, classes):
    return lambda: variable(shape, classes)

def variable_dropout(shape, classes):
    return tff.learning.models.from_keras_model(layers(shape, classes, 0.5), loss=LOSS, input_spec=spec(shape))

def functional(shape, classes):
    return tff.learning.models.functional_model_from_keras(
        lambda: layers(shape, classes),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), spec(shape))

def by_hand(shape, classes):
    first = ({"w": np.ones((12, classes), np.float32), "b": np.zeros(classes, np.float32)}, ())

    @tf.function
    def predict(weights, x, training):
        trained, _ = weights
        return tf.reshape(x, (-1, 12)) @ trained["w"] + trained["b"]

    return tff.learning.models.FunctionalModel(
        initial_weights=first, predict_on_batch_fn=predict,
        loss_fn=lambda output, label, sample_weight=None: tf.reduce_mean(output), input_spec=spec(shape))

def normalized(shape, classes):
    model = tf.keras.Sequential([L.Input(shape), L.Flatten(), L.Dense(5), L.BatchNormalization(), L.Dense(classes)])
    return tff.learning.models.from_keras_model(model, loss=LOSS, input_spec=spec(shape))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "tff_forms.py").write_text(MODULE)
    return folder


def build(project: Path, name: str) -> ModelSpec:
    config = Config.model_validate({"model": {"name": f"tff_forms:{name}"}})
    return build_model(config, (4, 3), 3, project)


@pytest.mark.parametrize("name", ["variable", "model_fn", "functional"])
def test_it_computes_what_keras_does(project: Path, name: str) -> None:
    keras = build(project, "keras")
    model = build(project, name)
    weights = [tf.constant(value) for value in keras.initial_weights(1).values()]
    x = tf.constant(np.random.default_rng(0).random((6, 4, 3)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        expected = keras.logits(weights, x)
        actual = model.logits(weights, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    for left, right in zip(
        tape.gradient(actual, weights), tape.gradient(expected, weights), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
    own = model.initial_weights(2)
    assert [value.shape for value in own.values()] == [tuple(value.shape) for value in weights]
    again = build(project, name).initial_weights(2)
    assert all(np.array_equal(own[key], again[key]) for key in own)
    if name != "functional":  # TFF builds that one twice, and takes the second one's weights
        expected_first = keras.initial_weights(2).values()
        assert all(map(np.array_equal, own.values(), expected_first))


def test_weights_by_name(project: Path) -> None:
    model = build(project, "by_hand")
    assert model.tensor_names == ("trainable/b", "trainable/w")
    weights = list(model.initial_weights(1).values())
    x = tf.ones((2, 4, 3))
    np.testing.assert_allclose(model.logits(weights, x), np.full((2, 3), 12.0))


def test_dropout_follows_from_the_seed(project: Path) -> None:
    model = build(project, "variable_dropout")
    assert model.train_logits is not None
    weights = list(model.initial_weights(1).values())
    x = tf.ones((4, 4, 3))
    first, again, other = (
        model.train_logits(weights, x, tf.constant(seed, tf.int64)).numpy()
        for seed in ([1, 1], [1, 1], [1, 2])
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_batch_normalization_is_refused(project: Path) -> None:
    with pytest.raises(ModelError, match=r"is assigned to in a call.*GroupNormalization"):
        build(project, "normalized")
