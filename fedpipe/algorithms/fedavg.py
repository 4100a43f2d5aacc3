"""Federated Averaging, at the speed of its arithmetic; `fedavg_reference` is the same algorithm as
TFF's tutorial writes it.

Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized
    Data" (arXiv 1602.05629), Algorithm 1, with the server as an optimizer on the mean update, as in
    Reddi et al. 2021 (arXiv 2003.00295), Algorithm 1:

    each client k of the cohort:  w_k = epochs of mini-batch steps from w;  d_k = w_k - w
    server:                       w = server_optimizer(w, gradient = -sum_k n_k d_k / sum_k n_k)

With SGD of rate 1 at the server this is the mean of the clients' weights, the paper's. n_k is the
client's number of examples (`client.weighting: examples`, the paper) or 1 (`uniform`, TFF's
tutorial and `fedavg_reference`).
"""

from fedpipe.algorithms.recipe import Recipe, Run, averaging


def build(run: Run) -> Recipe:
    """Return the recipe of Federated Averaging with the run's settings."""
    return averaging(run)
