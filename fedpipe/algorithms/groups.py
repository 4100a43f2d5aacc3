"""Groups of clients: the one clever part of the engine.

TFF runs each CLIENTS value as a computation of its own: a session, a copy of the weights in, an
update out. For a small model that costs more than the client's arithmetic. So, where the aggregator
is a plain mean or sum, a CLIENTS value is not a client but a **group** of clients: one computation
loops over the group's clients and returns their summed updates and summed weights. There is a group
for each core, so all cores work.

    cohort c1..c7, two cores:

    group 1: c3 c1 c6     -> sum of n_k d_k, sum of n_k --+
    group 2: c5 c2 c7 c4  -> sum of n_k d_k, sum of n_k --+-> sum / sum = the mean over all seven

It is the same mean: every client still starts from the server's weights and trains on its own
examples alone. What differs is the order of the additions, so another number of groups gives other
last bits (not other digits); the run records it. A clipped or noised aggregate must see each
client: there the composer uses one value per client.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.client_work import ClientResult, ClientWork, add
from fedpipe.config.schema import RuntimeConfig
from fedpipe.errors import ConfigError
from fedpipe.system.resources import usable_cores


def arrange(
    runtime: RuntimeConfig, aggregation: Aggregation, pools: bool
) -> tuple[int | None, Mapping[str, str]]:
    """Return the number of groups, `None` for one value per client, and the choice with its reason
    for the record.

    Args:
        runtime: `groups`, `remote` and `workers` are read.
        aggregation: how updates are joined.
        pools: whether the client work takes the examples of all clients as one.

    Raises:
        ConfigError: groups or remote workers are set, but the aggregation must see each client.
    """
    groups: int | None
    if pools:
        groups = 1
        reason = "one group: all examples in one pool"
    elif aggregation.partial is None:
        _refuse_groups(runtime, aggregation)
        groups = None
        reason = f"one value per client: {aggregation.name} must see each client's update"
    else:
        groups = runtime.set_groups or max(usable_cores(), runtime.workers)
        why = "one for each usable core, at least one for each worker"
        if runtime.groups:
            why = "set by runtime.groups"
        elif runtime.set_groups:
            why = "as many on any number of machines"
        reason = (
            f"groups of clients: {aggregation.name} of updates can be computed from partial "
            f"sums; {why}"
        )
    return groups, {
        "algorithm.aggregator": aggregation.name,
        "algorithm.groups": str(groups or "none"),
        "algorithm.arrangement": reason,
    }


def _refuse_groups(runtime: RuntimeConfig, aggregation: Aggregation) -> None:
    if runtime.groups is not None:
        raise ConfigError(
            f"runtime.groups={runtime.groups} is set but the aggregator {aggregation.name} must "
            "see each client's update. Remove it."
        )
    if runtime.remote:
        raise ConfigError(
            f"runtime.remote is set but the aggregator {aggregation.name} must see each "
            "client's update: sums of groups, which is what machines send, are not enough. "
            "Set runtime.remote: []."
        )


def balance(counts: Mapping[str, int], groups: int) -> list[list[str]]:
    """Return `groups` lists of client ids with about equally many examples each; some are empty if
    clients are fewer.

    The largest client first, each to the group with the fewest examples so far (Graham 1969: at
    most a third above the best). Ties go by client id and by group number, so the result does not
    depend on the order of the cohort.

    >>> balance({"a": 1, "b": 400, "c": 20, "d": 19}, 2)
    [['b'], ['c', 'd', 'a']]
    """
    loads = [(0, number) for number in range(groups)]
    members: list[list[str]] = [[] for _ in range(groups)]
    for client_id in sorted(counts, key=lambda client: (-counts[client], client)):
        load, number = heapq.heappop(loads)
        members[number].append(client_id)
        heapq.heappush(loads, (load + counts[client_id], number))
    return members


def group_work(
    work: ClientWork,
    weights: Sequence[Any],
    refs: Mapping[str, Any],
    weighted: bool,
    server: Any = None,
) -> Any:
    """Return a group's sum of updates (times their update weights, if `weighted`), its sum of
    update weights, its sums.

    Args:
        work: the client work.
        weights: the server's weights; every client of the group starts from them.
        refs: `data`, `count`, `seed` and `rate` of the group's clients, a vector each; empty
            vectors give zeros.
        weighted: whether updates count by their update weight.
        server: the server's optimizer state, where the work reads it.
    """
    weights = list(weights)
    clients = tf.size(refs["count"])
    if work.pools:
        pool = work(
            weights,
            (refs["data"], refs["count"]),
            tf.reduce_sum(refs["count"]),
            refs["seed"][0],
            refs["rate"][0],
        )
        return _times_weight(pool, weighted), pool.update_weight, pool.sums

    def client(i: Any, total: list[Any], total_weight: Any, sums: Any) -> Any:
        result = work(
            weights, refs["data"][i], refs["count"][i], refs["seed"][i], refs["rate"][i], server
        )
        update = _times_weight(result, weighted)
        total = tf.nest.map_structure(tf.add, total, list(update))
        return i + 1, total, total_weight + result.update_weight, add(sums, result.sums)

    start = (0, work.zero_update(weights), 0.0, work.zero_sums())
    _, total, total_weight, sums = tf.while_loop(
        lambda i, *_: i < clients, client, start, parallel_iterations=1
    )
    return total, total_weight, sums


def _times_weight(result: ClientResult, weighted: bool) -> list[Any]:
    if weighted:
        return [tensor * result.update_weight for tensor in result.update]
    return result.update
