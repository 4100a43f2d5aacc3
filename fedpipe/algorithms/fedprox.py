"""FedProx: each client's loss has a term that holds its weights near the server's.

Source: Li et al. 2020, "Federated Optimization in Heterogeneous Networks" (arXiv 1812.06127),
    Algorithm 2 and section 3.2:

    each client k:  minimizes  F_k(w) + mu/2 |w - w_server|^2,
                    so each step's gradient is  grad F_k(w) + mu (w - w_server)

The rest is `fedavg`, and mu = 0 is `fedavg`, bit for bit. The paper solves the local problem
inexactly by SGD, as here; it samples clients by their size and takes the plain mean, here the
cohort's strategy and `client.weighting` say how.
"""

from dataclasses import replace
from typing import Any

from fedpipe.algorithms.client_work import LocalGradient
from fedpipe.algorithms.recipe import Recipe, Run, averaging
from fedpipe.config.defaults import PROXIMAL_MU, or_default


def proximal(mu: float) -> LocalGradient:
    """Return the step's gradient with the proximal term's: g + mu (w - w_server)."""

    def local_gradient(
        gradients: list[Any], weights: list[Any], server_weights: list[Any]
    ) -> list[Any]:
        return [
            g + mu * (w - start)
            for g, w, start in zip(gradients, weights, server_weights, strict=True)
        ]

    return local_gradient


def build(run: Run) -> Recipe:
    """Return FedAvg whose clients minimize with the proximal term of `algorithm.mu`."""
    plain = averaging(run)
    mu = or_default(run.config.algorithm.mu, PROXIMAL_MU)
    if mu:
        return replace(plain, work=replace(plain.work, local_gradient=proximal(mu)))
    return plain
