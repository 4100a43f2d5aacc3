"""Local-only training, the lower baseline: each client trains a model of its own on its own
examples, and nothing is exchanged.

A client continues with its model in each round that it is in; all start from the same weights.
Each round reports means over the clients of the cohort:

    local/test_accuracy, local/test_loss          on their own test splits, of those that have one
    local/central_accuracy, local/central_loss    on the central test set

The server's weights, which `test/accuracy` and the run's final model are of, are the mean of all
clients' models: nobody would use it, but it says what averaging once at the end would give (Zhang,
Duchi and Wainwright 2013, JMLR 14: one-shot averaging).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from fedpipe.algorithms.aggregation import mean
from fedpipe.algorithms.base import Algorithm, AlgorithmWrapper, RoundResult
from fedpipe.algorithms.client_work import ClientResult, ClientWork
from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.algorithms.recipe import Recipe, Run, averaging
from fedpipe.algorithms.stateful_clients import StatefulClients, Tensors
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.models import ModelSpec
from fedpipe.models.evaluate import Predictor
from fedpipe.types import Examples, Weights


@dataclass(frozen=True)
class LocalOnly(AlgorithmWrapper):
    """An `Algorithm` that is another one, whose clients keep models of their own: it measures
    these, and its weights are their mean.

    Attributes:
        algorithm: trains the clients.
        config: `eval.every` and `rounds` say which rounds are measured.
        model: what is trained.
        population: the clients and their test splits.
        predictor: of the model.
        central_test: the central test set.
    """

    config: Config
    model: ModelSpec
    population: Population
    predictor: Predictor
    central_test: Examples

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Return the round, with `local/` metrics where the round is evaluated."""
        result = super().next(state, round_num, cohort)
        if round_num % self.config.eval.every and round_num != self.config.rounds:
            return result
        return replace(result, metrics={**result.metrics, **self._local_metrics(result, cohort)})

    def weights(self, state: Any) -> Weights:
        """Return the mean of all clients' models, by name."""
        return self._by_name(state["mean"])

    def _local_metrics(self, result: RoundResult, cohort: tuple[str, ...]) -> dict[str, float]:
        scores: dict[str, list[dict[str, float]]] = {"central": [], "test": []}
        for client_id in sorted(set(cohort) - set(result.failed)):
            weights = self._by_name(result.state["clients"].of(client_id))
            test_split = self.population.examples(client_id, "test")
            scores["central"].append(self._scores(weights, self.central_test))
            if len(test_split):
                scores["test"].append(self._scores(weights, test_split))
        metrics: dict[str, float] = {}
        for name, clients in scores.items():
            for figure in dict.fromkeys(key for client in clients for key in client):
                values = [client[figure] for client in clients if figure in client]
                metrics[f"local/{name}_{figure}"] = float(np.mean(values))
        return metrics

    def _scores(self, weights: Weights, examples: Examples) -> dict[str, float]:
        """Return the mean of the task's loss, and its metrics that are told over clients."""
        task = self.predictor.task
        predictions = self.predictor.predict(weights, examples)
        scores = {"loss": float(predictions.losses.mean())}
        for metric in task.metrics:
            if metric.name in task.over_clients:
                value = metric.value(metric.sums(predictions))
                if value is not None:
                    scores[metric.name] = value
        return scores

    def _by_name(self, tensors: Tensors) -> Weights:
        return dict(zip(self.model.tensor_names, map(np.asarray, tensors), strict=True))


def initial_model(weights: Tensors) -> Tensors:
    """Return the model of a client before its first round."""
    return [np.asarray(tensor) for tensor in weights]


def own_model(_mean: Tensors, model: Tensors) -> Tensors:
    """Return what a client is sent: its model, which only the simulation keeps at the server."""
    return list(model)


def train(
    work: ClientWork, _weights: list[Any], model: list[Any], ref: Any
) -> tuple[ClientResult, list[Any]]:
    """Return the result of a client's steps from its own model, and its model after them."""
    result = work(model, ref["data"], ref["count"], ref["seed"], ref["rate"])
    return result, tf.nest.map_structure(tf.add, model, result.update)


def build(run: Run) -> Recipe:
    """Return clients that train for themselves."""
    clients = StatefulClients(
        population_size=len(run.population.participating()),
        initial=initial_model,
        sent=own_model,
        train=train,
        exchange=False,
    )

    def wrap(algorithm: Algorithm) -> Algorithm:
        return LocalOnly(
            algorithm,
            run.config,
            run.model,
            run.population,
            Predictor(run.model, task=run.task),
            run.population.central_test(),
        )

    plain = averaging(run, build_optimizer("sgd", 1.0))
    return replace(plain, aggregation=mean(), clients=clients, wrap=wrap)
