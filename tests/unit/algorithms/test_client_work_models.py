"""Client work with models that draw while training and with models that predict after each token."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.data.resident import to_bytes
from fedpipe.models import ModelSpec
from fedpipe.models.cnn_dropout import cnn_dropout
from fedpipe.models.lstm import lstm
from fedpipe.types import Examples


def run(work: ClientWork, x: Any, y: list[int], seed: int) -> Any:
    body = to_bytes(Examples(x, np.array(y, np.int32)), "c")
    weights = [tf.constant(value) for value in work.model.initial_weights(1).values()]
    return work(
        weights, tf.constant(body), tf.constant(len(y), tf.int64), tf.constant(seed, tf.int64)
    )


def made(model: ModelSpec, dtype: str, batch_size: int, **settings: Any) -> ClientWork:
    return ClientWork(
        model, build_optimizer("sgd", 0.1), np.dtype(dtype), batch_size, by_value=True, **settings
    )


def test_dropout_follows_from_the_clients_seed_and_the_step() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    x[1] = x[0]
    model = cnn_dropout((8, 8), 3)
    first, again, other = (run(made(model, "uint8", 1), x, [1, 1], seed) for seed in (5, 5, 6))
    for one, same in zip(first.update, again.update, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first.update[6], other.update[6])
    one_step, two_steps = (
        run(made(model, "uint8", 1, max_steps=steps), x, [1, 1], 5) for steps in (1, 2)
    )
    dropped_first = np.all(np.asarray(one_step.update[6]) == 0, axis=1)
    dropped_second = np.all(
        np.asarray(two_steps.update[6]) == np.asarray(one_step.update[6]), axis=1
    )
    assert dropped_first.any()
    assert not np.array_equal(dropped_first, dropped_second), "the second step draws its own units"


def test_loss_and_gradient_are_over_real_tokens() -> None:
    # Two sequences of 3 and 1 tokens: four predictions, whatever the padding; the loss of a batch is the mean over these four.
    model = lstm((5,), 6, positions="all")
    x = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]], np.int32)
    found = run(made(model, "int32", 2, variable_length=True), x, [5, 1], 1)
    weights = [tf.constant(value) for value in model.initial_weights(1).values()]
    with tf.GradientTape() as tape:
        tape.watch(weights)
        long, short = model.logits(weights, x[:1, :3])[0], model.logits(weights, x[1:, :1])[0]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            [2, 3, 5, 1], tf.concat([long, short], 0)
        )
        mean = tf.reduce_mean(losses)
    assert float(found.sums["loss"]) == pytest.approx(float(tf.reduce_sum(losses)), rel=1e-5)
    assert [int(found.sums[name]) for name in ("predictions", "examples", "steps")] == [4, 2, 1]
    for update, gradient in zip(found.update, tape.gradient(mean, weights), strict=True):
        np.testing.assert_allclose(update, -0.1 * tf.convert_to_tensor(gradient), atol=1e-6)


def test_one_prediction_a_sequence_reads_the_last_token() -> None:
    model = lstm((5,), 3, tokens=9)
    padded = run(
        made(model, "int32", 1, variable_length=True), np.array([[7, 8, 0, 0, 0]], np.int32), [2], 1
    )
    whole = run(made(lstm((2,), 3, tokens=9), "int32", 1), np.array([[7, 8]], np.int32), [2], 1)
    assert int(padded.sums["predictions"]) == 1
    for left, right in zip(padded.update, whole.update, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-7)
