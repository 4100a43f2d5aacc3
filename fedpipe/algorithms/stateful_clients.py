"""Computes a round of clients that keep something from round to round: control variates, or models
of their own.

TFF's clients have no state. Here fedpipe keeps it, by client id, in the server state, so that
checkpoints hold it: each round sends its clients what they need with their refs, and gets what they
return, stacked, beside the aggregate.

    state["clients"][k] --sent--> work of client k --returned--> state["clients"][k]
                                         |
                                         +--- update ---> aggregator, server optimizer (`composer`)

Clients that had no round yet take no room. What all clients return passes through the server: an
algorithm of this kind does not go with secure sums or differential privacy, and each client is a
value of its own.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.client_refs import ClientFile, ClientRefs
from fedpipe.algorithms.client_work import ClientResult, ClientWork
from fedpipe.algorithms.composer import Process, build_server_init, compose_each
from fedpipe.algorithms.failures import not_finite
from fedpipe.algorithms.stacking import gather
from fedpipe.config import Config
from fedpipe.config.cohort import CohortConfig
from fedpipe.errors import ConfigError
from fedpipe.types import PerClient

Tensors = list[npt.NDArray[np.float32]]
MEMORY_BYTES = 4 * 1024**3
MESSAGE_BYTES = 1_900_000_000
"""Limit of what a cohort is sent, and of what it returns, as each travels in one message: the 2 GB
of the engine's channels, less room for the server's state.
"""


@dataclass(frozen=True)
class StatefulClients:
    """Clients that keep tensors of the model's shapes from round to round, and three functions of
    these.

    Attributes:
        population_size: number of clients that may train.
        initial: (the model's initial weights) -> what a client has before its first round.
        sent: (mean of what all clients of the population have, what the client has) -> what the
            client is sent.
        train: (client work, server weights, what was sent, ref) -> the client's result and what it
            has now, in TensorFlow ops.
        exchange: whether clients and server send each other anything, in the setting that is
            simulated.
    """

    population_size: int
    initial: Callable[[Tensors], Tensors]
    sent: Callable[[Tensors, Tensors], Tensors]
    train: Callable[[ClientWork, list[Any], list[Any], Any], tuple[ClientResult, list[Any]]]
    exchange: bool = True


class StatefulRound:
    """Computes rounds as `StatelessRound` does; the server state also has `clients`, what each has,
    and `mean`, the mean of that over all clients of the population.
    """

    def __init__(
        self,
        work: ClientWork,
        aggregation: Aggregation,
        server_optimizer: Any,
        initial_weights: Tensors,
        refs: ClientRefs,
        clients: StatefulClients,
        config: Config,
    ) -> None:
        """Compose the process.

        Args:
            work, aggregation, server_optimizer, initial_weights, refs: as `StatelessRound` takes
                them.
            clients: what they keep.
            config: `cohort`, `rounds` and `algorithm.name` are read, to refuse what cannot fit.

        Raises:
            ConfigError: what the clients keep would not fit into 4 GB of memory, or a cohort's not
                into a message.
        """
        self._clients = clients
        self._aggregation = aggregation
        self._initial_weights = initial_weights
        self._refs = refs
        self._model_bytes = sum(tensor.nbytes for tensor in initial_weights)
        _require_room(config, self._model_bytes, clients.population_size)

        def train(weights: list[Any], sent: list[Any], ref: Any) -> tuple[Any, list[Any]]:
            return clients.train(work, weights, sent, ref)

        ref_type = OrderedDict(
            data=np.str_, count=np.int64, seed=np.int64, rate=np.float32, place=np.int64
        )
        sent_type = [tff.TensorType(np.float32, tensor.shape) for tensor in initial_weights]
        self.process = compose_with_state(
            train,
            aggregation,
            server_optimizer,
            initial_weights,
            OrderedDict(ref_type, sent=sent_type),
        )

    def initialize(self) -> Any:
        """Return the server state of round 0, in which no client has anything yet."""
        initial = self._clients.initial(self._initial_weights)
        return {**self.process.initialize(), "mean": initial, "clients": PerClient(initial)}

    def compute(
        self, state: Any, round_num: int, rate: float, clients: Mapping[str, ClientFile]
    ) -> tuple[Any, Any]:
        """Return the next server state and what was measured."""
        ids = sorted(clients)
        states = state["clients"]
        refs = [
            OrderedDict(
                self._refs.of_client(round_num, rate, client_id, clients[client_id]),
                place=np.int64(place),
                sent=self._clients.sent(state["mean"], states.of(client_id)),
            )
            for place, client_id in enumerate(ids)
        ]
        inner = OrderedDict((name, state[name]) for name in ("weights", "optimizer", "aggregator"))
        next_inner, measured, (places, *stacks) = self.process.next(inner, refs)
        returned = {}
        for row, place in enumerate(np.asarray(places)):
            client_id = ids[place]
            if clients[client_id].count:  # without examples, no step
                returned[client_id] = [np.array(stack[row]) for stack in stacks]
        # Only who was here has changed: the mean over all moves by the sum of the changes.
        mean = [
            np.asarray(old + self._mean_change(states, returned, number), np.float32)
            for number, old in enumerate(state["mean"])
        ]
        return {**next_inner, "mean": mean, "clients": states.updated(returned)}, measured

    def not_finite(
        self, state: Any, round_num: int, rate: float, clients: Mapping[str, ClientFile]
    ) -> list[str]:
        """Return the clients whose update or loss is not finite, each computed alone."""
        failed = []
        for client_id, client in clients.items():
            _, measured = self.compute(state, round_num, rate, {client_id: client})
            if int(measured["clients"]["failed"]):
                failed.append(client_id)
        return failed

    def bytes_per_client(self) -> tuple[int, int] | None:
        """Return the bytes up and down: beside weights and update, what the client is sent and
        returns, as much as a model each.
        """
        if not self._clients.exchange:
            return None
        update = self._aggregation.bytes_of([tensor.shape for tensor in self._initial_weights])
        return update + self._model_bytes, 2 * self._model_bytes

    def _mean_change(self, states: PerClient, returned: Mapping[str, Tensors], number: int) -> Any:
        """Return by how much the mean of the tensor `number` moves."""
        changes = (
            returned[client_id][number] - states.of(client_id)[number]
            for client_id in sorted(returned)
        )
        return sum(changes) / self._clients.population_size


def largest_cohort(config: CohortConfig, clients: int) -> int:
    """Return how many clients a round may have: `poisson` draws about `size`, and more than 6
    standard deviations above never.

    >>> largest_cohort(CohortConfig(size=100, strategy="poisson"), 1000)
    160
    >>> largest_cohort(CohortConfig(size=100), 1000)
    100
    """
    if config.strategy == "poisson":
        return min(clients, config.size + ceil(6 * sqrt(config.size)))
    return config.size


def _require_room(config: Config, model_bytes: int, clients: int) -> None:
    """Raise ConfigError where what a cohort is sent does not fit into a message, or what all
    clients have not into memory.
    """
    cohort = largest_cohort(config.cohort, clients)
    fits = MESSAGE_BYTES // model_bytes
    if cohort > fits:
        raise ConfigError(
            f"algorithm.name={config.algorithm.name}, cohort.size={config.cohort.size}: "
            f"expected what a cohort keeps to fit into a message of {MESSAGE_BYTES} bytes, "
            f"which is {fits} clients; found up to {cohort} in a round. Choose a smaller "
            "cohort.size, or a smaller model."
        )
    needed = model_bytes * min(clients, config.cohort.size * config.rounds)
    if needed > MEMORY_BYTES:
        raise ConfigError(
            f"algorithm.name={config.algorithm.name}: expected what {clients} clients keep to "
            f"fit into {MEMORY_BYTES // 10**6} MB, it takes up to {needed // 10**6} MB. "
            "Choose a smaller model, or fewer clients (data.clients)."
        )


def compose_with_state(
    train: Callable[[list[Any], list[Any], Any], tuple[ClientResult, list[Any]]],
    aggregation: Aggregation,
    server_optimizer: Any,
    initial_weights: Tensors,
    ref: Mapping[str, Any],
) -> Process:
    """Return the learning process of `composer.compose` that also takes and gives what clients
    keep.

    `next: (<state@SERVER, refs@CLIENTS> -> <state@SERVER, metrics@SERVER, returned@SERVER>)`;
        `returned` is `<place, tensors...>`, a row for each client: its `place` in its ref, and what
        it has now.

    Args:
        train: (server weights, what was sent, ref) -> the client's result and what it has now.
        aggregation: joins the updates.
        server_optimizer: takes the negated aggregate as gradient.
        initial_weights: the weights of round 0, in the model's order.
        ref: types of a client's ref, which has `sent` and `place`.
    """

    server_init = build_server_init(server_optimizer, initial_weights)
    ref_type = tff.types.to_type(ref)

    @tff.tensorflow.computation(server_init.type_signature.result["weights"], ref_type)
    def client_work(weights: Any, ref: Any) -> Any:
        result, tensors = train(list(weights), list(ref["sent"]), ref)
        sums = OrderedDict(**result.sums, failed=not_finite([*result.update, result.sums["loss"]]))
        return result.update, result.update_weight, sums, [ref["place"], *tensors]

    return compose_each(
        server_init,
        client_work,
        ref_type,
        aggregation,
        server_optimizer,
        send=lambda state: tff.federated_broadcast(state.weights),
        collect=lambda returned: gather(returned, client_work.type_signature.result[3]),
    )
