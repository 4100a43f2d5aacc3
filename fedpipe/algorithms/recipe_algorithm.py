"""Runs a `Recipe` as rounds over a population, whatever the recipe's algorithm is.

Each module says what makes its part fast: `client_work` (no dataset iterators), `groups` (the
clients of a core in one computation), `data.resident` (workers read the examples themselves).
"""

import os
from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.base import RoundResult
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.composer import compose
from fedpipe.algorithms.failures import NOT_FINITE, build_finder, failing, readable, require_reports
from fedpipe.algorithms.groups import balance
from fedpipe.algorithms.optimizers import build_server_optimizer
from fedpipe.algorithms.schedules import rate_metrics, rates_of_round, with_server_rate
from fedpipe.algorithms.secure import SIMULATED, simulated
from fedpipe.config import Config
from fedpipe.config.schema import RuntimeConfig
from fedpipe.data.resident import ResidentCache, ResidentClient
from fedpipe.errors import ConfigError, RoundError, shorten
from fedpipe.seeding import derive_seed
from fedpipe.system.resources import usable_cores
from fedpipe.types import Weights


class RecipeAlgorithm:
    """An `Algorithm` for the round loop: the parts of a `Recipe`, composed into a TFF process and
    bound to a population.
    """

    def __init__(
        self,
        config: Config,
        work: ClientWork,
        aggregation: Aggregation,
        cache: ResidentCache,
        server_optimizer: Any = None,
    ) -> None:
        """Build the computations.

        Args:
            config: its `seed`, `rounds`, `client`'s and `server`'s rates, `cohort.min_reports` and
                `runtime.groups` are read.
            work: what a client does.
            aggregation: how updates are joined; decides whether clients may be grouped.
            cache: where the clients' files are.
            server_optimizer: takes the negated aggregate as gradient; `None` is the one of
                `config.server`.

        Raises:
            ConfigError: `runtime.groups` is set, but the aggregation must see each client.
        """
        self._config = config
        self._work = work
        self._cache = cache
        self._seed = config.seed
        self._groups, self._arrangement = _arrangement(config.runtime, aggregation, work.pools)
        self._aggregation = aggregation
        self._optimizer = server_optimizer or build_server_optimizer(config.server)
        self._private = aggregation.private
        # Whether a private round was too small must not show: how many clients a Poisson sample has
        # depends on who is a client.
        poisson = aggregation.private and config.cohort.strategy == "poisson"
        self._least = 0 if poisson else config.cohort.min_reports
        self._finder: Any = None  # built when a client fails
        self._initial = list(work.model.initial_weights(config.seed).values())
        self.process = self._compose()
        self._traffic = self._bytes_each()

    @property
    def info(self) -> Mapping[str, str]:
        """Return the aggregator, the arrangement of clients with its reason, the number of groups,
        and how data travel.
        """
        data = (
            "sent with each round" if self._work.by_value else "resident files, read by the worker"
        )
        secure = {"aggregator.secure": SIMULATED} if self._aggregation.secure else {}
        return {**self._arrangement, **secure, "algorithm.data": data}

    def use_groups(self, groups: int) -> None:
        """Compute clients in so many groups, as an earlier start of the run did; nothing changes
        where they are not computed in groups.
        """
        if self._groups is not None and not self._work.pools:
            self._groups = groups
            self._arrangement = {**self._arrangement, "algorithm.groups": str(groups)}

    def initialize(self) -> Any:
        """Return the server state of round 0."""
        return self.process.initialize()

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Have the cohort's resident files made in the background."""
        self._cache.prefetch(cohort)

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Run one round; clients that fail take no part (see `failures`).

        `train/loss` and `train/accuracy` are over all predictions that were made, each batch under
        the client's weights before its step; `train/steps` is the cohort's number of gradient
        steps; `traffic/*` is what clients and server would send each other; `aggregator/*` is what
        the aggregator measures.

        Raises:
            RoundError: fewer than `cohort.min_reports` clients reported, or they have no examples,
                so that the mean update is undefined.
        """
        clients, failed = readable(self._cache, cohort)
        require_reports(round_num, len(cohort), failed, self._least)
        # A private round without clients is a round of noise: to leave it out would tell that
        # nobody was sampled.
        if not sum(client.count for client in clients.values()) and not self._private:
            raise RoundError(
                f"round {round_num}: expected training examples at the cohort's clients, found "
                f"none at {shorten(cohort)}. Raise cohort.size, or sample clients that have "
                "examples."
            )
        rates = rates_of_round(self._config, round_num)
        state = with_server_rate(state, rates.server)
        while True:
            next_state, measured, broken = self._try(state, round_num, rates.client, clients)
            if not broken:
                break
            failed |= broken
            require_reports(round_num, len(cohort), failed, self._least)
            clients, gone = readable(
                self._cache, [client_id for client_id in clients if client_id not in failed]
            )
            failed |= gone
        sums = measured["clients"]
        examples = int(sums["examples"])
        predictions = int(sums["predictions"])
        metrics = {}
        if predictions:
            metrics = {
                "train/loss": float(sums["loss"]) / predictions,
                "train/accuracy": int(sums["correct"]) / predictions,
            }
        metrics |= {"train/steps": float(sums["steps"]), **rate_metrics(self._config, rates)}
        if self._traffic is not None:
            up, down = self._traffic
            metrics |= {
                "traffic/up_bytes": float(up * len(clients)),
                "traffic/down_bytes": float(down * len(clients)),
            }
        return RoundResult(
            next_state,
            metrics | _scalars(measured["aggregator"], "aggregator"),
            examples,
            tuple(sorted(failed)),
        )

    def weights(self, state: Any) -> Weights:
        """Return the server's weights by name."""
        return dict(
            zip(self._work.model.tensor_names, map(np.asarray, state["weights"]), strict=True)
        )

    def _compose(self) -> Any:
        process = compose(
            self._work,
            self._aggregation,
            self._optimizer,
            self._initial,
            grouped=self._groups is not None,
        )
        if self._aggregation.secure:
            return simulated(process)
        return process

    def _bytes_each(self) -> tuple[int, int] | None:
        """Return the bytes that a client would send and be sent in a round, without framing; None
        where nothing is exchanged.
        """
        if self._work.pools:
            return None
        state = self.process.initialize.type_signature.result.member
        update = self._work.zero_update(self._initial)
        sent = tff.structure.flatten(state["optimizer"]) if self._work.reads_server else []
        down = [*(tensor.shape for tensor in self._initial), *(kind.shape for kind in sent)]
        return self._aggregation.bytes_of([tuple(tensor.shape) for tensor in update]), 4 * sum(
            map(prod, down)
        )

    def _try(
        self,
        state: Any,
        round_num: int,
        rate: float,
        clients: Mapping[str, ResidentClient],
        again: bool = True,
    ) -> tuple[Any, Any, dict[str, str]]:
        """Return the next state, what was measured, and of the clients that failed why; then the
        first two are not to be used.

        Args:
            state: the server's.
            round_num: the round.
            rate: the clients' learning rate in it.
            clients: who takes part.
            again: whether resident files that vanish under the round, as when the cache is cleared,
                are made again, and the round tried again.

        Raises:
            RoundError: client work fails at every client.
        """
        try:
            next_state, measured = self._round(state, round_num, rate, clients)
        except (grpc.RpcError, FileNotFoundError) as err:
            if again and not all(os.path.exists(client.path) for client in clients.values()):
                found, gone = readable(self._cache, sorted(clients))
                if gone:
                    return (None, None, gone)
                return self._try(state, round_num, rate, found, again=False)
            if not isinstance(err, grpc.Call):  # a lost worker, say: nothing of the computation
                raise
            alone = lambda ids: self._broken(  # noqa: E731
                state, round_num, rate, {client_id: clients[client_id] for client_id in ids}
            )
            return None, None, failing(err, round_num, alone, sorted(clients))
        if not int(measured["clients"]["failed"]):
            return next_state, measured, {}
        # If it is nobody, the sum of finite updates is too large, and the loop refuses the weights.
        return (
            next_state,
            measured,
            dict.fromkeys(self._broken(state, round_num, rate, clients), NOT_FINITE),
        )

    def _round(
        self, state: Any, round_num: int, rate: float, clients: Mapping[str, ResidentClient]
    ) -> tuple[Any, Any]:
        """Return the next state and what was measured, with clients whose examples can be read."""
        next_state, measured = self.process.next(state, self._refs(round_num, rate, clients))
        return next_state, measured

    def _broken(
        self, state: Any, round_num: int, rate: float, clients: Mapping[str, ResidentClient]
    ) -> list[str]:
        """Return the clients whose update or loss is not finite; of a pool nobody can tell."""
        if self._work.pools:
            return []
        if self._finder is None:
            self._finder = build_finder(
                self._work, self.process.initialize.type_signature.result.member
            )
        ids = sorted(clients)
        sent = (
            (list(state["weights"]), state["optimizer"])
            if self._work.reads_server
            else list(state["weights"])
        )
        flags = self._finder(sent, self._ref(round_num, rate, ids, clients, (len(ids),), here=True))
        return [client_id for client_id, flag in zip(ids, flags, strict=True) if flag]

    def _refs(
        self, round_num: int, rate: float, clients: Mapping[str, ResidentClient]
    ) -> list[Any]:
        """Return what the CLIENTS are given: a ref each, or for each group the refs of its clients
        as vectors.
        """
        if self._groups is None:
            return [
                self._ref(round_num, rate, [client_id], clients, ())
                for client_id in sorted(clients)
            ]
        counts = {client_id: client.count for client_id, client in clients.items()}
        members = balance(counts, self._groups)
        return [self._ref(round_num, rate, ids, clients, (len(ids),)) for ids in members]

    def _data(self, client: ResidentClient, here: bool) -> bytes:
        """Return the client's bytes or where they are: on another machine below its own folder of
        resident files.
        """
        if self._work.by_value:
            return Path(client.path).read_bytes()
        return os.fsencode(client.path if here or not self._config.runtime.remote else client.name)

    def _ref(
        self,
        round_num: int,
        rate: float,
        ids: list[str],
        clients: Mapping[str, ResidentClient],
        shape: tuple[int, ...],
        here: bool = False,
    ) -> Any:
        data = [self._data(clients[i], here) for i in ids]
        seeds = [derive_seed(self._seed, "client", round_num, i) for i in ids]
        return OrderedDict(
            data=np.array(data, np.object_).reshape(shape),
            count=np.array([clients[i].count for i in ids], np.int64).reshape(shape),
            seed=np.array(seeds, np.int64).reshape(shape),
            rate=np.full(shape, rate, np.float32),
        )


def _arrangement(
    runtime: RuntimeConfig, aggregation: Aggregation, pools: bool
) -> tuple[int | None, Mapping[str, str]]:
    """Return the number of groups, `None` for one value per client, and the choice with its reason
    for the record.
    """
    groups = runtime.groups
    if pools:
        chosen = 1
        reason = "one group: all examples in one pool"
    elif aggregation.partial is None:
        if groups is not None:
            raise ConfigError(
                f"runtime.groups={groups} is set but the aggregator {aggregation.name} must see "
                "each client's update. Remove it."
            )
        if runtime.remote:
            raise ConfigError(
                f"runtime.remote is set but the aggregator {aggregation.name} must see each "
                "client's update: sums of groups, which is what machines send, are not enough. "
                "Set runtime.remote: []."
            )
        chosen = None
        reason = f"one value per client: {aggregation.name} must see each client's update"
    else:
        chosen = runtime.set_groups or max(usable_cores(), runtime.workers)
        why = "one for each usable core, at least one for each worker"
        if runtime.set_groups:
            why = "set by runtime.groups" if groups else "as many on any number of machines"
        reason = (
            f"groups of clients: {aggregation.name} of updates can be computed from partial "
            f"sums; {why}"
        )
    return chosen, {
        "algorithm.aggregator": aggregation.name,
        "algorithm.groups": str(chosen or "none"),
        "algorithm.arrangement": reason,
    }


def _scalars(values: Any, prefix: str) -> dict[str, float]:
    """Return the numbers in a structure of measurements by their path; whatever is no scalar is not
    a metric.
    """
    if isinstance(values, Mapping):
        return {
            key: number
            for name, value in values.items()
            for key, number in _scalars(value, f"{prefix}/{name}").items()
        }
    if np.ndim(values) == 0 and np.issubdtype(np.asarray(values).dtype, np.number):
        return {prefix: float(values)}
    return {}
