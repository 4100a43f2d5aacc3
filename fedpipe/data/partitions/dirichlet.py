"""Label skew by a Dirichlet over the clients, the field's usual one."""

import heapq

import numpy as np
import numpy.typing as npt

from fedpipe.data.partitions.sizes import MIN_EXAMPLES, refuse_too_few
from fedpipe.errors import DataError
from fedpipe.seeding import generator

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
    refuse_too_few(len(y), clients)
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
    _fill_up(owner, clients, generator(seed, "partition", "fill"))
    return owner


def _fill_up(owner: npt.NDArray[np.int32], clients: int, rng: np.random.Generator) -> None:
    """Let clients with too few examples take from the largest, the first of equal ones, in place.

    A heap finds the largest and each giver's rows are listed once, so that this takes O(n log n) and not O(n) for each example
    moved. A client that was filled up never gives: while one has fewer than two, another has more.
    """
    sizes = np.bincount(owner, minlength=clients)
    poor = np.flatnonzero(sizes < MIN_EXAMPLES)
    if not len(poor):
        return
    by_owner = np.argsort(owner, kind="stable")
    ends = np.cumsum(sizes)
    givers = [(-int(size), client) for client, size in enumerate(sizes) if size > MIN_EXAMPLES]
    heapq.heapify(givers)
    rows_left: dict[int, list[int]] = {}
    for taker in np.repeat(poor, MIN_EXAMPLES - sizes[poor]):
        minus_size, giver = givers[0]
        if giver not in rows_left:
            rows_left[giver] = by_owner[ends[giver] + minus_size : ends[giver]].tolist()
        owner[rows_left[giver].pop(int(rng.integers(-minus_size)))] = taker
        heapq.heapreplace(givers, (minus_size + 1, giver))
