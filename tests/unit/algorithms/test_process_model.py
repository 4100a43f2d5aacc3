"""The run's model as a `FunctionalModel` of TFF: its loss, metrics and draws. No worker runs."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.process_model import functional_model
from fedpipe.config import Config
from fedpipe.errors import ConfigError
from fedpipe.models import build_model

X = np.random.default_rng(1).random((5, 28, 28)).astype(np.float32)
Y = np.array([0, 1, 2, 3, 3], np.int32)
SPEC = (tf.TensorSpec((None, 28, 28)), tf.TensorSpec((None,), tf.int32))


def model_of(name: str, seed: int = 1) -> Any:
    model = build_model(Config.model_validate({"model": {"name": name}}), (28, 28), 10)
    return functional_model(model, SPEC, seed)


def test_loss_and_metrics_of_two_batches() -> None:
    model = model_of("softmax")
    outputs = np.eye(10, dtype=np.float32)[[0, 1, 2, 0, 0]] * 3.0
    loss = float(model.loss(outputs, Y))
    right = np.log(np.exp(3) + 9) - 3
    wrong = np.log(np.exp(3) + 9)
    assert loss == pytest.approx((3 * right + 2 * wrong) / 5, rel=1e-6)
    state = model.initialize_metrics_state()
    for rows in (slice(0, 3), slice(3, 5)):
        of_batch = model.loss(outputs[rows], Y[rows])
        batch = tff.learning.models.BatchOutput(
            loss=of_batch, predictions=outputs[rows], num_examples=len(Y[rows])
        )
        state = model.update_metrics_state(state, Y[rows], batch)
    metrics = model.finalize_metrics(state)
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-6)
    assert float(metrics["accuracy"]) == pytest.approx(0.6)
    assert int(metrics["num_examples"]) == 5


def test_dropout_follows_from_seed_batch_and_weights() -> None:
    model = model_of("cnn_dropout")
    weights = model.initial_weights

    def outputs(of: Any, tensors: Any, x: Any, training: bool = True) -> Any:
        return of.predict_on_batch(tensors, x, training).numpy()

    first = outputs(model, weights, X)
    np.testing.assert_array_equal(first, outputs(model, weights, X))
    assert not np.array_equal(first, outputs(model, weights, X, training=False))
    assert not np.array_equal(first, outputs(model_of("cnn_dropout", 2), weights, X))
    moved = (tuple(tensor + np.float32(1e-6) for tensor in weights[0]), ())
    assert np.abs(first - outputs(model, moved, X)).max() > 1e-3  # another mask, not a small step


def test_a_model_that_makes_labels_of_its_features_is_refused() -> None:
    config = Config.model_validate({"model": {"name": "lstm", "tokens": 12, "positions": "all"}})
    model = build_model(config, (6,), 12)
    with pytest.raises(ConfigError, match=r"run\.tff_model\(\): .*model\.name=lstm has more"):
        functional_model(model, SPEC, 1)
