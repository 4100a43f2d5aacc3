"""Every client for itself, the baseline below: each trains a model of its own on its own examples,
and nothing is exchanged.

A client goes on with its model in each round that it is in; all start from the same weights. What
is reported each round is the mean over the clients of the cohort of what their models do:

    local/test_accuracy, local/test_loss          on their own test splits, of those that have one
    local/central_accuracy, local/central_loss    on the central test set

The server's weights, which `test/accuracy` and the run's final model are of, are the mean of all
clients' models: nobody would use it, but it says what averaging once at the end would give (Zhang,
Duchi and Wainwright 2013, JMLR 14: one-shot averaging).
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fedpipe.algorithms.aggregation import mean
from fedpipe.algorithms.base import RoundResult
from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.algorithms.recipe import Recipe, Run, averaging
from fedpipe.algorithms.stateful_clients import Tensors, WithMemory
from fedpipe.data.population import Population
from fedpipe.models.evaluate import Predictor
from fedpipe.types import Examples, Weights


class LocalOnly(WithMemory):
    """What a client keeps is its model; `mean` is the mean of all of them."""

    def __init__(self, *args: Any, population: Population, **named: Any) -> None:
        """Take what `WithMemory` does, and the clients' test splits."""
        super().__init__(*args, **named)
        self._population, self._central, self._predictor = (
            population,
            population.central_test(),
            Predictor(self._work.model),
        )

    def _first(self) -> Tensors:
        return [np.asarray(tensor) for tensor in self._initial]

    def _given(self, state: Any, client_id: str) -> Tensors:
        return list(state["clients"].of(client_id))

    def _train(self, weights: list[Any], given: list[Any], ref: Any) -> tuple[Any, list[Any]]:
        del weights
        result = self._work(given, ref["data"], ref["count"], ref["seed"], ref["rate"])
        return result, [own + update for own, update in zip(given, result.update, strict=True)]

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Return the round, with `local/` metrics where the round is evaluated."""
        result = super().next(state, round_num, cohort)
        if round_num % self._config.eval.every and round_num != self._config.rounds:
            return result
        return replace(result, metrics={**result.metrics, **self._local_metrics(result, cohort)})

    def weights(self, state: Any) -> Weights:
        """Return the mean of all clients' models, by name."""
        return dict(zip(self._work.model.tensor_names, map(np.asarray, state["mean"]), strict=True))

    def _bytes_each(self) -> None:
        return None

    def _local_metrics(self, result: RoundResult, cohort: tuple[str, ...]) -> dict[str, float]:
        scores: dict[str, list[tuple[float, float]]] = {"central": [], "test": []}
        for client_id in sorted(set(cohort) - set(result.failed)):
            model = result.state["clients"].of(client_id)
            own = self._population.examples(client_id, "test")
            scores["central"].append(self._score(model, self._central))
            if len(own):
                scores["test"].append(self._score(model, own))
        metrics: dict[str, float] = {}
        for name, found in scores.items():
            if found:
                loss, accuracy = np.mean(found, axis=0)
                metrics |= {
                    f"local/{name}_loss": float(loss),
                    f"local/{name}_accuracy": float(accuracy),
                }
        return metrics

    def _score(self, model: Tensors, examples: Examples) -> tuple[float, float]:
        """Return loss in nats per prediction and accuracy of a model's tensors."""
        found = self._predictor.predict(
            dict(zip(self._work.model.tensor_names, model, strict=True)), examples
        )
        return float(found.losses.mean()), float(found.hits.mean())


def build(run: Run) -> Recipe:
    """Return clients that train for themselves."""
    clients = len(run.population.participating())
    algorithm = partial(LocalOnly, clients=clients, population=run.population)
    return replace(
        averaging(run, build_optimizer("sgd", 1.0)), aggregation=mean(), algorithm=algorithm
    )
