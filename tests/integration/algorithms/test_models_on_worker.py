"""Every model trains on the worker as it does in this process: the same draws of dropout, the same masks, the same gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.aggregation import mean
from fedpipe.algorithms.debug_algorithm import DebugAlgorithm
from fedpipe.algorithms.fedavg_reference import create_keras_model
from fedpipe.algorithms.recipe import Recipe, build_client_work
from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.config import Config
from fedpipe.data.resident import ResidentCache
from fedpipe.errors import ConfigError
from fedpipe.models import build_model
from fedpipe.seeding import generator
from fedpipe.types import Examples

CASES = [
    ({"name": "mlp"}, (8, 8), "uint8"),
    ({"name": "cnn_dropout"}, (8, 8), "uint8"),
    ({"name": "lstm", "tokens": 30}, (7,), "int32"),
    ({"name": "lstm", "positions": "all"}, (7,), "int32"),
    pytest.param({"name": "resnet18_gn"}, (8, 8, 3), "uint8", marks=pytest.mark.slow),
]


class Clients:
    """Two clients of 5 and 3 random examples; sequences end in padding."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.data = {}
        for client_id, size in {"a": 5, "b": 3}.items():
            draw = generator(1, "examples", client_id)
            x = draw.integers(1, 256 if dtype == "uint8" else 30, (size, *shape)).astype(dtype)
            if dtype == "int32":
                x *= np.arange(shape[0]) < draw.integers(1, shape[0] - 1, (size, 1))
            self.data[client_id] = Examples(
                x.astype(dtype), draw.integers(0, 30, size).astype(np.int32)
            )

    def examples(self, client_id: str) -> Examples:
        return self.data[client_id]

    def num_examples(self, client_id: str) -> int:
        return len(self.data[client_id])


@pytest.mark.parametrize(("settings", "shape", "dtype"), CASES)
def test_a_round_on_the_worker_is_one_in_this_process(
    settings: dict[str, Any], shape: tuple[int, ...], dtype: str, tff_runtime: Any, tmp_path: Path
) -> None:
    config = Config.model_validate(
        {"model": settings, "client": {"batch_size": 2}, "runtime": {"groups": 2}}
    )
    model = build_model(config, shape, 30)
    work = build_client_work(config, model, np.dtype(dtype), variable_length=dtype == "int32")
    cache = ResidentCache(tmp_path, Clients(shape, dtype), [dtype], max_bytes=10**9)
    fast = RecipeAlgorithm(config, Recipe(work, mean()), cache)
    slow = DebugAlgorithm(config, work, cache)
    there = tff_runtime.call(fast.next, tff_runtime.call(fast.initialize), 1, ("a", "b"))
    here = slow.next(slow.initialize(), 1, ("a", "b"))
    assert there.metrics["train/loss"] == pytest.approx(here.metrics["train/loss"], rel=1e-4)
    assert there.metrics["train/accuracy"] == here.metrics["train/accuracy"]
    assert (there.examples, there.metrics["train/steps"]) == (8, 5.0)
    for left, right in zip(
        fast.weights(there.state).values(), slow.weights(here.state).values(), strict=True
    ):
        np.testing.assert_allclose(left, right, atol=2e-5)


@pytest.mark.parametrize("name", ["cnn_dropout", "resnet18_gn"])
def test_the_reference_refuses_a_model_without_a_keras_form(name: str) -> None:
    model = build_model(Config.model_validate({"model": {"name": name}}), (28, 28), 10)
    with pytest.raises(
        ConfigError,
        match=rf"algorithm\.name=fedavg_reference: .* model\.name={name} has none\. Choose fedavg",
    ):
        create_keras_model(model)
