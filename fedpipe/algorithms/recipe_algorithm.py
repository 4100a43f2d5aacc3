"""Runs a `Recipe` as rounds over a population, whatever the recipe's algorithm is.

Each module says what makes its part fast: `client_work` (no dataset iterators), `groups` (the
clients of a core in one computation), `data.resident` (workers read the examples themselves).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedpipe.algorithms.aggregation import Aggregation
from fedpipe.algorithms.base import ComputationError, RoundResult
from fedpipe.algorithms.client_refs import ClientFile, ClientFiles, ClientRefs
from fedpipe.algorithms.client_work import train_metrics
from fedpipe.algorithms.failures import NOT_FINITE, failing, readable, require_reports
from fedpipe.algorithms.groups import arrange
from fedpipe.algorithms.optimizers import build_server_optimizer
from fedpipe.algorithms.recipe import Recipe
from fedpipe.algorithms.schedules import rate_metrics, rates_of_round, with_server_rate
from fedpipe.algorithms.secure import SIMULATED
from fedpipe.algorithms.stateful_clients import StatefulRound
from fedpipe.algorithms.stateless_clients import StatelessRound
from fedpipe.config import Config
from fedpipe.errors import RoundError, shorten
from fedpipe.types import Weights


class RecipeAlgorithm:
    """An `Algorithm` for the round loop: the parts of a `Recipe`, composed into a TFF process and
    bound to a population.
    """

    def __init__(self, config: Config, recipe: Recipe, files: ClientFiles) -> None:
        """Build the computations.

        Args:
            config: its `seed`, `rounds`, `client`'s and `server`'s rates, `cohort` and `runtime`
                are read.
            recipe: the algorithm's parts.
            files: the clients' examples.

        Raises:
            ConfigError: `runtime.groups` is set, but the aggregation must see each client; or what
                clients keep does not fit into memory or a message.
        """
        self._config = config
        self._files = files
        self._work = recipe.work
        aggregation = recipe.aggregation
        if recipe.clients is not None:  # each is a value of its own
            aggregation = Aggregation(aggregation.name, aggregation.each)
        self._aggregation = aggregation
        groups, self._arrangement = arrange(config.runtime, aggregation, self._work.pools)
        # Whether a private round was too small must not show: how many clients a Poisson sample has
        # depends on who is a client.
        poisson = aggregation.private and config.cohort.strategy == "poisson"
        self._min_reports = 0 if poisson else config.cohort.min_reports
        optimizer = recipe.server_optimizer or build_server_optimizer(config.server)
        initial_weights = list(self._work.model.initial_weights(config.seed).values())
        refs = ClientRefs(config.seed, self._work.by_value, bool(config.runtime.remote))
        parts = (self._work, aggregation, optimizer, initial_weights, refs)
        self.computation: StatelessRound | StatefulRound
        if recipe.clients is None:
            self.computation = StatelessRound(*parts, groups)
        else:
            self.computation = StatefulRound(*parts, recipe.clients, config)
        self._traffic = self.computation.bytes_per_client()

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
        computation = self.computation
        if isinstance(computation, StatelessRound) and computation.groups and not self._work.pools:
            computation.groups = groups
            self._arrangement = {**self._arrangement, "algorithm.groups": str(groups)}

    def initialize(self) -> Any:
        """Return the server state of round 0."""
        return self.computation.initialize()

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Have the cohort's resident files made in the background."""
        self._files.prefetch(cohort)

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Run one round; clients that fail take no part (see `failures`).

        `train/loss` and the task's metrics, such as `train/accuracy`, are over all predictions that
        were made, each batch under the client's weights before its step; `train/steps` is the
        cohort's number of gradient steps; `traffic/*` is what clients and server would send each
        other; `aggregator/*` is what the aggregator measures.

        Raises:
            RoundError: fewer than `cohort.min_reports` clients reported, or they have no examples,
                so that the mean update is undefined.
        """
        clients, failed = readable(self._files, cohort)
        require_reports(round_num, len(cohort), failed, self._min_reports)
        # A private round without clients is a round of noise: to leave it out would tell that
        # nobody was sampled.
        if not sum(client.count for client in clients.values()) and not self._aggregation.private:
            raise RoundError(
                f"round {round_num}: expected training examples at the cohort's clients, found "
                f"none at {shorten(cohort)}. Raise cohort.size, or sample clients that have "
                "examples."
            )
        rates = rates_of_round(self._config, round_num)
        state = with_server_rate(state, rates.server)
        while True:
            next_state, measured, newly_failed = self._try(state, round_num, rates.client, clients)
            if not newly_failed:
                break
            failed |= newly_failed
            require_reports(round_num, len(cohort), failed, self._min_reports)
            clients, unreadable = readable(
                self._files, [client_id for client_id in clients if client_id not in failed]
            )
            failed |= unreadable
        sums = measured["clients"]
        metrics = {
            **train_metrics(sums, self._work.task),
            **rate_metrics(self._config, rates),
            **self._traffic_metrics(len(clients)),
            **_scalars(measured["aggregator"], "aggregator"),
        }
        return RoundResult(next_state, metrics, int(sums["examples"]), tuple(sorted(failed)))

    def weights(self, state: Any) -> Weights:
        """Return the server's weights by name."""
        return dict(
            zip(self._work.model.tensor_names, map(np.asarray, state["weights"]), strict=True)
        )

    def _try(
        self,
        state: Any,
        round_num: int,
        rate: float,
        clients: Mapping[str, ClientFile],
        again: bool = True,
    ) -> tuple[Any, Any, dict[str, str]]:
        """Return the next state, what was measured, and the clients that failed with the reason; if
        there are some, the first two are not to be used.

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
            next_state, measured = self.computation.compute(state, round_num, rate, clients)
        except (ComputationError, FileNotFoundError) as err:
            if again and not all(client.exists() for client in clients.values()):
                restored, unreadable = readable(self._files, sorted(clients))
                if unreadable:
                    return None, None, unreadable
                return self._try(state, round_num, rate, restored, again=False)
            if isinstance(err, FileNotFoundError):
                raise

            def run_alone(client_id: str) -> None:
                client = {client_id: clients[client_id]}
                self.computation.not_finite(state, round_num, rate, client)

            return None, None, failing(err, round_num, run_alone, sorted(clients))
        if not int(measured["clients"]["failed"]):
            return next_state, measured, {}
        # If it is nobody, the sum of finite updates is too large, and the loop refuses the weights.
        failed = self.computation.not_finite(state, round_num, rate, clients)
        return next_state, measured, dict.fromkeys(failed, NOT_FINITE)

    def _traffic_metrics(self, clients: int) -> dict[str, float]:
        if self._traffic is None:
            return {}
        up, down = self._traffic
        return {
            "traffic/up_bytes": float(up * clients),
            "traffic/down_bytes": float(down * clients),
        }


def _scalars(values: Any, prefix: str) -> dict[str, float]:
    """Return the numbers in a structure of measurements by their path; whatever is no scalar is not
    a metric.
    """
    if isinstance(values, Mapping):
        metrics: dict[str, float] = {}
        for name, value in values.items():
            metrics |= _scalars(value, f"{prefix}/{name}")
        return metrics
    if np.ndim(values) == 0 and np.issubdtype(np.asarray(values).dtype, np.number):
        return {prefix: float(values)}
    return {}
