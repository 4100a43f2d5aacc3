"""Models of which only some tensors are trained."""

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.config import Config
from fedpipe.errors import ModelError
from fedpipe.models import ModelSpec, build_model
from fedpipe.models.trainable import frozen_weights, trained_part, with_frozen


def mlp(trainable: list[str] | None, name: str = "mlp") -> ModelSpec:
    settings = {"model": {"name": name, "trainable": trainable}}
    return build_model(Config.model_validate(settings), (6, 6), 3)


def test_patterns_choose_the_tensors_in_the_models_order() -> None:
    whole = mlp(None)
    assert whole.trainable is None
    last = whole.tensor_names[-2:]
    assert mlp([*reversed(last)]).trainable == last
    assert mlp(["*"]).trainable is None


def test_a_pattern_that_matches_nothing_names_the_tensors() -> None:
    with pytest.raises(ModelError, match=r"'dense9/\*' matches none of .*kernel"):
        mlp(["*", "dense9/*"])


@pytest.mark.parametrize("name", ["mlp", "cnn_dropout"])
def test_the_part_computes_what_the_whole_does(name: str) -> None:
    whole = mlp(None, name)
    model = mlp([whole.tensor_names[-2], whole.tensor_names[-1]], name)
    weights = model.initial_weights(1)
    frozen = frozen_weights(model, weights)
    part = trained_part(model, weights)
    assert part.tensor_names == model.tensor_names[-2:]
    assert set(frozen) == set(model.tensor_names[:-2])
    first = part.initial_weights(1)
    x = tf.constant(np.random.default_rng(0).random((4, 6, 6)), tf.float32)
    np.testing.assert_array_equal(
        part.logits(list(first.values()), x), whole.logits(list(weights.values()), x)
    )
    assert (part.train_logits is None) == (whole.train_logits is None)
    if part.train_logits is not None and whole.train_logits is not None:
        seed = tf.constant([1, 2], tf.int64)
        np.testing.assert_array_equal(
            part.train_logits(list(first.values()), x, seed),
            whole.train_logits(list(weights.values()), x, seed),
        )
    again = with_frozen(model, first, frozen)
    assert tuple(again) == whole.tensor_names
    assert all(np.array_equal(again[key], weights[key]) for key in weights)


def test_a_model_that_is_trained_whole_is_its_own_part() -> None:
    whole = mlp(None)
    assert trained_part(whole, whole.initial_weights(1)) is whole
    assert frozen_weights(whole, whole.initial_weights(1)) == {}
