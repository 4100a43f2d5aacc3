"""Which draws of a TFF computation no seed determines. No worker runs."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.process_draws import stateful_draws


@tff.tensorflow.computation(tff.SequenceType(np.int64))
def shuffled(dataset: Any) -> Any:
    return dataset.shuffle(10).reduce(np.int64(0), lambda total, x: total * 2 + x)


@tff.tensorflow.computation(tff.SequenceType(np.int64))
def shuffled_by_a_seed(dataset: Any) -> Any:
    return dataset.shuffle(10, seed=3).reduce(np.int64(0), lambda total, x: total * 2 + x)


@tff.tensorflow.computation(np.float32)
def dropped(x: Any) -> Any:
    return tf.reduce_sum(tf.nn.dropout(x * tf.ones(3), 0.5))


@tff.tensorflow.computation(np.float32)
def drawn_by_a_seed(x: Any) -> Any:
    return x + tf.random.stateless_uniform([], [1, 2])


@tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
def mean_of_dropped(x: Any) -> Any:
    return tff.federated_mean(tff.federated_map(dropped, x))


@pytest.mark.parametrize(
    ("computation", "draws"),
    [
        (shuffled, ("ShuffleDataset",)),
        (shuffled_by_a_seed, ()),
        (dropped, ("RandomUniform",)),
        (drawn_by_a_seed, ()),
        (mean_of_dropped, ("RandomUniform",)),
    ],
)
def test_draws_without_a_seed_are_named(computation: Any, draws: tuple[str, ...]) -> None:
    assert stateful_draws(computation) == draws
