"""Splits each client's examples into train, validation and test: pure functions, whose draws depend
on the seed and the client's id alone.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from fedpipe.data.array_types import Bools, Int32s, Int64s
from fedpipe.seeding import derive_seed, generator

Rows = Int64s


def split_clients(
    owner: Int32s, client_ids: Sequence[str], test_fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Return the rows of train and of test, each client by client, in the order in which the shards
    hold them.

    A client's rows are put in a random order; the first `test_count` are its test examples, the
    others train. The order is kept in the shards, so that a source sorted by label does not give
    batches of one label.

    Args:
        owner: int32 [n], for each row the index of its client in `client_ids`.
        client_ids: sorted ids.
        test_fraction: fraction of each client's examples, above 0, below 1.
        seed: seed of the split.
    """
    train = []
    test = []
    for client_id, rows in zip(client_ids, _rows_by_client(owner, len(client_ids)), strict=True):
        shuffled = generator(seed, "split", client_id).permutation(rows)
        count = test_count(len(rows), test_fraction)
        test.append(shuffled[:count])
        train.append(shuffled[count:])
    return np.concatenate(train), np.concatenate(test)


def keep_split(owner: Int32s, is_test: Bools) -> tuple[Rows, Rows]:
    """Return the rows of train and of test as the source has them, client by client, each client's
    in the source's order.
    """
    order = np.argsort(owner, kind="stable")
    return order[~is_test[order]], order[is_test[order]]


def split_off(
    owner: Int32s,
    rows: Rows,
    client_ids: Sequence[str],
    fraction: float,
    seed: int,
    name: str,
) -> tuple[Rows, Rows]:
    """Return the rows that stay and those that are split off, each client by client.

    Args:
        owner: int32 [n], for each example of the pool the index of its client.
        rows: examples of the pool, client by client.
        client_ids: sorted ids.
        fraction: of each client's rows, rounded up, but at least one stays; 0 takes none.
        seed: seed of the split.
        name: of the split, so that splits are drawn apart.
    """
    if not fraction:
        return rows, rows[:0]
    taken = np.zeros(len(rows), np.bool_)
    starts = np.cumsum([0, *np.bincount(owner[rows], minlength=len(client_ids))])
    for client_id, start, end in zip(
        client_ids, starts[:-1].tolist(), starts[1:].tolist(), strict=True
    ):
        if end > start:
            chosen = generator(seed, name, client_id).permutation(end - start)[
                : test_count(end - start, fraction)
            ]
            taken[start + chosen] = True
    return rows[~taken], rows[taken]


def held_out(client_ids: Sequence[str], fraction: float, seed: int) -> Bools:
    """Return bool [clients]: which clients never train; the fraction of them, rounded down.

    The clients with the smallest seeded hashes: a client that is added or forgotten changes the
    choice of one other at most.
    """
    chosen = np.zeros(len(client_ids), np.bool_)
    keys = (
        [derive_seed(seed, "held_out", client_id) for client_id in client_ids] if fraction else []
    )
    chosen[
        np.argsort(keys, kind="stable")[
            : math.floor(Fraction(str(fraction)) * len(client_ids))
        ].astype(np.int64)
    ] = True
    return chosen


def test_count(examples: int, test_fraction: float) -> int:
    """Return how many of a client's examples test: the fraction rounded up, but at least one
    example trains.

    The decimal value of the fraction counts, not its binary neighbour: 0.2 of 35 is 7, though 0.2 *
    35 > 7 in floats.

    >>> [test_count(n, 0.2) for n in (1, 2, 5, 6, 35)]
    [0, 1, 1, 2, 7]
    """
    return max(0, min(math.ceil(Fraction(str(test_fraction)) * examples), examples - 1))


def test_counts(examples: Int64s, test_fraction: float) -> Int64s:
    """Return `test_count` of each client's examples, int64 [clients]."""
    distinct, inverse = np.unique(examples, return_inverse=True)
    counts: Int64s = np.array([test_count(n, test_fraction) for n in distinct.tolist()], np.int64)[
        inverse
    ]
    return counts


def draw_central(test_examples: int, size: int, seed: int) -> Bools:
    """Return bool [test_examples]: which of the pooled test examples are the central test set; all
    if fewer than `size`.
    """
    chosen = np.ones(test_examples, np.bool_)
    if size < test_examples:
        chosen[:] = False
        chosen[generator(seed, "central_test").choice(test_examples, size, replace=False)] = True
    return chosen


def _rows_by_client(owner: Int32s, clients: int) -> list[Rows]:
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.cumsum(np.bincount(owner, minlength=clients))[:-1])
