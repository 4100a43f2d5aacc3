"""FedAvgM: the server keeps a velocity from round to round.

Source: Hsu et al. 2019, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification" (arXiv 1909.06335), section 4.3:

    server:  v = momentum v + (mean of w - w_k);   w = w - server_learning_rate v

The paper's server learning rate is 1. `server.momentum` is 0.9 unless set.
"""

from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.algorithms.recipe import Recipe, Run, averaging


def build(run: Run) -> Recipe:
    """Return FedAvg with SGD with momentum at the server."""
    server = run.config.server
    return averaging(run, build_optimizer("momentum", server.learning_rate, server.momentum))
