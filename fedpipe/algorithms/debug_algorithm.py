"""Recipes that take the mean, such as `fedavg`, for debugging: the same parts, run eagerly in this
process, client after client.

No TFF worker and no graph: a `breakpoint()` or a `print` in a model or in client work is reached,
and an error says round, client and step. Ten to a hundred times slower; the weights are those of
the fast way to about 1e-6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from fedpipe.algorithms.base import RoundResult
from fedpipe.algorithms.client_refs import ClientFile, ClientFiles, ClientRefs
from fedpipe.algorithms.client_work import ClientResult, ClientWork, add, train_metrics
from fedpipe.algorithms.failures import NOT_FINITE, not_finite, readable, require_reports
from fedpipe.algorithms.optimizers import build_server_optimizer
from fedpipe.algorithms.schedules import rate_metrics, rates_of_round
from fedpipe.config import Config
from fedpipe.errors import FedpipeError, RoundError
from fedpipe.types import Weights


@dataclass
class _Steps:
    """Counts a client's steps: each computes the logits once."""

    taken: int = 0


class DebugAlgorithm:
    """An `Algorithm` that needs no runtime; its state is weights and server optimizer state."""

    def __init__(
        self, config: Config, work: ClientWork, files: ClientFiles, server_optimizer: Any = None
    ) -> None:
        """Take the client work, whose model's logits are wrapped, to know the step that fails; the
        optimizer as `RecipeAlgorithm` does.
        """
        self._steps = _Steps()
        self._config = config
        self._files = files
        self._refs = ClientRefs(config.seed, work.by_value, remote=False)
        self._model = work.model
        self._min_reports = config.cohort.min_reports
        train_logits = None if work.model.train_logits is None else self._counted_train_logits
        self._work = replace(
            work, model=replace(work.model, logits=self._counted_logits, train_logits=train_logits)
        )
        self._optimizer = server_optimizer or build_server_optimizer(config.server)

    @property
    def info(self) -> Mapping[str, str]:
        """Return how the algorithm is computed."""
        return {
            "algorithm.aggregator": "mean",
            "algorithm.groups": "none",
            "algorithm.arrangement": "debug: in this process, one by one",
        }

    def initialize(self) -> Any:
        """Return the server state of round 0."""
        weights = [
            tf.constant(tensor)
            for tensor in self._model.initial_weights(self._config.seed).values()
        ]
        return weights, self._optimizer.initialize(
            [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in weights]
        )

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Do nothing: one thing after the other."""

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Run one round.

        Raises:
            RoundError: client work raised an error; the message names round, client and step, the
                cause is the original error. Or fewer than `cohort.min_reports` clients reported.
        """
        weights, optimizer_state = state
        rates = rates_of_round(self._config, round_num)
        if rates.server is not None:
            optimizer_state = optimizer_state | {"learning_rate": rates.server}
        total = self._work.zero_update(weights)
        total_weight = tf.constant(0.0)
        sums = self._work.zero_sums()
        clients, failed = readable(self._files, cohort)
        for client_id, client in clients.items():
            result = self._client(
                weights, optimizer_state, round_num, rates.client, client_id, client
            )
            if int(not_finite([*result.update, result.sums["loss"]])):
                failed[client_id] = NOT_FINITE
                continue
            total = [
                left + result.update_weight * right
                for left, right in zip(total, result.update, strict=True)
            ]
            total_weight = total_weight + result.update_weight
            sums = add(sums, result.sums)
        require_reports(round_num, len(cohort), failed, self._min_reports)
        if not float(total_weight):
            raise RoundError(
                f"round {round_num}: expected training examples at the cohort's clients, found "
                "none. Raise cohort.size."
            )
        gradient = [-tensor / total_weight for tensor in total]
        optimizer_state, weights = self._optimizer.next(optimizer_state, weights, gradient)
        examples = int(sums["examples"])
        metrics = train_metrics(sums, self._work.task) | rate_metrics(self._config, rates)
        return RoundResult((weights, optimizer_state), metrics, examples, tuple(sorted(failed)))

    def weights(self, state: Any) -> Weights:
        """Return the server's weights by name."""
        return dict(zip(self._model.tensor_names, map(np.asarray, state[0]), strict=True))

    def _client(
        self,
        weights: Sequence[Any],
        server: Any,
        round_num: int,
        rate: float,
        client_id: str,
        client: ClientFile,
    ) -> ClientResult:
        self._steps.taken = 0
        ref = self._refs.of_client(round_num, rate, client_id, client)
        try:
            data, count, seed, client_rate = map(tf.constant, ref.values())
            return self._work(weights, data, count, seed, client_rate, server)
        except FedpipeError:
            raise
        except Exception as err:
            raise RoundError(
                f"round {round_num}, client {client_id}, step {self._steps.taken}: "
                f"{type(err).__name__}: {err}"
            ) from err

    def _counted_train_logits(self, weights: Sequence[Any], x: Any, seed: Any) -> Any:
        self._steps.taken += 1
        if self._model.train_logits:
            return self._model.train_logits(weights, x, seed)
        return None

    def _counted_logits(self, weights: Sequence[Any], x: Any) -> Any:
        self._steps.taken += 1
        return self._model.logits(weights, x)
