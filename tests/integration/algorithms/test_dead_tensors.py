"""A frozen tensor and one that nobody reads, in every algorithm: they keep their values, and the others train."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.algorithms.catalog import run_recipe
from fedpipe.algorithms.debug_algorithm import DebugAlgorithm
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.data.resident import ResidentCache
from fedpipe.models import ModelSpec

PRIVATE = {
    "privacy": {
        "mechanism": "gaussian",
        "clip_norm": 1.0,
        "noise_multiplier": 0.0,
        "delta": 1e-5,
        "repeatable": True,
    },
    "cohort": {"strategy": "uniform"},
    "runtime": {},
}
CASES: list[Any] = [(name, {}) for name in ALGORITHMS if name != "fedavg_reference"]
CASES += [
    ("fedavg", PRIVATE),
    ("fedavg", {"aggregator": {"name": "median"}, "runtime": {}}),
    ("fedavg", {"runtime": {"debug": True}}),
]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param(
            *case,
            marks=[] if case == ("mimelite", {}) else pytest.mark.slow,
            id=f"{case[0]}-{len(case[1])}",
        )
        for case in CASES
    ],
)
def test_dead_tensors_stay_and_the_others_train(
    name: str,
    settings: Any,
    recipe: Any,
    softmax: ModelSpec,
    make_clients: Any,
    after: Any,
    tmp_path: Any,
) -> None:
    clients = make_clients({"a": 20, "b": 5, "c": 1})

    def initial_weights(seed: int) -> Any:
        return {**softmax.initial_weights(seed), "unused": np.ones(3, np.float32)}

    def logits(weights: Any, x: Any) -> Any:
        return softmax.logits([weights[0], tf.stop_gradient(weights[1])], x)

    model = ModelSpec(
        "dead", (28, 28), 10, (*softmax.tensor_names, "unused"), initial_weights, logits
    )
    config, built = recipe(name, settings, clients, model)
    cache = ResidentCache(tmp_path, clients, ["x"], max_bytes=10**9)
    algorithm = (
        DebugAlgorithm(config, built.work, cache, built.server_optimizer)
        if config.runtime.debug
        else run_recipe(config, built, cache)
    )
    call = {"call": lambda fn, *args: fn(*args)} if config.runtime.debug else {}
    weights = algorithm.weights(after(algorithm, 2, ("a", "b", "c"), **call))
    kernel, bias, unused = weights.values()
    assert np.any(kernel)
    assert not np.any(bias)
    np.testing.assert_array_equal(unused, np.ones(3))
