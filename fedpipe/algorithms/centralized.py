"""Centralized training, the upper baseline: the examples of a round's clients in one pool,
mini-batch SGD on it.

Nothing is federated: a server that had the data would do this. A round takes the pool of its
cohort, in an order drawn anew each epoch, `client.epochs` times; so it processes as many examples
as a round of `fedavg` with the same settings, in batches from all clients. With `cohort.size` = all
clients a round is an epoch over all the data. As in the other algorithms the optimizer starts
afresh each round.
"""

from dataclasses import replace
from typing import Any

import tensorflow as tf

from fedpipe.algorithms.aggregation import mean
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.algorithms.recipe import Recipe, Run, averaging


class PooledWork(ClientWork):
    """Client work on the examples of several clients; `data` is their paths, or bytes, and their
    counts, a vector each.
    """

    pools = True

    def examples(self, data: Any, count: Any) -> tuple[Any, Any]:
        """Return the examples of all clients, one after the other."""
        paths, counts = data
        clients = tf.size(counts)

        def read(i: Any, xs: Any, ys: Any) -> Any:
            x, y = self._bytes(paths[i], counts[i])
            return i + 1, xs.write(i, x), ys.write(i, y)

        arrays = [
            tf.TensorArray(tf.uint8, clients, infer_shape=False, element_shape=[None])
            for _ in range(2)
        ]
        _, xs, ys = tf.while_loop(
            lambda i, *_: i < clients, read, (0, *arrays), parallel_iterations=1
        )
        return self._decoded(xs.concat(), ys.concat(), count)


def build(run: Run) -> Recipe:
    """Return the recipe of one pool: shuffled, taken as it comes out."""
    plain = averaging(run, build_optimizer("sgd", 1.0))
    return replace(plain, work=PooledWork.of(plain.work, shuffle=True), aggregation=mean())
