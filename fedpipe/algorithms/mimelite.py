"""MimeLite: clients step with the server's momentum, which no client changes in its round.

Source: Karimireddy et al. 2021, "Breaking the Centralized Barrier for Cross-Device Federated
    Learning" (arXiv 2008.03606), Algorithm 1 without its control variates, as in
    `tff.learning.algorithms.build_mime_lite`:

    each client k:  w_k = steps of the client optimizer from w, each with the optimizer's state as
                          the server has it
                    g_k = gradient at w over all its examples
    server:         w = server_optimizer(w, mean of w_k - w)
                    the client optimizer's state takes one step with the mean of g_k

The client optimizer is `client.optimizer`, whose state is the server's and is carried from round to
round; with `sgd`, which has none, this is `fedavg`. A client computes one more gradient for each of
its examples.
"""

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import tensorflow as tf

from fedpipe.algorithms.batch_gradients import gradients_and_counts
from fedpipe.algorithms.client_work import ClientResult, ClientWork
from fedpipe.algorithms.recipe import Recipe, Run, averaging

BASE = "base"


class MimeWork(ClientWork):
    """Client work with the server's optimizer state; its update is w_k - w, with g_k behind it."""

    reads_server = True

    def zero_update(self, weights: Any) -> list[Any]:
        """Return zeros for w_k - w and for g_k."""
        return [*super().zero_update(weights), *super().zero_update(weights)]

    def __call__(
        self, weights: Any, data: Any, count: Any, seed: Any, rate: Any = None, server: Any = None
    ) -> ClientResult:
        """Train with the state that the server sent, and compute the gradient of all examples at
        the server's weights.
        """
        plain = ClientWork.of(self, optimizer=_Held(self.optimizer, server[BASE]))
        result = plain(weights, data, count, seed, rate)
        return result._replace(
            update=[*result.update, *self._full_gradient(list(weights), data, count, seed)]
        )

    def _full_gradient(self, weights: list[Any], data: Any, count: Any, seed: Any) -> list[Any]:
        x, y = self.examples(data, count)

        def add_batch(start: Any, total: list[Any]) -> Any:
            batch_x = x[start : start + self.batch_size]
            batch_y = y[start : start + self.batch_size]
            gradients, _ = gradients_and_counts(
                self.model, weights, batch_x, batch_y, seed, -2 - start, self.task
            )  # no step's draws of what is dropped
            here = tf.cast(tf.shape(batch_y)[0], tf.float32)
            return start + self.batch_size, [
                left + here * right for left, right in zip(total, gradients, strict=True)
            ]

        zero = (tf.constant(0, tf.int64), ClientWork.zero_update(self, weights))
        _, total = tf.while_loop(
            lambda start, _: start < count, add_batch, zero, parallel_iterations=1
        )
        return [tf.math.divide_no_nan(tensor, tf.cast(count, tf.float32)) for tensor in total]


class _Held:
    """An optimizer whose state stays as it is."""

    def __init__(self, inner: Any, state: Any) -> None:
        self._inner = inner
        self._state = state

    def initialize(self, specs: Any) -> Any:
        del specs
        return self._state

    def next(self, state: Any, weights: Any, gradients: Any) -> Any:
        return state, self._inner.next(state, weights, gradients)[1]


class MimeServer:
    """The server optimizer, and with it the state of the clients' optimizer, under `base`."""

    def __init__(self, inner: Any, base: Any) -> None:
        """Take the server's optimizer and the clients'."""
        self.inner = inner
        self._base = base

    def initialize(self, specs: Any) -> Any:
        """Return both states."""
        return OrderedDict(self.inner.initialize(specs), **{BASE: self._base.initialize(specs)})

    def next(self, state: Any, weights: Any, gradients: Any) -> Any:
        """Return the next states and weights; the gradients are the negated means of w_k - w, then
        those of g_k.
        """
        own = OrderedDict((name, value) for name, value in state.items() if name != BASE)
        updates = gradients[: len(weights)]
        full = [-gradient for gradient in gradients[len(weights) :]]
        own, next_weights = self.inner.next(own, weights, updates)
        base, _ = self._base.next(state[BASE], [tf.zeros_like(tensor) for tensor in full], full)
        return OrderedDict(own, **{BASE: base}), next_weights


def build(run: Run) -> Recipe:
    """Return FedAvg whose clients share the server's momentum."""
    plain = averaging(run)
    return replace(
        plain,
        work=MimeWork.of(plain.work),
        server_optimizer=MimeServer(plain.server_optimizer, plain.work.optimizer),
    )
