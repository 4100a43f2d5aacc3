"""Random draws of Keras layers as a function of a seed: dropout, noise and augmentation layers draw
from the seed of the client's step, so that a run repeats to the bit.
"""

import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_DRAWS = re.compile(
    r"(Random|Stateful(Uniform|StandardNormal|TruncatedNormal|Random)|TruncatedNormal|Multinomial"
    r"|ParameterizedTruncatedNormal|Rng)"
)
"""Operations of TensorFlow that draw from a state of the process; the stateless ones begin with
`Stateless`.
"""
_lock = threading.Lock()


@contextmanager
def seeded_draws(seed: Any) -> Iterator[None]:
    """Let all draws of Keras' layers that are traced in the block follow from a seed: the n-th draw
    from the seed with n folded in.

    Args:
        seed: int64 tensor [2].
    """
    import tensorflow as tf
    from keras.src import backend

    number = itertools.count()

    def next_seed() -> Any:
        return tf.random.experimental.stateless_fold_in(seed, next(number))

    def dropout(_self: Any, inputs: Any, rate: Any, noise_shape: Any = None) -> Any:
        return tf.nn.experimental.stateless_dropout(
            inputs, rate, next_seed(), rng_alg="philox", noise_shape=noise_shape
        )

    def uniform(
        _self: Any,
        shape: Any,
        minval: Any = 0.0,
        maxval: Any = None,
        dtype: Any = None,
        nonce: Any = None,
    ) -> Any:
        del nonce
        kind = tf.as_dtype(dtype or tf.float32)
        if maxval is None and not kind.is_integer:
            maxval = 1.0
        return tf.random.stateless_uniform(shape, next_seed(), minval, maxval, kind, alg="philox")

    def normal(
        _self: Any,
        shape: Any,
        mean: Any = 0.0,
        stddev: Any = 1.0,
        dtype: Any = None,
        nonce: Any = None,
    ) -> Any:
        del nonce
        kind = dtype or tf.float32
        return tf.random.stateless_normal(shape, next_seed(), mean, stddev, kind, alg="philox")

    def truncated_normal(
        _self: Any,
        shape: Any,
        mean: Any = 0.0,
        stddev: Any = 1.0,
        dtype: Any = None,
        nonce: Any = None,
    ) -> Any:
        del nonce
        kind = dtype or tf.float32
        return tf.random.stateless_truncated_normal(
            shape, next_seed(), mean, stddev, kind, alg="philox"
        )

    def make_seed(_self: Any) -> Any:
        return next_seed()

    seeded = {
        "dropout": dropout,
        "random_uniform": uniform,
        "random_normal": normal,
        "truncated_normal": truncated_normal,
        "make_seed_for_stateless_op": make_seed,
    }
    kind = backend.RandomGenerator
    with _lock:  # the methods are Keras' own, for all threads
        before = {name: getattr(kind, name) for name in seeded}
        try:
            for name, method in seeded.items():
                setattr(kind, name, method)
            yield
        finally:
            for name, method in before.items():
                setattr(kind, name, method)


def unseeded_draws(graph: Any) -> list[str]:
    """Return the names of operations in a graph, and in the functions that it calls, that draw from
    a state of the process and not from a seed.
    """
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes += function.node_def
    return sorted({node.name for node in nodes if _DRAWS.match(node.op)})
