"""A round's clients over two workers: the same weights as on one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.aggregation import Aggregation, mean
from fedpipe.algorithms.recipe import Recipe, build_client_work
from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.config import Config
from fedpipe.config.schema import RuntimeConfig
from fedpipe.data.resident import ResidentCache
from fedpipe.engine.runtime import Runtime


@pytest.mark.parametrize(
    "aggregation",
    [mean(), Aggregation("mean of single clients", mean().each)],
    ids=["groups", "per client"],
)
def test_two_workers_equal_one(
    build: Any, mixed_clients: Any, softmax: Any, tmp_path: Path, aggregation: Aggregation
) -> None:
    cohort = tuple(sorted(mixed_clients.data))
    one, _ = build(mixed_clients, aggregation=aggregation).rounds([cohort] * 3)
    config = Config(runtime=RuntimeConfig(workers=2))
    cache = ResidentCache(tmp_path / "two", mixed_clients, ["two"], max_bytes=10**9)
    algorithm = RecipeAlgorithm(
        config,
        Recipe(build_client_work(config, softmax, np.dtype(np.uint8)), aggregation),
        cache,
    )
    with Runtime(config.runtime, tmp_path / "worker.log") as runtime:
        state = runtime.call(algorithm.initialize)
        for round_num in (1, 2, 3):
            state = runtime.call(algorithm.next, state, round_num, cohort).state
        two = algorithm.weights(state)
        assert len({worker.pid for worker in runtime.workers}) == 2
    for name, value in two.items():
        np.testing.assert_allclose(value, one[name], atol=1e-6)
