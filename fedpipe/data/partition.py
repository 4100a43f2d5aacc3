"""How a pool of examples is given to clients: label skew by a Dirichlet. Pure functions of labels, settings and seed."""

import numpy as np
import numpy.typing as npt

from fedpipe.errors import DataError
from fedpipe.seeding import generator

MIN_EXAMPLES = 2
"""Examples that every client gets: one to train with, one to test with."""

MIN_ALPHA, MAX_ALPHA = 1e-4, 1e9
"""What `dirichlet_partition` draws with. Nothing is gained beyond, and NumPy's sampler never returns for 1e-300."""


def dirichlet_partition(y: npt.NDArray[np.int32], clients: int, alpha: float, seed: int) -> npt.NDArray[np.int32]:
    """Return for each example the number of its client, 0..clients - 1; every client has at least two.

    For each label, shares p ~ Dirichlet(alpha, ..., alpha) over the clients; the label's examples, in a random order, are cut
    at round(n * (p_1 + ... + p_k)). So a client's mix of labels is about Dirichlet(alpha) and clients differ in size; as
    alpha grows every client gets the same number of each label. Then, while a client has fewer than two examples, it takes a
    random one from the client that has most.

    Args:
        y: int32 [n], labels.
        clients: number of clients, at least 1.
        alpha: concentration, from `MIN_ALPHA` to `MAX_ALPHA`.
        seed: seed of the partition.

    Raises:
        DataError: there are fewer than two examples a client, or `alpha` is out of its range.

    Source: Yurochkin et al. 2019, "Bayesian Nonparametric Federated Learning of Neural Networks", section 4. They do not fill
    up small clients.
    """
    if len(y) < MIN_EXAMPLES * clients:
        raise DataError(
            f"data.clients={clients}: expected at least {MIN_EXAMPLES} examples a client, found {len(y)} examples in all. "
            f"Set data.clients to {len(y) // MIN_EXAMPLES} or less."
        )
    if not MIN_ALPHA <= alpha <= MAX_ALPHA:
        raise DataError(f"data.alpha={alpha}: expected a value between {MIN_ALPHA} and {MAX_ALPHA}. Below all is skew, above all is even.")
    owner = np.zeros(len(y), np.int32)
    for label in np.unique(y):
        rng = generator(seed, "partition", int(label))
        rows = rng.permutation(np.flatnonzero(y == label))
        shares = rng.dirichlet(np.full(clients, alpha))
        ends = np.rint(np.cumsum(shares) * len(rows)).astype(np.int64)
        ends[-1] = len(rows)
        owner[rows] = np.repeat(np.arange(clients, dtype=np.int32), np.diff(ends, prepend=0))
    return _filled_up(owner, clients, seed)


def client_names(clients: int) -> tuple[str, ...]:
    """Return the ids of the clients that a partition makes, sorted.

    >>> client_names(3), client_names(1001)[-1]
    (('c000', 'c001', 'c002'), 'c1000')
    """
    width = max(3, len(str(clients - 1)))
    return tuple(f"c{number:0{width}d}" for number in range(clients))


def _filled_up(owner: npt.NDArray[np.int32], clients: int, seed: int) -> npt.NDArray[np.int32]:
    rng = generator(seed, "partition", "fill")
    sizes = np.bincount(owner, minlength=clients)
    for poor in np.flatnonzero(sizes < MIN_EXAMPLES):
        while sizes[poor] < MIN_EXAMPLES:
            rich = int(np.argmax(sizes))
            owner[rng.choice(np.flatnonzero(owner == rich))] = poor
            sizes[rich] -= 1
            sizes[poor] += 1
    return owner
