"""Computes a round of clients that keep nothing from round to round: in groups where the
aggregation can be computed from partial sums, else one value per client.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.client_refs import ClientFile, ClientRefs
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.composer import compose
from fedpipe.algorithms.failures import build_finder
from fedpipe.algorithms.groups import balance
from fedpipe.algorithms.secure import simulated


class StatelessRound:
    """Computes rounds by the process of `composer.compose`; `StatefulRound` has the same methods.

    Attributes:
        groups: number of groups that clients are computed in; None is one value per client.
        process: the composed TFF process.
    """

    def __init__(
        self,
        work: ClientWork,
        aggregation: Aggregation,
        server_optimizer: Any,
        initial_weights: Sequence[npt.NDArray[np.float32]],
        refs: ClientRefs,
        groups: int | None,
    ) -> None:
        """Compose the process.

        Args:
            work: what a client does.
            aggregation: how updates are joined.
            server_optimizer: takes the negated aggregate as gradient.
            initial_weights: of round 0, in the model's order.
            refs: makes what clients are sent beside the weights.
            groups: see the attribute.
        """
        self.groups = groups
        self._work = work
        self._aggregation = aggregation
        self._initial_weights = initial_weights
        self._refs = refs
        self._finder: Any = None  # built when a client fails
        self.process: Any = compose(
            work, aggregation, server_optimizer, initial_weights, grouped=groups is not None
        )
        if aggregation.secure:
            self.process = simulated(self.process)

    def initialize(self) -> Any:
        """Return the server state of round 0."""
        return self.process.initialize()

    def compute(
        self, state: Any, round_num: int, rate: float, clients: Mapping[str, ClientFile]
    ) -> tuple[Any, Any]:
        """Return the next server state and what was measured: `clients`, the sums over the cohort,
        and `aggregator`.

        Args:
            state: the server state.
            round_num: the round.
            rate: the clients' learning rate in it.
            clients: who takes part; the examples of each can be read.
        """
        next_state, measured = self.process.next(state, self.refs(round_num, rate, clients))
        return next_state, measured

    def refs(self, round_num: int, rate: float, clients: Mapping[str, ClientFile]) -> list[Any]:
        """Return the values at the CLIENTS: a ref for each client, or for each group the refs of
        its clients as vectors.
        """
        if self.groups is None:
            return [
                self._refs.of_client(round_num, rate, client_id, clients[client_id])
                for client_id in sorted(clients)
            ]
        counts = {client_id: client.count for client_id, client in clients.items()}
        return [
            self._refs.of_group(round_num, rate, _chosen(clients, members))
            for members in balance(counts, self.groups)
        ]

    def not_finite(
        self, state: Any, round_num: int, rate: float, clients: Mapping[str, ClientFile]
    ) -> list[str]:
        """Return the clients whose update or loss in such a round is not finite; in a pool they
        cannot be told apart.
        """
        if self._work.pools:
            return []
        if self._finder is None:
            self._finder = build_finder(self._work, self._state_type)
        weights = list(state["weights"])
        sent = (weights, state["optimizer"]) if self._work.reads_server else weights
        ids = sorted(clients)
        refs = self._refs.of_group(round_num, rate, _chosen(clients, ids), here=True)
        flags = self._finder(sent, refs)
        return [client_id for client_id, flag in zip(ids, flags, strict=True) if flag]

    def bytes_per_client(self) -> tuple[int, int] | None:
        """Return the bytes that a client sends and is sent in a round, without framing; None for a
        pool, which exchanges nothing.
        """
        if self._work.pools:
            return None
        update = self._work.zero_update(self._initial_weights)
        shapes = [tensor.shape for tensor in self._initial_weights]
        if self._work.reads_server:
            optimizer_types = tff.structure.flatten(self._state_type["optimizer"])
            shapes += [tensor_type.shape for tensor_type in optimizer_types]
        up = self._aggregation.bytes_of([tuple(tensor.shape) for tensor in update])
        return up, 4 * sum(map(prod, shapes))

    @property
    def _state_type(self) -> Any:
        return self.process.initialize.type_signature.result.member


def _chosen(clients: Mapping[str, ClientFile], ids: Sequence[str]) -> dict[str, ClientFile]:
    return {client_id: clients[client_id] for client_id in ids}
