"""Joins client work, an aggregation and a server optimizer into one learning process.

                       +---------------------------- server state ----------------------------+
                       |  weights              optimizer state              aggregator state  |
                       +-----|-----------------------|-------------------------------|--------+
                         broadcast                   |                               |
    refs@CLIENTS --+         |                       |                               |
    data, count,   |         v                       |                               v
    seed, rate     +--> client work --- update, update weight -----------------> aggregator
                             |                       |                               | one update
                             |                       +------> server optimizer <-----+
                           sums                                      |
                             v                                       v
                          metrics                            next server state

TFF's own composer cannot be used: its client work takes sequences of examples (`tff.SequenceType`),
and making those is what costs (see `client_work`). Everything else is TFF's: placements,
aggregators, optimizers.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.failures import not_finite
from fedpipe.algorithms.groups import group_work
from fedpipe.algorithms.sending import broadcast, type_sent, unpack

_REF = (("data", np.str_), ("count", np.int64), ("seed", np.int64), ("rate", np.float32))
"""A client's ref: where its examples are (a path), how many, its seed and learning rate in this
round. A few bytes, whatever the data.
"""


@dataclass(frozen=True)
class Process:
    """A learning process: `initialize` and `next`, two TFF computations."""

    initialize: Any
    next: Any


def compose(
    work: ClientWork,
    aggregation: Aggregation,
    server_optimizer: Any,
    initial_weights: Sequence[npt.NDArray[np.float32]],
    grouped: bool,
) -> Process:
    """Return the learning process.

    `initialize: ( -> state@SERVER)`; `next: (<state@SERVER, refs@CLIENTS> -> <state@SERVER,
        metrics@SERVER>)` with

    - state: `<weights=<float32[...], ...>, optimizer=..., aggregator=...>`;
    - refs: `<data=str, count=int64, seed=int64, rate=float32>` for each client, or, grouped,
      vectors of these for each group of clients;
    - metrics: `<clients=<loss, correct, examples, steps, failed>, aggregator=...>`: sums over the
      cohort, and what the aggregator measures. If `failed` is not 0 a client's update or loss was
      not finite, and the result is not to be used.

    Args:
        work: the client work.
        aggregation: joins the updates; grouped needs one with partial sums.
        server_optimizer: a `tff.learning.optimizers.Optimizer`; takes the negated aggregate as
            gradient, so that SGD with rate 1 adds it.
        initial_weights: the weights of round 0, in the model's order.
        grouped: whether a CLIENTS value is a group of clients (see `groups`).

    Raises:
        ValueError: grouped, but the aggregation must see each client.
    """
    server_init = build_server_init(server_optimizer, initial_weights)
    weights_type = server_init.type_signature.result["weights"]
    optimizer_type = server_init.type_signature.result["optimizer"]
    ref_type = tff.types.to_type(
        OrderedDict(
            (name, tff.TensorType(dtype, [None] if grouped else [])) for name, dtype in _REF
        )
    )

    sent_type = type_sent(work, weights_type, optimizer_type)

    @tff.tensorflow.computation(sent_type, ref_type)
    def client_work(sent: Any, ref: Any) -> Any:
        weights, server = unpack(work, sent)
        if grouped:
            update, update_weight, sums = group_work(
                work, weights, ref, aggregation.weighted, server
            )
        else:
            update, update_weight, sums = work(
                weights, ref["data"], ref["count"], ref["seed"], ref["rate"], server
            )
        return (
            update,
            update_weight,
            OrderedDict(**sums, failed=not_finite([*update, sums["loss"]])),
        )

    if grouped:
        return _compose_groups(
            server_init, client_work, ref_type, aggregation, server_optimizer, work
        )
    return compose_each(
        server_init,
        client_work,
        ref_type,
        aggregation,
        server_optimizer,
        send=lambda state: broadcast(work, state),
    )


def build_server_init(server_optimizer: Any, initial_weights: Sequence[Any]) -> Any:
    """Return the computation of a process's first `weights` and `optimizer` state."""

    @tff.tensorflow.computation
    def server_init() -> Any:
        weights = [tf.constant(tensor) for tensor in initial_weights]
        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in weights]
        return OrderedDict(weights=weights, optimizer=server_optimizer.initialize(specs))

    return server_init


def compose_each(
    server_init: Any,
    client_work: Any,
    ref_type: Any,
    aggregation: Aggregation,
    server_optimizer: Any,
    send: Callable[[Any], Any],
    collect: Callable[[Any], Any] | None = None,
) -> Process:
    """Return the process over one value per client.

    Args:
        server_init: what `build_server_init` returns.
        client_work: (what the server sends, ref) -> update, update weight, sums, and what `collect`
            takes, if it is given.
        ref_type: TFF type of a client's ref.
        aggregation: joins the updates.
        server_optimizer: takes the negated aggregate as gradient.
        send: returns at the clients what the server of a state sends, inside a federated
            computation.
        collect: returns at the server what becomes of the clients' last results; `next` returns it
            as a third result.
    """
    server_types = server_init.type_signature.result
    result_types = list(client_work.type_signature.result)
    taken = slice(2 if aggregation.weighted else 1)  # the update, and its weight
    aggregator = aggregation.each.create(*result_types[taken])

    @tff.tensorflow.computation(server_types["optimizer"], server_types["weights"], result_types[0])
    def server_update(state: Any, weights: Any, update: Any) -> Any:
        return server_optimizer.next(state, weights, [-tensor for tensor in update])

    @tff.federated_computation
    def initialize() -> Any:
        server = tff.federated_eval(server_init, tff.SERVER)
        state = OrderedDict(
            weights=server.weights, optimizer=server.optimizer, aggregator=aggregator.initialize()
        )
        return tff.federated_zip(state)

    @tff.federated_computation(
        initialize.type_signature.result, tff.FederatedType(ref_type, tff.CLIENTS)
    )
    def next_fn(state: Any, refs: Any) -> Any:
        update, update_weight, sums, *rest = tff.federated_map(client_work, (send(state), refs))
        aggregated = aggregator.next(state.aggregator, *(update, update_weight)[taken])
        optimizer, weights = tff.federated_map(
            server_update, (state.optimizer, state.weights, aggregated.result)
        )
        next_state = OrderedDict(weights=weights, optimizer=optimizer, aggregator=aggregated.state)
        metrics = OrderedDict(clients=tff.federated_sum(sums), aggregator=aggregated.measurements)
        results = tff.federated_zip(next_state), tff.federated_zip(metrics)
        return (*results, collect(rest[0])) if collect else results

    return Process(initialize, next_fn)


def _compose_groups(
    server_init: Any,
    client_work: Any,
    ref_type: Any,
    aggregation: Aggregation,
    server_optimizer: Any,
    work: ClientWork,
) -> Process:
    """Return the process over groups of clients: all they return is summed at once, and the server
    does all it does at once.

    Each TFF computation costs the worker a session, half a millisecond or more; in a round of ten
    small clients the aggregator, the sum of the metrics and the server's step as computations of
    their own would take as long as the clients' arithmetic.
    """
    partial = aggregation.partial
    if partial is None:
        raise ValueError(
            f"aggregation {aggregation.name}: expected partial sums for groups, but it must see "
            "each client"
        )
    total_type = client_work.type_signature.result

    @tff.tensorflow.computation
    def state_init() -> Any:
        return OrderedDict(**server_init(), aggregator=())

    state_type = state_init.type_signature.result

    @tff.tensorflow.computation(state_type, total_type)
    def server_update(state: Any, total: Any) -> Any:
        update, update_weight, sums = total
        aggregate = partial(list(update), update_weight)
        optimizer, weights = server_optimizer.next(
            state["optimizer"], list(state["weights"]), [-tensor for tensor in aggregate]
        )
        next_state = OrderedDict(weights=list(weights), optimizer=optimizer, aggregator=())
        return next_state, OrderedDict(
            clients=sums, aggregator=OrderedDict(total_weight=update_weight)
        )

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_eval(state_init, tff.SERVER)

    @tff.federated_computation(
        tff.FederatedType(state_type, tff.SERVER), tff.FederatedType(ref_type, tff.CLIENTS)
    )
    def next_fn(state: Any, refs: Any) -> Any:
        total = tff.federated_sum(tff.federated_map(client_work, (broadcast(work, state), refs)))
        done = tff.federated_map(server_update, (state, total))
        return done[0], done[1]

    return Process(initialize, next_fn)
