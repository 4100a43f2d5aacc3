"""Aggregates that a few wrong updates cannot move far: they take all updates together, coordinate
by coordinate or as points.

TFF has no such factory. Here the clients' updates are stacked, [clients, ...] for each tensor (see
`stacking`), and one function of the stack gives the aggregate; with it comes a factory as any of
`tff.aggregators`. The server then sees each client's update, so none of these goes with secure
summation. Update weights are not used: a client that lies could as well lie about its size.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.stacking import Stack, gather


def median(stack: Stack) -> list[Any]:
    """Return the coordinate-wise median; of an even number, the mean of the middle two.

    Source: Yin et al. 2018, "Byzantine-Robust Distributed Learning" (arXiv 1803.01498), Definition
        1.
    """
    return [_middle(tensor, (tf.shape(tensor)[0] - 1) // 2) for tensor in stack]


def trimmed_mean(fraction: float) -> Callable[[Stack], list[Any]]:
    """Return the coordinate-wise mean of what is left without the floor(fraction n) largest and as
    many smallest values.

    Source: Yin et al. 2018 (arXiv 1803.01498), Definition 2. `fraction` is from 0, the plain mean,
        to below 1/2.
    """

    def trimmed(stack: Stack) -> list[Any]:
        # The product in float32 may fall below a whole number that it should be: 0.1 of 10.
        return [
            _middle(
                tensor,
                tf.cast(
                    tf.floor(fraction * tf.cast(tf.shape(tensor)[0], tf.float64) + 1e-9), tf.int32
                ),
            )
            for tensor in stack
        ]

    return trimmed


def krum(byzantine: int) -> Callable[[Stack], list[Any]]:
    """Return the one update that is nearest to its n - byzantine - 2 nearest others, by the sum of
    squared distances.

    Source: Blanchard et al. 2017, "Machine Learning with Adversaries" (NeurIPS 2017; arXiv
        1703.02757), section 4. The proof asks for n > 2 byzantine + 2. Of equal ones the first in
        the order of client ids is taken.
    """

    def nearest(stack: Stack) -> list[Any]:
        points = tf.concat(
            [tf.reshape(tensor, (tf.shape(tensor)[0], -1)) for tensor in stack], axis=1
        )
        others = tf.maximum(tf.shape(points)[0] - byzantine - 2, 1)
        squares = tf.map_fn(
            lambda point: tf.reduce_sum((points - point) ** 2, axis=1), points
        )  # [n, n], with itself at distance 0
        scores = tf.reduce_sum(tf.sort(squares, axis=1)[:, : others + 1], axis=1)
        return [tensor[tf.argmin(scores)] for tensor in stack]

    return nearest


def _middle(tensor: Any, cut: Any) -> Any:
    """Return the mean over the first axis without the `cut` largest and smallest of each
    coordinate.
    """
    return tf.reduce_mean(tf.sort(tensor, axis=0)[cut : tf.shape(tensor)[0] - cut], axis=0)


# TFF has no types
class StackedFactory(tff.aggregators.UnweightedAggregationFactory):  # type: ignore[misc]
    """The `tff.aggregators` factory of a function of all updates."""

    def __init__(self, aggregate: Callable[[Stack], list[Any]]) -> None:
        """Take the function; it gets float32 [clients, *shape] for each tensor, in the order of the
        clients.
        """
        self._aggregate = aggregate

    def create(self, value_type: Any) -> Any:
        """Return the aggregation process for updates of a type; it has no state and measures
        nothing.
        """

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state: Any, updates: Any) -> Any:
            aggregate = gather(updates, value_type, self._aggregate)
            return tff.templates.MeasuredProcessOutput(
                state, aggregate, tff.federated_value((), tff.SERVER)
            )

        return tff.templates.AggregationProcess(initialize, next_fn)
