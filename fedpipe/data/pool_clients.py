"""Which client has which example of a pool: the source's own clients, or those that a partition
makes, without those that are left out.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Literal

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Bools, Int32s, Int64s
from fedpipe.data.disk_columns import chunk_bounds
from fedpipe.data.partition import client_names, give_training_examples, partition_pool
from fedpipe.data.pool import Pool
from fedpipe.errors import DataError

Owners = Callable[[int, int], Int32s]
"""(start, end) -> int32, the numbers of the clients of these rows; -1 for an example
without a client.
"""
Partition = Literal["natural", "iid", "dirichlet", "pathological", "quantity"]


@dataclass(frozen=True)
class PoolClients:
    """Who has which example.

    Attributes:
        client_ids: sorted.
        owner: the clients of a range of the pool's rows.
        sizes: int64 [clients], examples of each.
        tests: int64 [clients], how many of them the source has in its own test split.
        partition: how clients came to their examples.
        notes: what was left out or changed, one line each.
    """

    client_ids: tuple[str, ...]
    owner: Owners
    sizes: Int64s
    tests: Int64s
    partition: Partition
    notes: tuple[str, ...] = ()


def clients_of(config: DataConfig, pool: Pool, forgotten: Collection[str]) -> PoolClients:
    """Return the clients of a pool, by the settings and without the forgotten ones.

    Raises:
        DataError: the source has no clients and the settings make none, the partition is not
            possible, or all clients are forgotten.
    """
    if config.partition in ("auto", "natural") and pool.client_ids is not None:
        ids = pool.client_ids
        owner: Owners = pool.owner
        partition: Partition = "natural"
        sizes, tests = _tally(pool, owner, len(ids))
        chosen, notes = _first_clients(config, sizes > tests)
    else:
        owners, partition, notes = _made_clients(config, pool)
        ids = client_names(config.clients or 0)
        owner = partial(_owners_between, owners)
        sizes, tests = _tally(pool, owner, len(ids))
        chosen = np.ones(len(ids), np.bool_)
    gone = frozenset(forgotten)
    stays = chosen & np.array([client_id not in gone for client_id in ids], np.bool_)
    if not stays.any():
        raise DataError(
            "forgotten.json: expected at least one client that is not forgotten, found none. "
            "Remove an id from the list."
        )
    number = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int32)
    return PoolClients(
        tuple(compress(ids, stays.tolist())),
        lambda start, end: number[owner(start, end)],
        sizes[stays],
        tests[stays],
        partition,
        notes,
    )


def _owners_between(owners: Int32s, start: int, end: int) -> Int32s:
    return owners[start:end]


def _made_clients(config: DataConfig, pool: Pool) -> tuple[Int32s, Partition, tuple[str, ...]]:
    """Return the owner of each example by `data.partition`, its name, and what was changed."""
    if config.partition == "natural":
        raise DataError(
            f"data.partition=natural: expected clients, data.source={config.source} has none. Set "
            "another partition."
        )
    if config.clients is None:
        raise DataError(
            f"data.clients=null: expected a number, as data.source={config.source} has no clients "
            "of its own. Set one."
        )
    method = config.partition
    if method == "auto":
        method = "iid" if pool.kind == "tokens" else "dirichlet"
    if pool.kind == "tokens" and method in ("dirichlet", "pathological"):
        raise DataError(
            f"data.partition={method}: expected labels by which examples are given to clients, "
            "task.kind=tokens has none. Set data.partition=iid or quantity."
        )
    owners = partition_pool(pool.y(), config, method, pool.vocabulary)
    is_test = pool.is_test()
    if is_test is None:
        return owners, method, ()
    moved = give_training_examples(owners, is_test, config.clients, config.seed)
    if not moved:
        return owners, method, ()
    note = (
        f"{moved:,} of {config.clients:,} clients got test examples alone from "
        f"data.partition={method}, as the source has its own test split: each took a "
        "training example from the client that had most"
    )
    return owners, method, (note,)


def _tally(pool: Pool, owner: Owners, clients: int) -> tuple[Int64s, Int64s]:
    """Return int64 [clients] twice: examples of each client, and those that the source has in its
    own test split.
    """
    sizes, tests = np.zeros((2, clients), np.int64)
    for start, end in chunk_bounds(pool.count):
        owners = owner(start, end)
        is_test = pool.is_test(start, end)
        sizes += np.bincount(owners, minlength=clients)
        if is_test is not None:
            tests += np.bincount(owners[is_test], minlength=clients)
    return sizes, tests


def _first_clients(config: DataConfig, trains: Bools) -> tuple[Bools, tuple[str, ...]]:
    """Return bool [clients], which of a source's clients are taken, and a note if it is not all.

    The first `data.clients` that have training examples, and as many of those that have test
    examples alone.
    """
    if config.clients is None:
        return np.ones(len(trains), np.bool_), ()
    chosen = np.where(trains, np.cumsum(trains), np.cumsum(~trains)) <= config.clients
    if chosen.all():
        return chosen, ()
    left = int((~chosen).sum())
    return chosen, (
        f"{left:,} of {len(trains):,} clients were left out by data.clients={config.clients}; "
        "null takes all",
    )
