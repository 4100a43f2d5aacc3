"""Every named model: its parameters against the papers, its initial weights, and its logits against Keras' layers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedpipe.config import Config
from fedpipe.config.model import MODEL_NAMES
from fedpipe.errors import ModelError
from fedpipe.models import ModelSpec, build_model
from fedpipe.models.cnn_dropout import cnn_dropout
from fedpipe.models.lstm import lstm, next_tokens
from fedpipe.models.mlp import mlp
from fedpipe.models.resnet import resnet18_gn
from fedpipe.types import weights_sha256

# name, features, classes, parameters. softmax: 784 * 10 + 10. lstm: 90 * 8 + 4 * 256 * (8 + 256 + 1) + 4 * 256 * 513 + 257 * 90.
PAPERS = [
    ("softmax", (28, 28), 10, 7_850),
    ("mlp", (28, 28), 10, 199_210),  # McMahan et al. 2017, "MNIST 2NN"
    ("cnn", (28, 28), 10, 1_663_370),  # McMahan et al. 2017
    ("cnn_dropout", (28, 28), 62, 1_206_590),  # Reddi et al. 2021, EMNIST
    ("lstm", (80,), 90, 820_522),  # Reddi et al. 2021, Shakespeare
    (
        "resnet18_gn",
        (32, 32, 3),
        100,
        11_220_132,
    ),  # Reddi et al. 2021, CIFAR-100: "about 11 million"
]


def built(name: str, shape: tuple[int, ...], classes: int) -> ModelSpec:
    return build_model(Config.model_validate({"model": {"name": name}}), shape, classes)


@pytest.mark.parametrize(("name", "shape", "classes", "parameters"), PAPERS)
def test_it_has_the_papers_number_of_parameters(
    name: str, shape: tuple[int, ...], classes: int, parameters: int
) -> None:
    assert (
        sum(value.size for value in built(name, shape, classes).initial_weights(1).values())
        == parameters
    )


def test_every_named_model_is_among_them() -> None:
    assert [name for name, *_ in PAPERS] == list(MODEL_NAMES)


def test_mcmahans_lstm_is_the_same_with_258_tokens_and_peepholes() -> None:
    without = sum(value.size for value in built("lstm", (80,), 258).initial_weights(1).values())
    assert without + 2 * 3 * 256 == 866_578


@pytest.mark.parametrize(("name", "shape", "classes", "parameters"), PAPERS)
def test_initial_weights_are_bits_of_the_seed(
    name: str,
    shape: tuple[int, ...],
    classes: int,
    parameters: int,  # noqa: ARG001
) -> None:
    model = built(name, shape, classes)
    first = model.initial_weights(1)
    assert tuple(first) == model.tensor_names
    assert {value.dtype for value in first.values()} == {np.dtype(np.float32)}
    assert weights_sha256(first) == weights_sha256(model.initial_weights(1))
    assert name == "softmax" or weights_sha256(first) != weights_sha256(model.initial_weights(2))


def random_weights(model: ModelSpec, scale: float = 0.05) -> list[Any]:
    draw = np.random.default_rng(3)
    return [
        value + scale * draw.standard_normal(value.shape).astype(np.float32)
        for value in model.initial_weights(1).values()
    ]


def test_the_mlps_logits_are_the_keras_models() -> None:
    import tensorflow as tf

    model = mlp((4, 5), 3)
    weights, keras = random_weights(model), model.keras() if model.keras else None
    x = np.random.default_rng(0).random((7, 4, 5), dtype=np.float32)
    assert keras is not None
    np.testing.assert_array_equal(
        keras.get_weights()[0], model.initial_weights(0)["hidden1/kernel"]
    )
    keras.set_weights(weights)
    np.testing.assert_allclose(
        tf.nn.softmax(model.logits(weights, x)), keras(x.reshape(7, 20)), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(28, 28), (9, 12, 3)])
def test_the_dropout_cnns_logits_are_those_of_keras_layers(shape: tuple[int, ...]) -> None:
    import tensorflow as tf

    model, layers = cnn_dropout(shape, 62), tf.keras.layers
    convolutions = [
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPool2D(2),
    ]
    dense = [
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(62),
    ]
    keras = tf.keras.Sequential([layers.InputLayer((*shape, 1)[:3]), *convolutions, *dense])
    weights = random_weights(model)
    keras.set_weights(weights)
    x = np.random.default_rng(0).random((3, *shape), dtype=np.float32)
    np.testing.assert_allclose(
        model.logits(weights, x), keras(x.reshape(3, *(*shape, 1)[:3])), atol=1e-5
    )


def test_dropout_follows_from_the_seed_and_keeps_the_mean() -> None:
    import tensorflow as tf

    model = cnn_dropout((8, 8), 4)
    weights, x = random_weights(model), np.random.default_rng(0).random((2, 8, 8), dtype=np.float32)
    assert model.train_logits is not None
    draws = [
        model.train_logits(weights, x, tf.constant([seed, step], tf.int64)).numpy()
        for seed in (1, 2)
        for step in (1, 2)
    ]
    np.testing.assert_array_equal(
        draws[0], model.train_logits(weights, x, tf.constant([1, 1], tf.int64))
    )
    assert len({draw.tobytes() for draw in draws}) == 4, "another client or another step draws anew"
    # 0.25 and 0.5 of the units are dropped and the rest scaled: where no ReLU cuts, what comes out is kept on average.
    linear = [*map(np.abs, weights[:6]), np.ones((128, 4), np.float32), np.zeros(4, np.float32)]
    many = model.train_logits(
        linear, np.repeat(x[:1], 2000, axis=0), tf.constant([9, 1], tf.int64)
    ).numpy()
    np.testing.assert_allclose(many[:, 0].mean(), model.logits(linear, x[:1])[0, 0], rtol=0.1)
    assert many[:, 0].std() > 0, "each example draws its own units"


def test_the_lstms_logits_are_those_of_keras_layers_and_padding_changes_none() -> None:
    import tensorflow as tf

    model, layers = lstm((9,), 12, tokens=20), tf.keras.layers
    both = [layers.LSTM(256, return_sequences=True), layers.LSTM(256, return_sequences=True)]
    keras = tf.keras.Sequential([layers.Embedding(20, 8), *both, layers.Dense(12)])
    keras.build((None, 9))
    weights = random_weights(model)
    keras.set_weights(weights)
    x = np.random.default_rng(0).integers(1, 20, (3, 9)).astype(np.int32)
    x[1, 4:] = 0
    every = keras(x).numpy()
    np.testing.assert_allclose(
        model.logits(weights, x), [every[0, 8], every[1, 3], every[2, 8]], atol=1e-5
    )
    np.testing.assert_allclose(model.logits(weights, x[1:2, :4]), [every[1, 3]], atol=1e-5)
    positions = lstm((9,), 20, positions="all")
    weights = random_weights(positions)
    long, short = positions.logits(weights, x[1:2]), positions.logits(weights, x[1:2, :4])
    assert (long.shape, short.shape) == ((1, 9, 20), (1, 4, 20))
    np.testing.assert_allclose(long[:, :4], short, atol=1e-6)


def test_each_token_is_followed_by_the_next_and_the_last_by_the_label() -> None:
    labels, real = next_tokens(
        np.array([[5, 6, 7], [8, 0, 0]], np.int32), np.array([1, 2], np.int32)
    )
    assert labels[0].numpy().tolist() == [6, 7, 1]
    assert labels[1, 0] == 2
    assert real.numpy().tolist() == [[True, True, True], [True, False, False]]


def test_the_resnets_group_normalization_is_keras() -> None:
    import tensorflow as tf

    from fedpipe.models.resnet import _normalized

    draw, layers = np.random.default_rng(0), tf.keras.layers
    kernel, scale, offset = (
        draw.standard_normal(shape).astype(np.float32) for shape in ((3, 3, 5, 8), (8,), (8,))
    )
    keras = tf.keras.Sequential(
        [
            layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False),
            layers.GroupNormalization(2, epsilon=1e-5),
            layers.ReLU(),
        ]
    )
    keras.build((None, 9, 9, 5))
    keras.set_weights([kernel, scale, offset])
    x = draw.standard_normal((4, 9, 9, 5)).astype(np.float32)
    np.testing.assert_allclose(
        _normalized(iter([kernel, scale, offset]), x, 2, relu=True), keras(x), atol=1e-5
    )


def test_the_resnet_gives_logits_of_any_image() -> None:
    model = resnet18_gn((9, 12, 3), 5)
    weights = list(model.initial_weights(1).values())
    assert model.logits(
        weights, np.random.default_rng(0).random((2, 9, 12, 3), dtype=np.float32)
    ).shape == (2, 5)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: cnn_dropout((784,), 10),
            r"model\.name=cnn_dropout: expected images .* shape \[784\]",
        ),
        (
            lambda: resnet18_gn((4, 4), 10),
            r"model\.name=resnet18_gn: expected images .* at least 8 x 8",
        ),
        (
            lambda: lstm((28, 28), 10),
            r"model\.name=lstm: expected sequences of tokens \[length\], found features of shape \[28, 28\]",
        ),
        (
            lambda: lstm((80,), 2, tokens=257, positions="all"),
            r"model\.positions=all: expected labels that are tokens, found 257 tokens",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused(build: Callable[[], ModelSpec], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"name": "resnet"},
            r"model\.name: expected one of softmax, .*, or mypackage\.module:function, found 'resnet'",
        ),
        ({"tokens": 90}, r"model\.tokens=90 is set but model\.name=softmax ignores it"),
        (
            {"name": "cnn", "positions": "all"},
            r"model\.positions=all is set but model\.name=cnn ignores it",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config.model_validate({"model": settings})
