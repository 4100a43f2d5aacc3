"""The TFF processes in `examples/`, as they are: their weights are those of fedpipe's own algorithms."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.catalog import build_algorithm
from fedpipe.config import load_config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.engine.runtime import Runtime
from fedpipe.engine.user_algorithm import UserAlgorithm
from fedpipe.models import build_model
from fedpipe.types import Weights

EXAMPLES = Path(__file__).parents[3] / "examples"
ROUNDS = 3


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test of this process may have imported modules of these names."""
    for path in EXAMPLES.glob("*/*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Population:
    folder = tmp_path_factory.mktemp("data")
    config = load_config(EXAMPLES / "tff_learning" / "params.yaml")
    prepare_shards(config.data, folder / "shards", folder)
    return Population.open(folder / "shards", verify=False)


def trained(
    example: str, overrides: tuple[str, ...], population: Population, runtime: Runtime, cache: Path
) -> Weights:
    """Return the weights after three rounds of the example's settings with overrides."""
    folder = EXAMPLES / example
    config = load_config(folder / "params.yaml", overrides)
    name = config.algorithm.name
    model = build_model(config, (28, 28), 10, folder)
    arguments = (config, model, population, cache, folder)
    build = UserAlgorithm.build if ":" in name else _build_named
    algorithm: Any = build(name, runtime, build_algorithm, *arguments)
    state = runtime.call(algorithm.initialize)
    cohort = tuple(list(population.participating())[:10])
    for round_num in range(1, ROUNDS + 1):
        state = runtime.call(algorithm.next, state, round_num, cohort).state
    weights: Weights = runtime.call(algorithm.weights, state)
    return weights


def _build_named(_name: str, runtime: Runtime, build: Any, *arguments: Any) -> Any:
    return runtime.call(build, *arguments)


@pytest.mark.parametrize(
    ("example", "own"),
    [
        ("tff_learning", ("algorithm.name=fedavg", "client.weighting=examples")),
        ("tff_reference", ("algorithm.name=fedavg",)),
        ("tff_reference", ("algorithm.name=fedavg_reference",)),
    ],
)
def test_its_weights_are_those_of_fedpipes_own_algorithm(
    example: str,
    own: tuple[str, ...],
    population: Population,
    tff_runtime: Runtime,
    tmp_path: Path,
) -> None:
    of_process = trained(example, (), population, tff_runtime, tmp_path)
    expected = trained(example, own, population, tff_runtime, tmp_path)
    assert list(of_process) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(of_process[name], tensor, rtol=0, atol=1e-6)
        assert np.abs(tensor).max() > 1e-3
