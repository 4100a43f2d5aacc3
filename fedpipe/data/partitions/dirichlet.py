"""Partition with label skew by a Dirichlet distribution over the clients, the usual benchmark."""

import numpy as np

from fedpipe.data.array_types import Int32s
from fedpipe.data.partitions.sizes import MIN_EXAMPLES, fill_up, refuse_too_few
from fedpipe.errors import DataError
from fedpipe.seeding import generator

MIN_ALPHA = 1e-4
MAX_ALPHA = 1e9
"""What `dirichlet_partition` draws with. Nothing is gained beyond, and NumPy's sampler never
returns for 1e-300.
"""


def dirichlet_partition(y: Int32s, clients: int, alpha: float, seed: int) -> Int32s:
    """Return for each example the number of its client, 0..clients - 1; every client has at least
    two.

    For each label, shares p ~ Dirichlet(alpha, ..., alpha) over the clients; the label's examples,
    in a random order, are cut at round(n * (p_1 + ... + p_k)). So a client's mix of labels is about
    Dirichlet(alpha) and clients differ in size; as alpha grows every client gets the same number of
    each label. Then, while a client has fewer than two examples, it takes a random one from the
    client that has most.

    Args:
        y: int32 [n], labels.
        clients: number of clients, at least 1.
        alpha: concentration, from `MIN_ALPHA` to `MAX_ALPHA`.
        seed: seed of the partition.

    Raises:
        DataError: there are fewer than two examples a client, or `alpha` is out of its range.

    Source: Yurochkin et al. 2019, "Bayesian Nonparametric Federated Learning of Neural Networks",
        section 4. They do not fill up small clients.
    """
    refuse_too_few(len(y), clients)
    if not MIN_ALPHA <= alpha <= MAX_ALPHA:
        raise DataError(
            f"data.alpha={alpha}: expected a value between {MIN_ALPHA} and {MAX_ALPHA}. Below all "
            "is skew, above all is even."
        )
    owner = np.zeros(len(y), np.int32)
    labels, counts = np.unique(y, return_counts=True)
    by_label = np.split(np.argsort(y, kind="stable"), np.cumsum(counts)[:-1])
    for label, rows_of in zip(labels.tolist(), by_label, strict=True):
        rng = generator(seed, "partition", label)
        rows = rng.permutation(rows_of)
        shares = rng.dirichlet(np.full(clients, alpha))
        ends = np.rint(np.cumsum(shares) * len(rows)).astype(np.int64)
        ends[-1] = len(rows)
        owner[rows] = np.repeat(np.arange(clients, dtype=np.int32), np.diff(ends, prepend=0))
    fill_up(owner, clients, MIN_EXAMPLES, generator(seed, "partition", "fill"))
    return owner
