"""Learning rates by round reach the clients and the server, and no computation is built for them."""

from typing import Any

import numpy as np
import pytest
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import each_client
from fedpipe.algorithms.debug_algorithm import DebugAlgorithm

COHORT = ("nineteen", "twenty")
SETTINGS = {
    "rounds": 4,
    "client": {"learning_rate": 0.08, "schedule": "cosine", "warmup_rounds": 1},
    "server": {
        "optimizer": "momentum",
        "momentum": 0.5,
        "schedule": "exponential",
        "decay_rate": 0.5,
        "decay_rounds": 1,
    },
}


@pytest.mark.parametrize("each", [False, True], ids=["groups", "per client"])
def test_rates_are_those_of_the_schedule(
    build: Any, mixed_clients: Any, oracle: Any, each: bool
) -> None:
    aggregation = each_client("mean per client", tff.aggregators.MeanFactory()) if each else None
    built = build(
        mixed_clients, SETTINGS if each else SETTINGS | {"runtime": {"groups": 2}}, aggregation
    )
    _, results = built.rounds([COHORT] * 4)
    # Client, t of 3 rounds after the warm-up: 0.08 at t = 0, then (1 + cos(pi/3)) / 2 = 3/4 and 1/4. Server: halved each round.
    assert [result.metrics["client/learning_rate"] for result in results] == pytest.approx(
        [0.08, 0.08, 0.06, 0.02]
    )
    assert [result.metrics["server/learning_rate"] for result in results] == pytest.approx(
        [1.0, 0.5, 0.25, 0.125]
    )
    first = built.algorithm.weights(results[0].state)
    for name, value in oracle(
        mixed_clients, [COHORT], rate=0.08
    ).items():  # momentum's first step is SGD's
        np.testing.assert_allclose(first[name], value, atol=1e-6)
    assert np.float32(results[3].state["optimizer"]["learning_rate"]) == np.float32(0.125)


def test_half_the_rate_in_one_client_step_is_half_the_update(build: Any, make_clients: Any) -> None:
    clients = make_clients({"a": 20})
    built = build(clients, {"rounds": 4, "client": {"warmup_rounds": 2}, "runtime": {"groups": 1}})
    plain, _ = build(clients, {"runtime": {"groups": 1}}).rounds([("a",)])
    warm, _ = built.rounds([("a",)])
    for name, value in warm.items():
        np.testing.assert_allclose(2 * value, plain[name], atol=1e-7)


def test_the_debug_way_has_the_same_rates(make: Any, mixed_clients: Any, after: Any) -> None:
    settings = SETTINGS | {"runtime": {"groups": 2}}
    fast, debug = (
        make("fedavg", mixed_clients, settings),
        make("fedavg", mixed_clients, settings, DebugAlgorithm),
    )
    eager = debug.weights(after(debug, 4, COHORT, call=lambda fn, *args: fn(*args)))
    for name, value in fast.weights(after(fast, 4, COHORT)).items():
        np.testing.assert_allclose(eager[name], value, atol=1e-6)
