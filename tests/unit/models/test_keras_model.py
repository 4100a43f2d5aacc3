"""Keras models of the user's own: what they compute, what follows from the seed, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.config import Config
from fedpipe.errors import ModelError
from fedpipe.models import ModelSpec, build_model

MODULE = """
import tensorflow as tf
L = tf.keras.layers
S = tf.keras.Sequential

def sequential(shape, classes, width: int = 8):
    return S([L.Flatten(), L.Dense(width, "relu"), L.Dense(classes)])

def functional(shape, classes):
    x = L.Input(shape)
    y = L.GroupNormalization(2)(L.Reshape((*shape, 1))(x) * tf.ones((1, 1, 1, 2)))
    return tf.keras.Model(x, L.Dense(classes)(L.LayerNormalization()(L.Flatten()(y))))

class Own(tf.keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.parts = [L.Flatten(), L.Dense(4), L.Dropout(0.5), L.Dense(classes)]
        self.scale = tf.Variable(2.0)
    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x * self.scale

def subclassed(shape, classes):
    return Own(classes)

def dropout(shape, classes):
    return S([L.Flatten(), L.Dense(32), L.Dropout(0.5), L.Dense(classes)])

def augmented(shape, classes):
    return S([L.Reshape((*shape, 1)), L.RandomFlip(), L.RandomRotation(0.2), L.RandomContrast(0.2),
              L.GaussianNoise(0.1), L.Flatten(), L.Dense(classes)])

def lstm(shape, classes):
    return S([L.Embedding(20, 4), L.LSTM(5, dropout=0.2), L.Dense(classes)])

def gru(shape, classes):
    return S([L.Embedding(20, 4, mask_zero=True), L.Bidirectional(L.GRU(5)), L.Dense(classes)])

def bag(shape, classes):
    x = L.Input(shape, dtype="int32")
    y = L.GlobalAveragePooling1D()(L.Embedding(20, 4, mask_zero=True)(x))
    return tf.keras.Model(x, L.Dense(classes)(y))

class Adds(tf.keras.layers.Layer):
    def build(self, shape):
        self.table = tf.constant([float(i) for i in range(shape[-1])])
    def call(self, x):
        return x + self.table

def large_constant(shape, classes):
    return S([L.Input(shape), L.Flatten(), L.Dense(200), Adds(), L.Dense(classes)])

def attention(shape, classes):
    x = L.Input(shape)
    y = L.MultiHeadAttention(2, 4, dropout=0.1)(x, x)
    return tf.keras.Model(x, L.Dense(classes)(L.GlobalAveragePooling1D()(y)))

def normalized(shape, classes):
    return S([L.Flatten(), L.Dense(4), L.BatchNormalization(), L.Dense(classes)])

def softmax_last(shape, classes):
    return S([L.Flatten(), L.Dense(classes, activation="softmax")])

def softmax_layer(shape, classes):
    return S([L.Flatten(), L.Dense(classes), L.Softmax()])

def narrow(shape, classes):
    return S([L.Flatten(), L.Dense(classes - 1)])

def images(shape, classes):
    return S([L.Dense(classes)])

def other_features(shape, classes):
    return S([L.Input((7,)), L.Dense(classes)])

def two_inputs(shape, classes):
    x, y = L.Input(shape), L.Input(shape)
    return tf.keras.Model([x, y], L.Dense(classes)(L.Flatten()(x + y)))

def two_outputs(shape, classes):
    x = L.Input(shape)
    y = L.Dense(classes)(L.Flatten()(x))
    return tf.keras.Model(x, [y, y])

def mixed(shape, classes):
    return S([L.Flatten(), L.Dense(classes, dtype="mixed_float16")])

def half(shape, classes):
    return S([L.Flatten(), L.Dense(classes, dtype="float16")])

def regularized(shape, classes):
    return S([L.Flatten(), L.Dense(classes, kernel_regularizer="l2")])

def no_weights(shape, classes):
    return S([L.Flatten()])

class Raises(tf.keras.layers.Layer):
    def call(self, x):
        raise ValueError("no such thing")

def raises(shape, classes):
    return S([L.Flatten(), Raises(), L.Dense(classes)])

class Counts(tf.keras.layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight("calls", (), trainable=False, initializer="zeros")
    def call(self, x):
        self.calls.assign_add(1.0)
        return x

def counts(shape, classes):
    return S([L.Flatten(), Counts(), L.Dense(classes)])

class Draws(tf.keras.layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))

def draws(shape, classes):
    return S([L.Flatten(), Draws(), L.Dense(classes)])

HIDDEN = tf.Variable(3.0)

class Hidden(tf.keras.layers.Layer):
    def call(self, x):
        return x * HIDDEN

def hidden(shape, classes):
    return S([L.Flatten(), Hidden(), L.Dense(classes)])

def unseeded(shape, classes):
    import os
    value = float(int.from_bytes(os.urandom(4), "big"))
    return S([L.Flatten(), L.Dense(classes, bias_initializer=tf.keras.initializers.Constant(value))])

def kept(shape, classes):
    return S([L.Flatten(), L.Dense(4, trainable=False), L.Dense(classes)])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "keras_forms.py").write_text(MODULE)
    return folder


def build(
    project: Path, name: str, shape: tuple[int, ...] = (4, 4), classes: int = 3, **settings: Any
) -> ModelSpec:
    model = {"name": f"keras_forms:{name}", **settings}
    return build_model(Config.model_validate({"model": model}), shape, classes, project)


def tensors(model: ModelSpec, seed: int = 1) -> list[Any]:
    return [tf.constant(value) for value in model.initial_weights(seed).values()]


def examples(model: ModelSpec, count: int = 6) -> Any:
    draw = np.random.default_rng(0)
    if model.takes == ("int32",):
        return tf.constant(draw.integers(1, 20, (count, *model.feature_shape)), tf.int32)
    return tf.constant(draw.random((count, *model.feature_shape)), tf.float32)


FORMS = ("sequential", "functional", "subclassed", "dropout", "augmented")


@pytest.mark.parametrize("name", FORMS)
def test_each_form_gives_logits_and_gradients(project: Path, name: str) -> None:
    model = build(project, name)
    weights = tensors(model)
    x = examples(model)
    seed = tf.constant([1, 2], tf.int64)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        logits = (model.train_logits or (lambda w, x, _: model.logits(w, x)))(weights, x, seed)
    gradients = tape.gradient(logits, weights)
    assert logits.shape == (6, 3)
    assert all(float(tf.reduce_max(tf.abs(gradient))) > 0 for gradient in gradients)


@pytest.mark.parametrize(("name", "shape"), [("lstm", (7,)), ("gru", (7,)), ("attention", (5, 6))])
def test_sequences(project: Path, name: str, shape: tuple[int, ...]) -> None:
    model = build(project, name, shape)
    weights = tensors(model)
    x = examples(model)
    assert model.logits(weights, x).shape == (6, 3)
    if name != "attention":
        assert (model.takes, model.tokens) == (("int32",), 20)
        padded = tf.concat([x[:, :4], tf.zeros((6, 3), tf.int32)], 1)
        np.testing.assert_array_equal(
            model.logits(weights, x[:, :4]), model.logits(weights, padded)
        )


@pytest.mark.parametrize(
    ("name", "shape"), [("bag", (7,)), ("gru", (7,)), ("large_constant", (3,)), ("dropout", (3,))]
)
def test_a_graph_holds_all_that_it_computes_with(
    project: Path, name: str, shape: tuple[int, ...]
) -> None:
    """TFF computes it in another process, which has none of this one's tensors."""
    model = build(project, name, shape)
    weights = tensors(model)
    x = examples(model)

    def train(weights: Any, x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits = (model.train_logits or (lambda w, x, _: model.logits(w, x)))(
                weights, x, tf.constant([1, 2], tf.int64)
            )
            loss = tf.reduce_sum(logits**2)
        return logits, tape.gradient(loss, weights)

    graph = tf.function(train).get_concrete_function(weights, x)
    assert graph.captured_inputs == []
    for alone, here in zip(graph(weights, x)[1], train(weights, x)[1], strict=True):
        np.testing.assert_allclose(
            tf.convert_to_tensor(alone), tf.convert_to_tensor(here), rtol=1e-5, atol=1e-6
        )


def test_the_logits_are_those_of_keras(project: Path) -> None:
    """Of the model itself, with the same weights set."""
    model = build(project, "functional")
    layers = tf.keras.layers
    inputs = layers.Input((4, 4))
    hidden = layers.Reshape((4, 4, 1))(inputs) * tf.ones((1, 1, 1, 2))
    hidden = layers.LayerNormalization()(layers.Flatten()(layers.GroupNormalization(2)(hidden)))
    keras = tf.keras.Model(inputs, layers.Dense(3)(hidden))
    keras.set_weights(list(model.initial_weights(5).values()))
    x = examples(model)
    np.testing.assert_allclose(model.logits(tensors(model, 5), x), keras(x), rtol=1e-6)


def test_initial_weights_follow_from_the_seed(project: Path) -> None:
    model = build(project, "sequential")
    first = model.initial_weights(1)
    second = model.initial_weights(2)
    assert model.tensor_names == ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
    assert not np.array_equal(first["dense/kernel"], second["dense/kernel"])
    np.testing.assert_array_equal(first["dense/kernel"], model.initial_weights(1)["dense/kernel"])


@pytest.mark.parametrize("name", ["dropout", "augmented", "subclassed"])
def test_draws_follow_from_the_seed_of_the_step(project: Path, name: str) -> None:
    model = build(project, name)
    assert model.train_logits is not None
    weights = tensors(model)
    x = examples(model)
    first, again, other = (
        model.train_logits(weights, x, tf.constant(seed, tf.int64)).numpy()
        for seed in ([3, 1], [3, 1], [3, 2])
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(model.logits(weights, x), model.logits(weights, x))


def test_options_are_arguments(project: Path) -> None:
    model = build(project, "sequential", options={"width": 5})
    assert model.initial_weights(1)["dense/kernel"].shape == (16, 5)


def test_a_layer_that_is_not_trainable_is_said_to_be_frozen(project: Path) -> None:
    model = build(project, "kept")
    assert model.trainable == ("dense_1/kernel", "dense_1/bias")


def test_batch_normalization_can_be_frozen(project: Path) -> None:
    model = build(project, "normalized", batch_norm="frozen")
    assert model.train_logits is None
    assert model.trainable is not None
    assert set(model.tensor_names) - set(model.trainable) == {
        "batch_normalization/moving_mean",
        "batch_normalization/moving_variance",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("normalized", "without BatchNormalization.*GroupNormalization, or set model.batch_norm"),
        ("softmax_last", "expected logits as outputs, found that the last operation is a softmax"),
        ("softmax_layer", "the last operation is a softmax"),
        ("narrow", r"expected outputs of shape \[n, 3\] for n examples, found \[n, 2\]"),
        ("images", r"expected outputs of shape \[n, 3\] for n examples, found \[n, 4, 3\]"),
        ("other_features", r"incompatible.*features of shape \[4, 4\]"),
        ("two_inputs", "expected a model of one input"),
        ("two_outputs", "expected one tensor as output, found list"),
        ("mixed", "float32.*mixed"),
        ("half", "float32.*float16"),
        ("regularized", "without losses of its own"),
        ("no_weights", "expected a model with weights to train"),
        ("raises", "ValueError: no such thing, in "),
        ("counts", "'.*calls' is assigned to in a call"),
        ("draws", "expected random draws by Keras layers"),
        ("hidden", "found Variable, which would not be trained"),
        ("unseeded", "expected the same initial weights for the same seed"),
    ],
)
def test_what_cannot_be_trained_is_refused(project: Path, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        build(project, name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"model.name=keras_forms:{name}")


def test_batch_norm_without_such_a_layer_is_refused(project: Path) -> None:
    with pytest.raises(ModelError, match="has no BatchNormalization"):
        build(project, "sequential", batch_norm="frozen")
