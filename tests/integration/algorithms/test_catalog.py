"""The named algorithms on real shards: `fedavg` with its default settings gives what the readable reference gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.catalog import build_algorithm
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.resident import usage
from fedpipe.errors import ConfigError
from fedpipe.models import build_model


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Population:
    project = tmp_path_factory.mktemp("project")
    prepare_shards(Config().data, project / "shards", project)
    return Population.open(project / "shards")


@pytest.mark.parametrize(("model_name", "tolerance"), [("softmax", 1e-6), ("cnn", 1e-5)])
def test_default_settings_give_the_same_weights_by_either_name(
    model_name: str, tolerance: float, population: Population, tff_runtime: Any, tmp_path: Path
) -> None:
    weights = {}
    cohort = population.client_ids()[:3]
    for name in ("fedavg", "fedavg_reference"):
        config = Config.model_validate({"algorithm": {"name": name}, "model": {"name": model_name}})
        model = build_model(
            config, population.manifest.feature_shape, population.manifest.num_classes
        )
        algorithm = build_algorithm(config, model, population, tmp_path)
        state = tff_runtime.call(algorithm.initialize)
        for tensor, value in model.initial_weights(config.seed).items():
            np.testing.assert_array_equal(algorithm.weights(state)[tensor], value)
        result = tff_runtime.call(algorithm.next, state, 1, cohort)
        assert result.examples == sum(population.num_examples(client_id) for client_id in cohort)
        weights[name] = algorithm.weights(result.state)
    for tensor, value in weights["fedavg_reference"].items():
        np.testing.assert_allclose(weights["fedavg"][tensor], value, atol=tolerance)
    assert usage(tmp_path).files == len(cohort), (
        "the clients that a run samples, and no other, are in the cache"
    )


def test_the_cnn_learns_a_cohort(population: Population, tff_runtime: Any, tmp_path: Path) -> None:
    config = Config.model_validate({"model": {"name": "cnn"}, "client": {"learning_rate": 0.05}})
    algorithm = build_algorithm(config, build_model(config, (28, 28), 10), population, tmp_path)
    state, losses = tff_runtime.call(algorithm.initialize), []
    for round_num in (1, 2, 3):
        result = tff_runtime.call(algorithm.next, state, round_num, population.client_ids()[:2])
        state = result.state
        losses.append(result.metrics["train/loss"])
    assert losses[2] < losses[0]


def test_a_users_own_algorithm_is_spread_over_machines_only_as_a_recipe(
    population: Population, tmp_path: Path
) -> None:
    methods = "".join(
        f"    def {name}(self, *_): ...\n" for name in ("initialize", "expect", "next", "weights")
    )
    (tmp_path / "whole_algorithm.py").write_text(
        f"class Whole:\n    info = {{}}\n{methods}def build(run):\n    return Whole()\n"
    )
    values: dict[str, Any] = {
        "algorithm": {"name": "whole_algorithm:build"},
        "runtime": {"remote": ["worker1:7100"]},
    }
    model = build_model(Config(), (28, 28), 10)
    with pytest.raises(
        ConfigError,
        match=r"algorithm\.name=whole_algorithm:build: expected a Recipe, .* found a whole algorithm",
    ):
        build_algorithm(Config.model_validate(values), model, population, tmp_path, tmp_path)
    values["runtime"] = {}
    assert (
        type(
            build_algorithm(Config.model_validate(values), model, population, tmp_path, tmp_path)
        ).__name__
        == "Whole"
    )
