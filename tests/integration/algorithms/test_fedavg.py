"""`fedavg` against a NumPy oracle and against the readable reference, in both arrangements of clients; and its laws."""

from math import log
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import each_client, mean
from fedpipe.algorithms.fedavg_reference import build_process
from fedpipe.errors import ConfigError, RoundError
from fedpipe.types import Examples, Weights, weights_sha256

PER_CLIENT = each_client("mean per client", tff.aggregators.MeanFactory())
ARRANGEMENTS = pytest.mark.parametrize(
    "aggregation", [None, PER_CLIENT], ids=["groups", "per client"]
)


def distance(left: Weights, right: Weights) -> float:
    return max(
        float(np.abs(np.asarray(left[name], np.float64) - right[name]).max()) for name in right
    )


@ARRANGEMENTS
def test_fifteen_rounds_equal_the_oracle(
    build: Any, mixed_clients: Any, oracle: Any, aggregation: Any
) -> None:
    cohorts = [tuple(mixed_clients.data)] * 15
    weights, results = build(mixed_clients, aggregation=aggregation).rounds(cohorts)
    assert distance(weights, oracle(mixed_clients, cohorts)) < 1e-6
    # 461 examples in 1 + 1 + 1 + 2 + 20 = 25 steps; zero weights have loss ln 10 at the first batch only.
    assert [result.examples for result in results] == [461] * 15
    assert results[0].metrics["train/steps"] == 25
    assert results[0].metrics["train/loss"] == pytest.approx(log(10), abs=0.1)
    assert results[-1].metrics["train/loss"] < results[0].metrics["train/loss"]


def test_fifteen_rounds_equal_the_reference(
    build: Any, mixed_clients: Any, softmax: Any, tff_runtime: Any
) -> None:
    cohort = tuple(mixed_clients.data)
    learning = build_process(softmax, learning_rate=0.01).learning
    datasets = [batches(mixed_clients.examples(client_id)) for client_id in cohort]
    state = tff_runtime.call(learning.initialize)
    for _ in range(15):
        state = tff_runtime.call(learning.next, state, datasets)
    weights, _ = build(mixed_clients).rounds([cohort] * 15)
    assert distance(weights, dict(zip(softmax.tensor_names, state, strict=True))) < 1e-6


def batches(examples: Examples) -> tf.data.Dataset:
    x = examples.x.reshape(-1, 784).astype(np.float32) / 255
    return tf.data.Dataset.from_tensor_slices((x, examples.y.reshape(-1, 1))).batch(20)


@ARRANGEMENTS
def test_weighting_epochs_and_max_steps_equal_the_oracle(
    build: Any, mixed_clients: Any, oracle: Any, aggregation: Any
) -> None:
    cohorts = [tuple(mixed_clients.data)] * 2
    settings = {"client": {"weighting": "examples", "epochs": 3, "max_steps": 5}}
    weights, results = build(mixed_clients, settings, aggregation).rounds(cohorts)
    assert (
        distance(weights, oracle(mixed_clients, cohorts, weighted=True, epochs=3, max_steps=5))
        < 1e-6
    )
    # one: 3 steps of 1; nineteen: 3 of 19; twenty: 3 of 20; twenty-one: 20 1 20 1 20; four hundred: 5 of 20.
    assert results[0].examples == 3 * 1 + 3 * 19 + 3 * 20 + 62 + 100
    assert results[0].metrics["train/steps"] == 3 + 3 + 3 + 5 + 5


def test_cohorts_smaller_than_the_groups_leave_groups_empty(
    build: Any, mixed_clients: Any, oracle: Any
) -> None:
    cohorts = [("nineteen",), ("twenty", "one")]
    weights, _ = build(mixed_clients, {"runtime": {"groups": 3}}).rounds(cohorts)
    assert distance(weights, oracle(mixed_clients, cohorts)) < 1e-6


def test_float_features_and_data_by_value_equal_the_oracle(
    build: Any, make_clients: Any, oracle: Any
) -> None:
    clients = make_clients({"a": 21, "b": 5}, np.float32)
    weights, _ = build(clients, {"runtime": {"groups": 2, "data": "by_value"}}).rounds(
        [("a", "b")] * 2
    )
    assert distance(weights, oracle(clients, [("a", "b")] * 2)) < 1e-6


@ARRANGEMENTS
def test_repeats_give_the_same_bits_and_order_of_clients_none_other(
    build: Any, mixed_clients: Any, aggregation: Any
) -> None:
    built = build(mixed_clients, {"client": {"shuffle": True}}, aggregation)
    cohort = tuple(mixed_clients.data)
    first, again, reversed_order = (
        weights_sha256(built.rounds([order] * 2)[0]) for order in (cohort, cohort, cohort[::-1])
    )
    assert first == again == reversed_order


def test_server_optimizers_start_from_the_mean_update(
    build: Any, mixed_clients: Any, oracle: Any
) -> None:
    # Rate 1/2 of SGD goes half the way to the clients' mean; momentum's first step is SGD's.
    cohort = tuple(mixed_clients.data)
    whole = oracle(mixed_clients, [cohort])
    half, _ = build(mixed_clients, {"server": {"learning_rate": 0.5}}).rounds([cohort])
    momentum, _ = build(
        mixed_clients, {"server": {"optimizer": "momentum", "momentum": 0.5}}
    ).rounds([cohort])
    assert distance({name: 2 * value for name, value in half.items()}, whole) < 1e-6
    assert distance(momentum, whole) < 1e-6


@pytest.mark.parametrize("name", ["adam", "adagrad", "yogi"])
def test_adaptive_servers_step_along_the_mean_update(
    build: Any, mixed_clients: Any, oracle: Any, name: str
) -> None:
    cohort = tuple(mixed_clients.data)
    weights, results = build(
        mixed_clients, {"server": {"optimizer": name, "learning_rate": 0.01}}
    ).rounds([cohort])
    update = oracle(mixed_clients, [cohort])["bias"]
    assert (np.sign(weights["bias"]) == np.sign(update)).all()
    assert len(results) == 1


def test_next_has_the_type_that_it_promises(build: Any, mixed_clients: Any) -> None:
    state = "state=<weights=<float32[784,10],float32[10]>,optimizer=<learning_rate=float32>,aggregator=<>>@SERVER"
    clients = "clients=<loss=float32,correct=int64,examples=int64,steps=int64,predictions=int64,failed=int64>"
    result = (
        f"<{state.removeprefix('state=')},<{clients},aggregator=<total_weight=float32>>@SERVER>"
    )
    refs = "refs={<data=str[?],count=int64[?],seed=int64[?],rate=float32[?]>}@CLIENTS"
    assert (
        str(build(mixed_clients).algorithm.computation.process.next.type_signature)
        == f"(<{state},{refs}> -> {result})"
    )


def test_info_records_the_arrangement_and_its_reason(build: Any, mixed_clients: Any) -> None:
    grouped, each = (
        build(mixed_clients).algorithm.info,
        build(mixed_clients, aggregation=PER_CLIENT).algorithm.info,
    )
    assert grouped["algorithm.groups"] == "2"
    assert "set by runtime.groups" in grouped["algorithm.arrangement"]
    assert each["algorithm.groups"] == "none"
    assert "must see each client's update" in each["algorithm.arrangement"]


def test_clients_without_examples_are_an_error_that_names_them(
    build: Any, make_clients: Any
) -> None:
    with pytest.raises(
        RoundError, match=r"round 1: expected training examples .* found none at a, b"
    ):
        build(make_clients({"a": 0, "b": 0})).rounds([("a", "b")])


def test_groups_for_an_aggregator_that_must_see_each_client_are_refused(
    build: Any, mixed_clients: Any
) -> None:
    with pytest.raises(
        ConfigError,
        match=r"runtime\.groups=2 is set but the aggregator mean per client must see each client",
    ):
        build(mixed_clients, {"runtime": {"groups": 2}}, PER_CLIENT)


def test_groups_default_to_the_usable_cores(build: Any, mixed_clients: Any) -> None:
    info = build(mixed_clients, {"runtime": {}}, mean()).algorithm.info
    assert int(info["algorithm.groups"]) >= 1
    assert "one for each usable core" in info["algorithm.arrangement"]
