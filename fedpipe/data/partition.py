"""Partitions a pool of examples among clients: pure functions of labels, settings and seed. Each
partition is a file in `partitions/`.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Bools, Int32s
from fedpipe.data.partitions.dirichlet import dirichlet_partition
from fedpipe.data.partitions.iid import iid_partition
from fedpipe.data.partitions.pathological import pathological_partition
from fedpipe.data.partitions.quantity import quantity_partition
from fedpipe.data.partitions.sizes import MIN_EXAMPLES, fill_up
from fedpipe.errors import DataError
from fedpipe.seeding import generator

__all__ = [
    "MIN_EXAMPLES",
    "Method",
    "client_names",
    "dirichlet_partition",
    "give_training_examples",
    "iid_partition",
    "partition_pool",
    "pathological_partition",
    "quantity_partition",
]

Method = Literal["iid", "dirichlet", "pathological", "quantity"]


def partition_pool(
    y: Int32s,
    config: DataConfig,
    method: Method,
    vocabulary: Sequence[str] | None = None,
) -> Int32s:
    """Return int32 [n]: for each example the number of its client, 0..data.clients - 1; every
    client has at least two.

    Args:
        y: int32 [n], labels.
        config: `clients`, `seed` and the setting that `method` reads: `alpha`, `labels_per_client`
            or `sigma`.
        method: the law; `data.partition` with `auto` and `natural` resolved.
        vocabulary: names of the labels, for errors.

    Raises:
        DataError: `data.clients` is null, or the examples do not allow the partition.
    """
    if config.clients is None:
        raise DataError(
            f"data.clients=null: expected a number, as data.partition={method} makes the clients. "
            "Set one."
        )
    match method:
        case "iid":
            return iid_partition(len(y), config.clients, config.seed)
        case "dirichlet":
            return dirichlet_partition(y, config.clients, config.alpha, config.seed)
        case "pathological":
            return pathological_partition(
                y, config.clients, config.labels_per_client, config.seed, vocabulary
            )
        case "quantity":
            return quantity_partition(len(y), config.clients, config.sigma, config.seed)


def give_training_examples(owner: Int32s, is_test: Bools, clients: int, seed: int) -> int:
    """Let each client that has test examples alone take a random training example from the client
    that has most of them.

    A partition knows nothing of a source's own test split, so by chance all examples of a small
    client may be test examples.

    Args:
        owner: int32 [n], changed in place.
        is_test: bool [n], the source's test split.
        clients: number of clients.
        seed: seed of the partition.

    Returns:
        How many clients took one.

    Raises:
        DataError: there are fewer training examples than clients.
    """
    rows = np.flatnonzero(~is_test)
    if len(rows) < clients:
        raise DataError(
            f"data.clients={clients}: expected at least one training example for each client, "
            f"found {len(rows)} outside of the source's test split. Set data.clients to "
            f"{len(rows)} or less."
        )
    trains = owner[rows]
    moved = fill_up(trains, clients, 1, generator(seed, "partition", "train"))
    owner[rows] = trains
    return moved


def client_names(clients: int) -> tuple[str, ...]:
    """Return the ids of the clients that a partition makes, sorted.

    >>> client_names(3), client_names(1001)[-1]
    (('c000', 'c001', 'c002'), 'c1000')
    """
    width = max(3, len(str(clients - 1)))
    return tuple(f"c{number:0{width}d}" for number in range(clients))
