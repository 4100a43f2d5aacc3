"""The CNN: its size, its initial weights, and that its logits are those of the Keras model."""

import numpy as np
import pytest

from fedpipe.config import Config
from fedpipe.errors import ModelError
from fedpipe.models import build_model
from fedpipe.models.cnn import cnn
from fedpipe.types import weights_sha256


def test_it_has_the_papers_number_of_parameters() -> None:
    # 5*5*1*32 + 32, 5*5*32*64 + 64, 7*7*64*512 + 512, 512*10 + 10
    model = build_model(Config.model_validate({"model": {"name": "cnn"}}), (28, 28), 10)
    sizes = [value.size for value in model.initial_weights(1).values()]
    assert sizes == [800, 32, 51200, 64, 1605632, 512, 5120, 10]
    assert sum(sizes) == 1_663_370


def test_initial_weights_come_from_the_seed_and_stay_in_glorots_bounds() -> None:
    model = cnn((28, 28), 10)
    first = model.initial_weights(1)
    assert (
        weights_sha256(first)
        == weights_sha256(model.initial_weights(1))
        != weights_sha256(model.initial_weights(2))
    )
    assert not first["conv1/bias"].any()
    bound = np.sqrt(6 / (25 * (1 + 32)))
    assert 0.95 * bound < np.abs(first["conv1/kernel"]).max() <= bound
    assert {value.dtype for value in first.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("shape", [(28, 28), (9, 12, 3)])
def test_logits_are_the_keras_models(shape: tuple[int, ...]) -> None:
    import tensorflow as tf

    model = cnn(shape, 10)
    x = np.random.default_rng(0).random((3, *shape), dtype=np.float32)
    weights = {name: value + 0.01 for name, value in model.initial_weights(0).items()}
    keras = model.keras()
    np.testing.assert_array_equal(keras.get_weights()[0], model.initial_weights(0)["conv1/kernel"])
    keras.set_weights(list(weights.values()))
    np.testing.assert_allclose(
        tf.nn.softmax(model.logits(list(weights.values()), x)), keras(x), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(784,), (28, 28, 1, 1), (3, 28)])
def test_features_that_are_no_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ModelError, match=r"model\.name=cnn: expected images .* choose model\.name=softmax"
    ):
        cnn(shape, 10)
