"""The last bit: the same settings, data and seed on more or fewer cores, in new workers, in one go or from the middle."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.data.resident import ResidentCache
from fedpipe.engine.runtime import Runtime
from fedpipe.types import weights_sha256

ROUNDS = 3
SETTINGS: dict[str, dict[str, Any]] = {
    "groups": {"runtime": {"groups": 2}},
    "each client by itself, clipped": {"aggregator": {"clipping": True}},
}


@pytest.fixture
def on_cores() -> Iterator[Callable[[int], None]]:
    """Return a function that leaves this thread, and the workers that it starts, so many cores."""
    usable = os.sched_getaffinity(0)

    def limit(count: int) -> None:
        if len(usable) < count:
            pytest.skip(f"needs {count} cores")
        os.sched_setaffinity(0, sorted(usable)[:count])

    yield limit
    os.sched_setaffinity(0, usable)


@pytest.fixture
def run(mixed_clients: Any, recipe: Any, tmp_path: Path) -> Callable[..., list[str]]:
    """Run rounds in a new runtime; return the SHA-256 of the weights after each."""

    def rounds(settings: dict[str, Any], **runtime: Any) -> list[str]:
        client = {
            "client": {"epochs": 2, "shuffle": True},
            "server": {"optimizer": "adam", "learning_rate": 0.01},
        }
        config, built = recipe(
            "fedavg",
            client | settings | {"runtime": settings.get("runtime", {"groups": None}) | runtime},
        )
        cache = ResidentCache(tmp_path, mixed_clients, ["bits"], max_bytes=10**9)
        algorithm = RecipeAlgorithm(config, built, cache)
        found = []
        with Runtime(config.runtime, tmp_path / "worker.log") as runtime_:
            state = runtime_.call(algorithm.initialize)
            for number in range(1, ROUNDS + 1):
                state = runtime_.call(
                    algorithm.next, state, number, tuple(mixed_clients.data)
                ).state
                found.append(weights_sha256(algorithm.weights(state)))
        return found

    return rounds


@pytest.mark.parametrize("name", SETTINGS)
def test_new_workers_and_one_core_or_two_give_the_same_bits(
    run: Any, on_cores: Any, name: str
) -> None:
    on_cores(2)
    expected = run(SETTINGS[name])
    assert len(set(expected)) == ROUNDS
    on_cores(1)
    assert run(SETTINGS[name]) == expected
