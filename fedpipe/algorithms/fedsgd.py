"""FedSGD: one gradient step on each client's whole data a round.

Source: McMahan et al. 2017 (arXiv 1602.05629), section 2: FedAvg with B = infinity and E = 1,

    each client k:  d_k = -client_learning_rate grad F_k(w), over all its examples
    server:         w = w + mean of d_k

With `client.weighting: examples` and server SGD of rate 1 a round is one step of gradient descent
on the cohort's pooled examples.
"""

from dataclasses import replace

from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.algorithms.recipe import Recipe, Run, averaging

WHOLE = 2**31 - 1
"""A batch that holds any client."""


def build(run: Run) -> Recipe:
    """Return FedAvg whose clients take one SGD step on all their examples."""
    plain = averaging(run)
    sgd = build_optimizer("sgd", run.config.client.learning_rate)
    return replace(
        plain,
        work=replace(
            plain.work, optimizer=sgd, batch_size=WHOLE, epochs=1, max_steps=None, shuffle=False
        ),
    )
