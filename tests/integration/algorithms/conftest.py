"""Populations in memory, the oracle in NumPy, and `RecipeAlgorithm` on them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import pytest

from fedpipe.algorithms.aggregation import Aggregation, mean
from fedpipe.algorithms.catalog import load, run_recipe
from fedpipe.algorithms.debug_algorithm import DebugAlgorithm
from fedpipe.algorithms.recipe import Recipe, Run, build_client_work
from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.config import Config
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.data.resident import ResidentCache
from fedpipe.engine.runtime import Runtime
from fedpipe.models import ModelSpec, build_model
from fedpipe.seeding import generator
from fedpipe.types import Examples, Weights

SIZES = {"one": 1, "nineteen": 19, "twenty": 20, "twenty-one": 21, "four hundred": 400}


class Clients:
    """Random digits: `sizes[client_id]` examples for each client."""

    def __init__(self, sizes: Mapping[str, int], dtype: type = np.uint8) -> None:
        self.data = {}
        for client_id, size in sizes.items():
            draw = generator(1, "digits", client_id)
            x = draw.integers(0, 256, (size, 28, 28), dtype=np.uint8)
            y = draw.integers(0, 10, size).astype(np.int32)
            self.data[client_id] = Examples(x if dtype is np.uint8 else (x / 255).astype(dtype), y)

    def examples(self, client_id: str) -> Examples:
        return self.data[client_id]

    def num_examples(self, client_id: str) -> int:
        return len(self.data[client_id])


class Built:
    """A `RecipeAlgorithm` on a worker."""

    def __init__(self, algorithm: RecipeAlgorithm, runtime: Runtime) -> None:
        self.algorithm, self._runtime = algorithm, runtime

    def rounds(self, cohorts: Sequence[Sequence[str]]) -> tuple[Weights, list[Any]]:
        """Run a round for each cohort; return the last weights and every round's result."""
        state, results = self._runtime.call(self.algorithm.initialize), []
        for number, cohort in enumerate(cohorts, start=1):
            results.append(self._runtime.call(self.algorithm.next, state, number, tuple(cohort)))
            state = results[-1].state
        return self.algorithm.weights(state), results


class Builder(Protocol):
    def __call__(
        self,
        clients: Clients,
        settings: Mapping[str, Any] | None = None,
        aggregation: Aggregation | None = None,
    ) -> Built: ...


@pytest.fixture
def build(tff_runtime: Runtime, tmp_path: Path, softmax: ModelSpec) -> Builder:
    """Return a function that builds algorithms from clients, settings that differ from the defaults, and an aggregation."""

    def make(
        clients: Clients,
        settings: Mapping[str, Any] | None = None,
        aggregation: Aggregation | None = None,
    ) -> Built:
        config = Config.model_validate(
            {"runtime": {"groups": 2 if aggregation is None else None}} | dict(settings or {})
        )
        dtype = next(iter(clients.data.values())).x.dtype
        cache = ResidentCache(tmp_path, clients, [str(dtype)], max_bytes=10**9)
        return Built(
            RecipeAlgorithm(
                config,
                Recipe(build_client_work(config, softmax, dtype), aggregation or mean()),
                cache,
            ),
            tff_runtime,
        )

    return make


@pytest.fixture
def recipe(softmax: ModelSpec, tmp_path: Path) -> Callable[..., tuple[Config, Recipe]]:
    """Return a function from the name of an algorithm and other settings to the settings and the recipe."""

    def make(
        name: str,
        settings: Mapping[str, Any] | None = None,
        clients: Any = None,
        model: ModelSpec | None = None,
    ) -> tuple[Config, Recipe]:
        population: Any = SimpleNamespace(
            manifest=SimpleNamespace(
                feature_dtype="uint8", variable_length=False, target_width=None
            ),
            participating=lambda: sorted(clients.data if clients else SIZES),
            examples=lambda client_id, _split: clients.examples(
                client_id
            ),  # they are tested on what they train on
            central_test=lambda: next(iter((clients or Clients(SIZES)).data.values())),
        )
        values = (
            {} if ALGORITHMS[name].ignored("runtime.groups") else {"runtime": {"groups": 2}}
        ) | dict(settings or {})
        config = Config.model_validate(
            values | {"algorithm": {"name": name, **values.get("algorithm", {})}}
        )
        return config, load(ALGORITHMS[name].where)(
            Run(config, model or softmax, population, tmp_path)
        )

    return make


@pytest.fixture
def make(recipe: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that builds a named algorithm from its recipe, on clients; as `kind`, or as `RecipeAlgorithm`."""

    def algorithm(
        name: str, clients: Clients, settings: Mapping[str, Any] | None = None, kind: Any = None
    ) -> Any:
        config, built = recipe(name, settings, clients)
        cache = ResidentCache(tmp_path, clients, [str(id(clients))], max_bytes=10**9)
        if kind is DebugAlgorithm:
            return DebugAlgorithm(config, built.work, cache, built.server_optimizer)
        return run_recipe(config, built, cache)

    return algorithm


@pytest.fixture
def after(tff_runtime: Runtime) -> Callable[..., Any]:
    """Return a function that runs rounds and returns the state after them."""

    def run(
        algorithm: Any,
        rounds: int,
        cohort: tuple[str, ...],
        state: Any = None,
        first: int = 1,
        call: Any = tff_runtime.call,
    ) -> Any:
        state = call(algorithm.initialize) if state is None else state
        for number in range(first, first + rounds):
            state = call(algorithm.next, state, number, cohort).state
        return state

    return run


@pytest.fixture(scope="session")
def softmax() -> ModelSpec:
    return build_model(Config(), (28, 28), 10)


@pytest.fixture(scope="session")
def make_clients() -> type[Clients]:
    return Clients


@pytest.fixture(scope="session")
def mixed_clients() -> Clients:
    """Clients of 1, 19, 20, 21 and 400 examples: below, at and above one batch of 20, and many batches."""
    return Clients(SIZES)


@pytest.fixture(scope="session")
def oracle() -> Callable[..., Weights]:
    return numpy_fedavg


def numpy_fedavg(
    clients: Clients,
    cohorts: Sequence[Sequence[str]],
    rate: float = 0.01,
    epochs: int = 1,
    max_steps: int | None = None,
    weighted: bool = False,
) -> Weights:
    """FedAvg on softmax regression in float64, batches of 20: the mean of the clients' weights, each round."""
    server = [np.zeros((784, 10)), np.zeros(10)]
    for cohort in cohorts:
        trained = [
            numpy_client(clients.examples(client_id), server, rate, epochs, max_steps)
            for client_id in cohort
        ]
        shares = [len(clients.examples(client_id)) if weighted else 1 for client_id in cohort]
        server = [
            np.average([weights[i] for weights in trained], axis=0, weights=shares) for i in (0, 1)
        ]
    return {"kernel": server[0], "bias": server[1]}


def numpy_client(
    examples: Examples, server: list[Any], rate: float, epochs: int, max_steps: int | None
) -> list[Any]:
    """SGD: the gradient of the mean cross-entropy is x^T (p - onehot) / n."""
    (w, b), steps = server, 0
    x = examples.x.reshape(len(examples), 784) / (255.0 if examples.x.dtype == np.uint8 else 1.0)
    for _ in range(epochs):
        for start in range(0, len(examples), 20):
            if steps == max_steps:
                return [w, b]
            xb, yb = x[start : start + 20], examples.y[start : start + 20]
            z = xb @ w + b
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(yb)), yb] -= 1
            w, b, steps = w - rate * xb.T @ p / len(yb), b - rate * p.mean(0), steps + 1
    return [w, b]
