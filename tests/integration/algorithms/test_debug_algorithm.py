"""The debug way: the weights of the fast way, no worker, and errors that say where."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fedpipe.algorithms.debug_algorithm import DebugAlgorithm
from fedpipe.algorithms.recipe import build_client_work
from fedpipe.config import Config, parse_config
from fedpipe.data.resident import ResidentCache
from fedpipe.engine.in_process import InProcess
from fedpipe.errors import ConfigError, RoundError

SETTINGS = {
    "client": {"epochs": 2, "shuffle": True, "weighting": "examples"},
    "server": {"optimizer": "momentum", "learning_rate": 0.5},
}


def in_process(settings: dict[str, Any], model: Any, clients: Any, folder: Path) -> DebugAlgorithm:
    config = Config.model_validate({"runtime": {"debug": True}} | settings)
    cache = ResidentCache(folder, clients, ["debug"], max_bytes=10**9)
    return DebugAlgorithm(config, build_client_work(config, model, np.dtype(np.uint8)), cache)


def test_equals_the_fast_way_without_a_worker(
    build: Any, mixed_clients: Any, softmax: Any, tmp_path: Path
) -> None:
    cohort = tuple(sorted(mixed_clients.data))
    fast, _ = build(mixed_clients, SETTINGS).rounds([cohort] * 3)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    algorithm, runtime = (
        in_process(SETTINGS, softmax, mixed_clients, tmp_path / "debug"),
        InProcess(),
    )
    state = runtime.call(algorithm.initialize)
    for round_num in (1, 2, 3):
        result = runtime.call(algorithm.next, state, round_num, cohort)
        state = result.state
    for name, value in algorithm.weights(state).items():
        np.testing.assert_allclose(value, fast[name], atol=1e-6)
    assert result.examples == 2 * (1 + 19 + 20 + 21 + 400)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_an_error_names_round_client_and_step(
    make_clients: Any, softmax: Any, tmp_path: Path
) -> None:
    seen = []

    def breaks_at_the_fifth_batch(weights: Sequence[Any], x: Any) -> Any:
        seen.append(len(x))
        if len(seen) == 5:
            raise KeyError("a user's mistake")
        return softmax.logits(weights, x)

    # 50 examples in batches of 20 are three steps: the fifth batch is the second step of the second client.
    clients = make_clients({"a": 50, "b": 50})
    algorithm = in_process(
        {}, replace(softmax, logits=breaks_at_the_fifth_batch), clients, tmp_path
    )
    with pytest.raises(
        RoundError, match=r"round 7, client b, step 2: KeyError: \"a user's mistake\""
    ) as error:
        algorithm.next(algorithm.initialize(), 7, ("a", "b"))
    assert isinstance(error.value.__cause__, KeyError)
    assert seen == [20, 20, 10, 20, 20]


def test_the_reference_refuses_debug() -> None:
    with pytest.raises(
        ConfigError,
        match=r"runtime.debug=True is set but algorithm.name=fedavg_reference ignores it",
    ):
        parse_config(
            {"algorithm": {"name": "fedavg_reference"}, "runtime": {"debug": True}}, "test"
        )
