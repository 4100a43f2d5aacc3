"""Partition at random, in equal sizes."""

import numpy as np

from fedpipe.data.array_types import Int32s
from fedpipe.data.partitions.sizes import refuse_too_few
from fedpipe.seeding import generator


def iid_partition(examples: int, clients: int, seed: int) -> Int32s:
    """Return for each example the number of its client, 0..clients - 1, at random; sizes differ by
    one at most.

    Args:
        examples: number of examples, at least two a client.
        clients: number of clients, at least 1.
        seed: seed of the partition.

    Raises:
        DataError: there are fewer than two examples a client.

    Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from
        Decentralized Data", section 3, "IID".
    """
    refuse_too_few(examples, clients)
    return generator(seed, "partition", "iid").permutation(
        np.arange(examples, dtype=np.int32) % np.int32(clients)
    )
