"""Partition at random, in log-normal sizes."""

import numpy as np

from fedpipe.data.array_types import Int32s
from fedpipe.data.partitions.sizes import MIN_EXAMPLES, apportion, refuse_too_few
from fedpipe.errors import DataError
from fedpipe.seeding import generator

MAX_SIGMA = 5.0
"""What `quantity_partition` takes: with 5 the largest of 100 clients has most of the examples."""


def quantity_partition(examples: int, clients: int, sigma: float, seed: int) -> Int32s:
    """Return for each example the number of its client, at random; clients' sizes are log-normal.

    With z_i ~ N(0, 1), client i has a size in proportion to exp(sigma z_i), rounded by largest
    remainders; a client that would have fewer than two examples has two, and the others share what
    is left in the same proportions. So the logarithms of the sizes have the standard deviation
    sigma where few clients are that small.

    Args:
        examples: number of examples, at least two a client.
        clients: number of clients, at least 1.
        sigma: standard deviation of the logarithm of sizes, from 0 (they differ by one at most) to
            `MAX_SIGMA`.
        seed: seed of the partition.

    Raises:
        DataError: there are fewer than two examples a client, or `sigma` is out of its range.

    Source: the synthetic data of Li et al. 2020, "Federated Optimization in Heterogeneous
        Networks": their code draws sizes from a log-normal with sigma = 2 (and adds 50); the paper
        speaks of a power law.
    """
    refuse_too_few(examples, clients)
    if not 0 <= sigma <= MAX_SIGMA:
        raise DataError(
            f"data.sigma={sigma}: expected a value between 0 and {MAX_SIGMA}. At 0 sizes are "
            "equal, at the end one client has all."
        )
    rng = generator(seed, "partition", "quantity")
    logs = sigma * rng.standard_normal(clients)
    sizes = apportion(
        np.exp(logs - logs.max()),
        examples,
        np.full(clients, MIN_EXAMPLES),
        np.full(clients, examples),
    )
    return rng.permutation(np.repeat(np.arange(clients, dtype=np.int32), sizes))
