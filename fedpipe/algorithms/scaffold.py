"""SCAFFOLD: control variates take out of each client's steps what its data differ from all the
others'.

Source: Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning"
    (arXiv 1910.06378), Algorithm 1 with option II for the control variates, N clients in all:

    each client k:  w_k = steps of SGD from w with gradient g - c_k + c;   c_k' = c_k - c + (w -
    w_k) / (steps rate)
    server:         w = server_optimizer(w, mean of w_k - w);   c = c + sum over the cohort of (c_k'
        - c_k) / N

c and every c_k start at zero, so that c is the mean of all c_k; the first round is `fedavg`'s. The
paper takes the plain mean and server SGD; here `client.weighting`, `aggregator` and
`server.optimizer` say, as in the other algorithms. The clients' optimizer is SGD, of which option
II is derived.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from fedpipe.algorithms.recipe import Recipe, Run, averaging
from fedpipe.algorithms.stateful_clients import Tensors, WithMemory


class Scaffold(WithMemory):
    """What a client keeps is c_k; `mean` is c; a client is given c - c_k."""

    def _first(self) -> Tensors:
        return [np.zeros_like(tensor) for tensor in self._initial]

    def _given(self, state: Any, client_id: str) -> Tensors:
        return [
            c - own for c, own in zip(state["mean"], state["clients"].of(client_id), strict=True)
        ]

    def _train(self, weights: list[Any], given: list[Any], ref: Any) -> tuple[Any, list[Any]]:
        def corrected(
            gradients: list[Any], _weights: list[Any], _server_weights: list[Any]
        ) -> list[Any]:
            return [
                gradient + correction for gradient, correction in zip(gradients, given, strict=True)
            ]

        work = replace(self._work, local_gradient=corrected)
        result = work(weights, ref["data"], ref["count"], ref["seed"], ref["rate"])
        passed = tf.cast(result.sums["steps"], tf.float32) * ref["rate"]
        kept = [
            tf.math.divide_no_nan(-update, passed) - correction
            for update, correction in zip(result.update, given, strict=True)
        ]
        return result, kept


def build(run: Run) -> Recipe:
    """Return FedAvg with control variates."""
    return replace(
        averaging(run), algorithm=partial(Scaffold, clients=len(run.population.participating()))
    )
