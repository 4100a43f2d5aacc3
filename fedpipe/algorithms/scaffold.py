"""SCAFFOLD: control variates take out of each client's steps what its data differ from all the
others'.

Source: Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning"
    (arXiv 1910.06378), Algorithm 1 with option II for the control variates, N clients in all:

    each client k:  w_k = steps of SGD from w with gradient g - c_k + c
                    c_k' = c_k - c + (w - w_k) / (steps rate)
    server:         w = server_optimizer(w, mean of w_k - w)
                    c = c + sum over the cohort of (c_k' - c_k) / N

c and every c_k start at zero, so that c is the mean of all c_k; the first round is `fedavg`'s. The
paper takes the plain mean and server SGD; here `client.weighting`, `aggregator` and
`server.optimizer` say, as in the other algorithms. The clients' optimizer is SGD, of which option
II is derived.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from fedpipe.algorithms.client_work import ClientResult, ClientWork
from fedpipe.algorithms.recipe import Recipe, Run, averaging
from fedpipe.algorithms.stateful_clients import StatefulClients, Tensors


def initial_variates(weights: Tensors) -> Tensors:
    """Return c_k of a client before its first round."""
    return [np.zeros_like(tensor) for tensor in weights]


def correction(mean: Tensors, variates: Tensors) -> Tensors:
    """Return c - c_k, which a client is sent."""
    return [c - c_k for c, c_k in zip(mean, variates, strict=True)]


def train(
    work: ClientWork, weights: list[Any], correction: list[Any], ref: Any
) -> tuple[ClientResult, list[Any]]:
    """Return the result of a client's corrected steps, and its c_k after them."""

    def corrected(
        gradients: list[Any], _weights: list[Any], _server_weights: list[Any]
    ) -> list[Any]:
        return tf.nest.map_structure(tf.add, gradients, correction)  # type: ignore[no-any-return]

    work = replace(work, local_gradient=corrected)
    result = work(weights, ref["data"], ref["count"], ref["seed"], ref["rate"])
    steps_times_rate = tf.cast(result.sums["steps"], tf.float32) * ref["rate"]
    variates = [
        tf.math.divide_no_nan(-update, steps_times_rate) - change
        for update, change in zip(result.update, correction, strict=True)
    ]
    return result, variates


def build(run: Run) -> Recipe:
    """Return FedAvg with control variates: what a client keeps is c_k, and the mean of them is
    c.
    """
    clients = StatefulClients(
        population_size=len(run.population.participating()),
        initial=initial_variates,
        sent=correction,
        train=train,
    )
    return replace(averaging(run), clients=clients)
