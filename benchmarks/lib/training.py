"""Trainings of named algorithms in this process, for the benchmarks that compare algorithms: one population, one runtime, many runs."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedpipe.algorithms.catalog import build_algorithm
from fedpipe.config import Config
from fedpipe.data.cohort_plan import plan_cohorts
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.engine.loop import run_rounds
from fedpipe.engine.runtime import Runtime
from fedpipe.models import build_model
from fedpipe.models.evaluate import Evaluator
from fedpipe.models.federated import training_clients
from fedpipe.pipeline.privacy import KEY_BYTES, account_of

ROOT = Path(__file__).parents[2]


def settings(*parts: Mapping[str, Any]) -> Config:
    """Return the settings of dotted keys; later ones are laid over earlier ones.

    >>> settings({"seed": 1, "client.epochs": 2}, {"seed": 3}).seed
    3
    """
    tree: dict[str, Any] = {}
    for key, value in {key: value for part in parts for key, value in part.items()}.items():
        *groups, last = key.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return Config.model_validate(tree)


@dataclass(frozen=True)
class Bench:
    """A population and a running runtime.

    Attributes:
        population: the clients.
        runtime: the TFF worker.
        folder: for caches.
    """

    population: Population
    runtime: Runtime
    folder: Path

    @classmethod
    def prepare(cls, config: Config, runtime: Runtime, folder: Path) -> "Bench":
        """Make the population of `config.data` in `folder`."""
        prepare_shards(config.data, folder / "shards", ROOT)
        return cls(Population.open(folder / "shards", verify=False), runtime, folder)

    def algorithm(self, config: Config) -> Any:
        """Return the algorithm of the settings, bound to the population."""
        plan = plan_cohorts(
            training_clients(config, self.population), config.cohort, config.rounds, config.seed
        )
        accountant, _ = account_of(config, len(training_clients(config, self.population)), plan)
        model = build_model(
            config,
            tuple(self.population.manifest.feature_shape),
            self.population.manifest.num_classes,
        )
        key = (
            secrets.token_bytes(KEY_BYTES) if accountant and not config.privacy.repeatable else None
        )
        known = accountant.config if accountant else config
        return build_algorithm(known, model, self.population, self.folder / "cache", noise_key=key)

    def train(self, config: Config) -> dict[str, float]:
        """Run all rounds and return the last one's metrics, `test/accuracy` among them."""
        plan = plan_cohorts(
            training_clients(config, self.population), config.cohort, config.rounds, config.seed
        )
        algorithm = self.algorithm(config)
        model = build_model(
            config,
            tuple(self.population.manifest.feature_shape),
            self.population.manifest.num_classes,
        )
        evaluator = Evaluator(model, self.population.central_test())

        def evaluate(weights: Any) -> dict[str, float]:
            result = evaluator.evaluate(weights)
            return {"test/loss": result.loss, "test/accuracy": result.accuracy}

        return dict(
            run_rounds(algorithm, self.runtime, plan, evaluate, config.rounds, []).final.metrics
        )
