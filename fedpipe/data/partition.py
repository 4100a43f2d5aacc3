"""How a pool of examples is given to clients. Pure functions of labels, settings and seed; the laws are in `partitions/`."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.data.partitions.dirichlet import dirichlet_partition
from fedpipe.data.partitions.pathological import pathological_partition
from fedpipe.data.partitions.sizes import MIN_EXAMPLES, iid_partition, quantity_partition
from fedpipe.errors import DataError

__all__ = [
    "MIN_EXAMPLES",
    "Method",
    "client_names",
    "dirichlet_partition",
    "iid_partition",
    "partition_pool",
    "pathological_partition",
    "quantity_partition",
]

Method = Literal["iid", "dirichlet", "pathological", "quantity"]


def partition_pool(y: npt.NDArray[np.int32], config: DataConfig, method: Method) -> npt.NDArray[np.int32]:
    """Return int32 [n]: for each example the number of its client, 0..data.clients - 1; every client has at least two.

    Args:
        y: int32 [n], labels.
        config: `clients`, `seed` and the setting that `method` reads: `alpha`, `labels_per_client` or `sigma`.
        method: the law; `data.partition` with `auto` and `natural` resolved.

    Raises:
        DataError: `data.clients` is null, or the examples do not allow the partition.
    """
    if config.clients is None:
        raise DataError(f"data.clients=null: expected a number, as data.partition={method} makes the clients. Set one.")
    match method:
        case "iid":
            return iid_partition(len(y), config.clients, config.seed)
        case "dirichlet":
            return dirichlet_partition(y, config.clients, config.alpha, config.seed)
        case "pathological":
            return pathological_partition(y, config.clients, config.labels_per_client, config.seed)
        case "quantity":
            return quantity_partition(len(y), config.clients, config.sigma, config.seed)


def client_names(clients: int) -> tuple[str, ...]:
    """Return the ids of the clients that a partition makes, sorted.

    >>> client_names(3), client_names(1001)[-1]
    (('c000', 'c001', 'c002'), 'c1000')
    """
    width = max(3, len(str(clients - 1)))
    return tuple(f"c{number:0{width}d}" for number in range(clients))
