"""The laws of every algorithm that is a recipe; a new one joins with its entry in `fedpipe.config.algorithm_table`."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.algorithms.debug_algorithm import DebugAlgorithm
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.ignored_settings import CHOICES
from fedpipe.engine.server_state import flatten, restore
from fedpipe.types import weights_sha256

RECIPES = [name for name in ALGORITHMS if name != "fedavg_reference"]
NO_DEBUG = {"scaffold", "local_only", "centralized"}
"""What clients keep, and a pool, are not computed client by client in this process: `runtime.debug` is refused."""
CHOICE = next(choice for choice in CHOICES if choice.key == "aggregator.name")
AGGREGATORS: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in CHOICE.values},
    "clipping": {"clipping": True},
    "zeroing": {"zeroing": True},
    "clipping and zeroing": {"clipping": True, "zeroing": True},
    "secure": {"secure": True},
    "compression": {"compression_bits": 4},
}
NO_MEAN = {"local_only", "centralized"}
"""The baselines join no updates, so no client counts more or less in a mean: `client.weighting` is refused."""


def read_by(name: str, settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return those of the settings that the algorithm reads: the others are refused, by the same table."""
    ignored = ALGORITHMS[name].ignored
    return {
        group: {key: value for key, value in values.items() if not ignored(f"{group}.{key}")}
        for group, values in settings.items()
    }


@pytest.mark.parametrize("name", RECIPES)
def test_order_of_clients_resumes_and_the_debug_way_change_nothing(
    name: str, make: Any, mixed_clients: Any, after: Any
) -> None:
    cohort = tuple(mixed_clients.data)
    settings = read_by(
        name,
        {
            "client": {"learning_rate": 0.05, "weighting": "examples"},
            "server": {"learning_rate": 0.1},
        },
    )
    algorithm = make(name, mixed_clients, settings)
    five = after(algorithm, 5, cohort)
    two = after(algorithm, 2, cohort[::-1])
    kept, again = flatten(two), make(name, mixed_clients, settings)
    resumed = restore(after(again, 0, ()), kept)
    resumed = after(again, 3, cohort, resumed, first=3)
    assert weights_sha256(again.weights(resumed)) == weights_sha256(algorithm.weights(five))
    if name in NO_DEBUG:
        assert ALGORITHMS[name].ignored("runtime.debug")
        return
    debug = make(name, mixed_clients, settings, DebugAlgorithm)
    eager = debug.weights(after(debug, 2, cohort, call=lambda fn, *args: fn(*args)))
    for tensor, value in algorithm.weights(two).items():
        np.testing.assert_allclose(eager[tensor], value, atol=1e-5)


def test_every_switch_of_the_aggregator_has_its_laws() -> None:
    switches = {key for settings in AGGREGATORS.values() for key in settings}
    parameters = {"trim_fraction", "byzantine"}  # of a name
    assert switches | parameters == set(CHOICE.fields)


@pytest.mark.parametrize("settings", AGGREGATORS.values(), ids=AGGREGATORS)
def test_order_of_clients_and_resumes_change_nothing_for_aggregators(
    settings: dict[str, Any], make: Any, mixed_clients: Any, after: Any
) -> None:
    cohort, settings = (
        tuple(mixed_clients.data),
        {"aggregator": settings, "runtime": {"groups": None}, "cohort": {"min_reports": 5}},
    )
    algorithm, again = (
        make("fedavg", mixed_clients, settings),
        make("fedavg", mixed_clients, settings),
    )
    five = after(algorithm, 5, cohort)
    kept = flatten(after(algorithm, 2, cohort[::-1]))
    resumed = after(again, 3, cohort, restore(after(again, 0, ()), kept), first=3)
    assert weights_sha256(again.weights(resumed)) == weights_sha256(algorithm.weights(five))


@pytest.mark.parametrize("name", RECIPES)
def test_one_client_with_one_full_batch_is_the_server_optimizer_on_centralized_sgd(
    name: str, make: Any, recipe: Any, make_clients: Any, oracle: Any, softmax: Any, after: Any
) -> None:
    clients, rate = (
        make_clients({"only": 20}),
        0.037,
    )  # a batch holds 20; no update is tau exactly, where Yogi's sign jumps
    algorithm = make(name, clients, {"client": {"learning_rate": rate}})
    weights = algorithm.weights(after(algorithm, 1, ("only",)))
    step = [
        np.float32(value) for value in oracle(clients, [("only",)], rate=rate).values()
    ]  # from zero: the update of centralized SGD
    zero, optimizer = [tf.zeros_like(tensor) for tensor in step], recipe(name)[1].server_optimizer
    optimizer = getattr(
        optimizer, "inner", optimizer
    )  # what it makes of more than the update is the business of its own tests
    state = optimizer.initialize([tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in step])
    _, expected = optimizer.next(state, zero, [-tf.constant(tensor) for tensor in step])
    for tensor, value in zip(softmax.tensor_names, expected, strict=True):
        np.testing.assert_allclose(weights[tensor], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in NO_MEAN])
def test_equal_sizes_count_alike(name: str, make: Any, make_clients: Any, after: Any) -> None:
    clients = make_clients({"a": 16, "b": 16, "c": 16})  # 16: products with it are exact
    weights = [
        algorithm.weights(after(algorithm, 2, ("a", "b", "c")))
        for weighting in ("examples", "uniform")
        for algorithm in [make(name, clients, {"client": {"weighting": weighting}})]
    ]
    for tensor, value in weights[0].items():
        np.testing.assert_allclose(weights[1][tensor], value, rtol=1e-4, atol=1e-6)
