"""Partition with extreme label skew: every client has few labels, as in the paper that introduced
Federated Averaging.
"""

from collections.abc import Sequence

import numpy as np

from fedpipe.data.array_types import Int32s, Int64s
from fedpipe.data.partitions.sizes import MIN_EXAMPLES, apportion, refuse_too_few
from fedpipe.errors import DataError
from fedpipe.seeding import generator

_EXCHANGES = 10
"""Exchanges that each of a client's shards is offered. After so many the first arrangement can no
longer be seen.
"""


def pathological_partition(
    y: Int32s,
    clients: int,
    labels_per_client: int,
    seed: int,
    vocabulary: Sequence[str] | None = None,
) -> Int32s:
    """Return for each example the number of its client; every client has exactly
    `labels_per_client` distinct labels.

    Examples are sorted by label, in a random order within it, and cut into clients * k shards, k =
    `labels_per_client`; each client gets k shards at random, of k different labels. No shard holds
    two labels: label l is cut into s_l shards whose sizes differ by one at most. s_l is in
    proportion to the label's examples, but at least 1, at most one a client, and never so many that
    a client could have fewer than two examples. So shards have about n / (clients * k) examples,
    except of a label that is very rare or so frequent that every client has it.

    Args:
        y: int32 [n], labels.
        clients: number of clients, at least 1.
        labels_per_client: k, from 1 to the number of distinct labels.
        seed: seed of the partition.
        vocabulary: names of the labels, for errors.

    Raises:
        DataError: examples or labels do not allow it; the message says which.

    Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from
        Decentralized Data", section 3, "Pathological Non-IID". Their shards have equal sizes and
        may hold two labels, a client may get one label twice: there k shards are "most" clients' k
        labels, here every client's.
    """
    refuse_too_few(len(y), clients)
    labels, number, counts = np.unique(y, return_inverse=True, return_counts=True)
    shards = _shards_per_label(labels, counts, clients, labels_per_client, vocabulary)
    rng = generator(seed, "partition", "pathological")
    held = _deal(shards, clients, labels_per_client, rng)

    shuffled = rng.permutation(len(y))
    rows = shuffled[np.argsort(number[shuffled], kind="stable")]  # by label, random within it
    label = number[rows]
    place = np.arange(len(y)) - (np.cumsum(counts) - counts)[label]
    shard = (np.cumsum(shards) - shards)[label] + place * shards[label] // counts[label]
    holder = (
        np.argsort(held.ravel(), kind="stable") // labels_per_client
    )  # the clients of label 0's shards, of label 1's, ...
    owner = np.empty(len(y), np.int32)
    owner[rows] = holder[shard]
    return owner


def _shards_per_label(
    labels: Int32s,
    counts: Int64s,
    clients: int,
    labels_per_client: int,
    vocabulary: Sequence[str] | None,
) -> Int64s:
    """Return int64 [labels] how many shards each label is cut into; they sum to clients *
    labels_per_client.
    """
    where = f"data.labels_per_client={labels_per_client}"
    total = clients * labels_per_client
    if not 1 <= labels_per_client <= len(labels):
        raise DataError(
            f"{where}: expected 1 to {len(labels)}, the labels that the examples have. Set "
            "data.labels_per_client to that."
        )
    if total < len(labels):
        raise DataError(
            f"{where}: expected at least {len(labels)} shards, one a label, found {total} of "
            f"data.clients={clients}. Raise data.labels_per_client to "
            f"{-(-len(labels) // clients)} or more, or raise data.clients."
        )
    smallest = -(
        -MIN_EXAMPLES // labels_per_client
    )  # examples of a shard, so that a client's k shards have enough
    most = np.minimum(counts // smallest, clients)
    if (most == 0).any():
        rare = int(np.argmin(counts))
        name = vocabulary[labels[rare]] if vocabulary else labels[rare]
        raise DataError(
            f"{where}: expected at least {smallest} examples of each label, found {counts[rare]} "
            f"of label {name}. Set data.labels_per_client to {MIN_EXAMPLES} or more."
        )
    if most.sum() < total:
        raise DataError(
            f"{where}: expected {total} shards of one label, at most one of a label for each of "
            f"data.clients={clients}, found examples for {most.sum()}. Lower data.clients or "
            "data.labels_per_client."
        )
    return apportion(counts.astype(np.float64), total, np.ones_like(most), most)


def _deal(shards: Int64s, clients: int, labels_per_client: int, rng: np.random.Generator) -> Int64s:
    """Return int64 [clients, labels_per_client] the labels' numbers that each client holds, all
    different in a row.

    Dealt round, label after label, no client gets a label twice, as none has more shards than there
    are clients. Then pairs of clients exchange shards wherever both still have different labels:
    the chain of switches of Rao, Jana and Bandyopadhyay 1996, "A Markov chain Monte Carlo method
    for generating random (0, 1)-matrices with given marginals", under which all arrangements become
    equally likely.
    """
    held = np.repeat(np.arange(len(shards)), shards).reshape(labels_per_client, clients).T.copy()
    pairs = clients // 2
    for _ in range(_EXCHANGES * labels_per_client):
        left, right = rng.permutation(clients)[: 2 * pairs].reshape(2, pairs)
        left_slot, right_slot = rng.integers(labels_per_client, size=(2, pairs))
        given = held[left, left_slot]
        taken = held[right, right_slot]
        free = ~((held[left] == taken[:, None]).any(1) | (held[right] == given[:, None]).any(1))
        held[left[free], left_slot[free]] = taken[free]
        held[right[free], right_slot[free]] = given[free]
    return held
