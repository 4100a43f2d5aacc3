"""Algorithms whose clients keep something from round to round: control variates, or models of their
own.

TFF's clients have no state. Here fedpipe keeps it, by client id, in the server state, so that
checkpoints hold it: each round sends its clients what they need with their refs, and gets what they
return, stacked, beside the aggregate.

                  state["clients"][k] --given--> client k's work --returned--> state["clients"][k]
                                                        |
                                                        +--- update ---> aggregator, server
                                                        optimizer, as in `composer`

Clients that had no round yet take no room. What all clients return passes through the server: an
algorithm of this kind does not go with secure sums or differential privacy, and each client is a
value of its own.
"""

from collections import OrderedDict
from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.failures import not_finite
from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.algorithms.stacking import gather
from fedpipe.config import Config
from fedpipe.config.cohort import CohortConfig
from fedpipe.data.resident import ResidentCache, ResidentClient
from fedpipe.errors import ConfigError
from fedpipe.types import PerClient

Tensors = list[npt.NDArray[np.float32]]
MEMORY_BYTES = 4 * 1024**3
MESSAGE_BYTES = 1_900_000_000
"""What a round's clients are given travels to the worker in one message, and what they return comes
in one: 2 GB is the limit of the engine's channels, less room for the server's state.
"""


class WithMemory(RecipeAlgorithm):
    """RecipeAlgorithm whose clients keep tensors of the model's shapes; `mean` in the state is their
    mean over all clients of the population.
    """

    def __init__(
        self,
        config: Config,
        work: ClientWork,
        aggregation: Aggregation,
        cache: ResidentCache,
        server_optimizer: Any,
        clients: int,
    ) -> None:
        """Build the computations.

        Args:
            config, work, aggregation, cache, server_optimizer: as `RecipeAlgorithm` takes them.
            clients: number of clients that may train.

        Raises:
            ConfigError: what the clients keep would not fit into 4 GB of memory, or a cohort's not
                into a message.
        """
        self._clients = clients
        super().__init__(
            config, work, Aggregation(aggregation.name, aggregation.each), cache, server_optimizer
        )
        each = sum(tensor.nbytes for tensor in self._initial)
        most = largest_cohort(config.cohort, clients)
        fits = MESSAGE_BYTES // each
        if most > fits:
            raise ConfigError(
                f"algorithm.name={config.algorithm.name}, cohort.size={config.cohort.size}: "
                f"expected what a cohort keeps to fit into a message of {MESSAGE_BYTES} bytes, "
                f"which is {fits} clients; found up to {most} in a round. Choose a smaller "
                "cohort.size, or a smaller model."
            )
        needed = each * min(clients, config.cohort.size * config.rounds)
        if needed > MEMORY_BYTES:
            raise ConfigError(
                f"algorithm.name={config.algorithm.name}: expected what {clients} clients keep to "
                f"fit into {MEMORY_BYTES // 10**6} MB, it takes up to {needed // 10**6} MB. "
                "Choose a smaller model, or fewer clients (data.clients)."
            )

    def initialize(self) -> Any:
        """Return the server state of round 0: nobody has anything yet."""
        first = self._first()
        return {**self.process.initialize(), "mean": first, "clients": PerClient(first)}

    # --- What an algorithm of this kind says ---

    def _first(self) -> Tensors:
        """Return what a client has before its first round."""
        raise NotImplementedError

    def _given(self, state: Any, client_id: str) -> Tensors:
        """Return what a client is sent."""
        raise NotImplementedError

    def _train(self, weights: list[Any], given: list[Any], ref: Any) -> tuple[Any, list[Any]]:
        """Return a client's result and what it has now, in TensorFlow ops."""
        raise NotImplementedError

    # --- How it runs ---

    def _compose(self) -> Any:
        types = OrderedDict(
            data=np.str_, count=np.int64, seed=np.int64, rate=np.float32, place=np.int64
        )
        given = [tff.TensorType(np.float32, tensor.shape) for tensor in self._initial]
        return compose_with_memory(
            self._train,
            self._aggregation,
            self._optimizer,
            self._initial,
            OrderedDict(types, given=given),
        )

    def _round(
        self, state: Any, round_num: int, rate: float, clients: Mapping[str, ResidentClient]
    ) -> tuple[Any, Any]:
        ids = sorted(clients)
        refs = [
            OrderedDict(
                self._ref(round_num, rate, [client_id], clients, ()),
                place=np.int64(place),
                given=self._given(state, client_id),
            )
            for place, client_id in enumerate(ids)
        ]
        inner = OrderedDict((name, state[name]) for name in ("weights", "optimizer", "aggregator"))
        next_inner, measured, (places, *stacks) = self.process.next(inner, refs)
        returned = {
            ids[place]: [np.array(stack[row]) for stack in stacks]
            for row, place in enumerate(np.asarray(places))
        }
        returned = {
            client_id: kept for client_id, kept in returned.items() if clients[client_id].count
        }  # without examples, no step
        kept = state["clients"]
        # Only who was here has changed: the mean over all moves by the sum of the changes.
        change = [
            sum(returned[i][t] - kept.of(i)[t] for i in sorted(returned)) / self._clients
            for t in range(len(stacks))
        ]
        average = [
            np.asarray(old + new, np.float32)
            for old, new in zip(state["mean"], change, strict=True)
        ]
        return {**next_inner, "mean": average, "clients": kept.updated(returned)}, measured

    def _bytes_each(self) -> tuple[int, int] | None:
        """Return the bytes up and down: beside weights and update, what the client is given and
        returns, as much as a model each.
        """
        extra = sum(tensor.nbytes for tensor in self._initial)
        return self._aggregation.bytes_of(
            [tensor.shape for tensor in self._initial]
        ) + extra, 2 * extra

    def _broken(
        self, state: Any, round_num: int, rate: float, clients: Mapping[str, ResidentClient]
    ) -> list[str]:
        alone = {
            client_id: self._round(state, round_num, rate, {client_id: client})[1]
            for client_id, client in clients.items()
        }
        return [
            client_id for client_id, measured in alone.items() if int(measured["clients"]["failed"])
        ]


def largest_cohort(config: CohortConfig, clients: int) -> int:
    """Return how many clients a round may have: `poisson` draws about `size`, and more than 6
    standard deviations above never.

    >>> largest_cohort(CohortConfig(size=100, strategy="poisson"), 1000), largest_cohort(CohortConfig(size=100), 1000)
    (160, 100)
    """
    if config.strategy == "poisson":
        return min(clients, config.size + ceil(6 * sqrt(config.size)))
    return config.size


def compose_with_memory(
    train: Any,
    aggregation: Aggregation,
    server_optimizer: Any,
    initial_weights: Tensors,
    refs: Mapping[str, Any],
) -> tff.templates.IterativeProcess:
    """Return the learning process of `composer.compose` that also takes and gives what clients
    keep.

    `next: (<state@SERVER, refs@CLIENTS> -> <state@SERVER, metrics@SERVER, returned@SERVER>)`;
        `returned` is `<place, tensors...>`, a row for each client: its `place` in its ref, and what
        it has now.
    """

    @tff.tensorflow.computation
    def server_init() -> Any:
        weights = [tf.constant(tensor) for tensor in initial_weights]
        return OrderedDict(
            weights=weights,
            optimizer=server_optimizer.initialize(
                [tf.TensorSpec(t.shape, t.dtype) for t in weights]
            ),
        )

    weights_type, optimizer_type = (
        server_init.type_signature.result[name] for name in ("weights", "optimizer")
    )
    ref_type = tff.types.to_type(refs)

    @tff.tensorflow.computation(weights_type, ref_type)
    def client_work(weights: Any, ref: Any) -> Any:
        result, kept = train(list(weights), list(ref["given"]), ref)
        sums = OrderedDict(**result.sums, failed=not_finite([*result.update, result.sums["loss"]]))
        return result.update, result.update_weight, sums, [ref["place"], *kept]

    update_type, update_weight_type, _, kept_type = client_work.type_signature.result
    factory = aggregation.each
    aggregator = (
        factory.create(update_type, update_weight_type)
        if aggregation.weighted
        else factory.create(update_type)
    )

    @tff.tensorflow.computation(optimizer_type, weights_type, update_type)
    def server_update(state: Any, weights: Any, update: Any) -> Any:
        return server_optimizer.next(state, weights, [-tensor for tensor in update])

    @tff.federated_computation
    def initialize() -> Any:
        server = tff.federated_eval(server_init, tff.SERVER)
        return tff.federated_zip(
            OrderedDict(
                weights=server.weights,
                optimizer=server.optimizer,
                aggregator=aggregator.initialize(),
            )
        )

    @tff.federated_computation(
        initialize.type_signature.result, tff.FederatedType(ref_type, tff.CLIENTS)
    )
    def next_fn(state: Any, refs: Any) -> Any:
        update, weight, sums, kept = tff.federated_map(
            client_work, (tff.federated_broadcast(state.weights), refs)
        )
        aggregated = aggregator.next(
            state.aggregator, *((update, weight) if aggregation.weighted else (update,))
        )
        optimizer, weights = tff.federated_map(
            server_update, (state.optimizer, state.weights, aggregated.result)
        )
        next_state = tff.federated_zip(
            OrderedDict(weights=weights, optimizer=optimizer, aggregator=aggregated.state)
        )
        metrics = tff.federated_zip(
            OrderedDict(clients=tff.federated_sum(sums), aggregator=aggregated.measurements)
        )
        return next_state, metrics, gather(kept, kept_type)

    return _Process(initialize, next_fn)


class _Process:
    """An iterative process with a third result, which TFF's own class does not take."""

    def __init__(self, initialize: Any, next_fn: Any) -> None:
        self.initialize = initialize
        self.next = next_fn
