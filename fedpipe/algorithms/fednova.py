"""FedNova: clients that take more steps than others do not pull the mean further than their weight.

Source: Wang et al. 2020, "Tackling the Objective Inconsistency Problem in Heterogeneous Federated
    Optimization" (arXiv 2007.07481), section 4, equation 9 and section 4.1:

    each client k:  d_k = (w_k - w) / a_k
                    a_k = |a_k|_1, the sum of what each of its gradients counts in w_k - w, over
                    the rate
    server:         w = w + (sum_k p_k a_k) (sum_k p_k d_k)

For SGD a_k is the number of steps, for momentum m it is (t - m (1 - m^t) / (1 - m)) / (1 - m), t
steps; p_k is the client's share of the examples, or 1 / clients (`client.weighting`). Clients with
equally many steps make it `fedavg`.
"""

from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from fedpipe.algorithms.client_work import ClientResult, ClientWork
from fedpipe.algorithms.recipe import Recipe, Run, averaging
from fedpipe.config.defaults import MOMENTUM, or_default
from fedpipe.errors import ConfigError


@dataclass(frozen=True)
class NovaWork(ClientWork):
    """Client work whose update is d_k, with a_k behind it. `momentum` is that of the optimizer, 0
    for SGD.
    """

    momentum: float = 0.0

    def zero_update(self, weights: Any) -> list[Any]:
        """Return zeros for d_k and a_k."""
        return [*super().zero_update(weights), tf.constant(0.0)]

    def __call__(self, *args: Any, **named: Any) -> ClientResult:
        """Train as FedAvg's clients do, and divide by what the steps count."""
        result = super().__call__(*args, **named)
        length = length_of(tf.cast(result.sums["steps"], tf.float32), self.momentum)
        return result._replace(
            update=[tensor / tf.maximum(length, 1.0) for tensor in result.update] + [length]
        )


def length_of(steps: Any, momentum: float) -> Any:
    """Return a_k of so many steps of SGD with momentum, float32.

    >>> [float(length_of(tf.constant(2.0), m)) for m in (0.0, 0.5)]
    [2.0, 2.5]
    """
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)


class NovaServer:
    """A server optimizer whose gradient is the product of the two means."""

    def __init__(self, inner: Any) -> None:
        """Take the optimizer that the gradient goes to."""
        self.inner = inner

    def initialize(self, specs: Any) -> Any:
        """Return the inner optimizer's state."""
        return self.inner.initialize(specs)

    def next(self, state: Any, weights: Any, gradients: Any) -> Any:
        """Return the next state and weights; the gradients are the negated means of d_k, and of
        a_k.
        """
        *directions, length = gradients
        return self.inner.next(state, weights, [-length * direction for direction in directions])


def build(run: Run) -> Recipe:
    """Return FedAvg with normalized updates."""
    client = run.config.client
    if client.optimizer == "adam":
        raise ConfigError(
            "client.optimizer=adam: expected sgd or momentum, whose steps algorithm.name=fednova "
            "can count. Choose one."
        )
    momentum = 0.0
    if client.optimizer != "sgd":
        momentum = or_default(client.momentum, MOMENTUM)
    plain = averaging(run)
    return replace(
        plain,
        work=NovaWork.of(plain.work, momentum=momentum),
        server_optimizer=NovaServer(plain.server_optimizer),
    )
