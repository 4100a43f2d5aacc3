"""Any `tff.aggregators` factory plugs in: those that leave the mean as it is must give the mean."""

from typing import Any

import numpy as np
import pytest
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import (
    Aggregation,
    build_aggregation,
    each_client,
    sum_of_updates,
)
from fedpipe.algorithms.robust import StackedFactory, trimmed_mean
from fedpipe.config import Config
from fedpipe.config.training import MeanAggregator
from fedpipe.types import weights_sha256

COHORT = ("one", "nineteen", "twenty")
MEAN_IN_EFFECT = {
    "unweighted mean": tff.aggregators.UnweightedMeanFactory(),
    "mean, clipping at 1e6": tff.aggregators.clipping_factory(1e6, tff.aggregators.MeanFactory()),
    "Gaussian, no noise, clip 1e6": tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
        0.0, len(COHORT), 1e6
    ),
}


@pytest.mark.parametrize("name", MEAN_IN_EFFECT)
def test_without_effect_of_its_own_it_is_the_mean(
    build: Any, mixed_clients: Any, oracle: Any, name: str
) -> None:
    weights, _ = build(mixed_clients, aggregation=each_client(name, MEAN_IN_EFFECT[name])).rounds(
        [COHORT] * 2
    )
    expected = oracle(mixed_clients, [COHORT] * 2)
    for tensor, value in expected.items():
        np.testing.assert_allclose(weights[tensor], value, atol=1e-6)


def test_clipping_holds_each_clients_update(build: Any, mixed_clients: Any) -> None:
    # One client: the mean is its update, whose norm over all tensors is then the clip.
    clipped = each_client(
        "clipped mean", tff.aggregators.clipping_factory(0.001, tff.aggregators.MeanFactory())
    )
    weights, results = build(mixed_clients, aggregation=clipped).rounds([("twenty",)])
    assert np.sqrt(sum(float((tensor**2).sum()) for tensor in weights.values())) == pytest.approx(
        0.001, rel=1e-5
    )
    assert results[0].metrics["aggregator/clipped_count"] == 1


@pytest.mark.parametrize(
    "aggregation",
    [sum_of_updates(), each_client("sum", tff.aggregators.SumFactory())],
    ids=["groups", "per client"],
)
def test_the_sum_is_the_mean_times_the_clients(
    build: Any, mixed_clients: Any, oracle: Any, aggregation: Aggregation
) -> None:
    # From zero weights an update is the trained weights; the update weight must not enter a plain sum.
    weights, _ = build(mixed_clients, {"client": {"weighting": "examples"}}, aggregation).rounds(
        [COHORT]
    )
    for tensor, value in oracle(mixed_clients, [COHORT]).items():
        np.testing.assert_allclose(weights[tensor], 3 * value, atol=1e-6)


SIX = {"a": 20, "b": 20, "c": 20, "d": 20, "e": 20, "f": 20}


def updates_of(clients: Any, oracle: Any, rate: float) -> dict[str, Any]:
    """The oracle's update of each client from zero weights, stacked in the order of their ids."""
    each = [oracle(clients, [(client,)], rate=rate) for client in sorted(clients.data)]
    return {name: np.stack([update[name] for update in each]) for name in each[0]}


def numpy_trimmed(stack: Any, cut: int) -> Any:
    return np.sort(stack, axis=0)[cut : len(stack) - cut].mean(axis=0)


def numpy_krum(updates: Any, byzantine: int) -> int:
    points = np.concatenate([stack.reshape(len(stack), -1) for stack in updates.values()], axis=1)
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    scores = np.sort(squares, axis=1)[:, 1 : len(points) - byzantine - 1].sum(axis=1)
    return int(scores.argmin())


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "median"},
        {"name": "trimmed_mean", "trim_fraction": 0.2},
        {"name": "trimmed_mean", "trim_fraction": 0.34},
        {"name": "krum"},
    ],
    ids=["median", "trimmed 1", "trimmed 2", "krum"],
)
def test_robust_aggregates_equal_numpy(
    build: Any, make_clients: Any, oracle: Any, settings: dict[str, Any]
) -> None:
    # One of six is wrong by far: its examples are 20 times as bright. 0.2 of 6 cuts one at either end, 0.34 two.
    clients = make_clients(SIX, np.float32)
    clients.data["c"] = type(clients.data["c"])(20 * clients.data["c"].x, clients.data["c"].y)
    aggregation = build_aggregation(
        Config.model_validate({"aggregator": settings, "cohort": {"min_reports": 6}}).aggregator
    )
    weights, results = build(clients, aggregation=aggregation).rounds([tuple(SIX)])
    updates = updates_of(clients, oracle, 0.01)
    for name, stack in updates.items():
        expected = {
            "median": np.median(stack, axis=0),
            "trimmed_mean": numpy_trimmed(stack, 1 if settings.get("trim_fraction") == 0.2 else 2),
            "krum": stack[numpy_krum(updates, 1)],
        }[settings["name"]]
        np.testing.assert_allclose(weights[name], expected, atol=1e-6)
    assert results[0].examples == 120


def test_trimming_nothing_is_the_mean_in_any_order(
    build: Any, mixed_clients: Any, oracle: Any
) -> None:
    built = build(
        mixed_clients, aggregation=each_client("trimmed mean", StackedFactory(trimmed_mean(0.0)))
    )
    weights, _ = built.rounds([COHORT] * 2)
    for tensor, value in oracle(mixed_clients, [COHORT] * 2).items():
        np.testing.assert_allclose(weights[tensor], value, atol=1e-6)
    assert weights_sha256(weights) == weights_sha256(built.rounds([COHORT[::-1]] * 2)[0])


def test_zeroing_and_clipping_report_what_they_do(
    build: Any, mixed_clients: Any, oracle: Any
) -> None:
    aggregation = build_aggregation(MeanAggregator(clipping=True, zeroing=True))
    weights, results = build(mixed_clients, aggregation=aggregation).rounds([COHORT])
    measured = {
        key: value for key, value in results[0].metrics.items() if key.startswith("aggregator/")
    }
    # The clip starts at norm 1 and zeroing at 10, far above these updates: the first round is the mean.
    assert {key.split("/")[-1] for key in measured} >= {
        "clipped_count",
        "zeroed_count",
        "clipping_norm",
        "zeroing_norm",
    }, measured
    for tensor, value in oracle(mixed_clients, [COHORT]).items():
        np.testing.assert_allclose(weights[tensor], value, atol=1e-6)


def test_quantized_updates_are_near_the_mean_and_a_quarter_of_the_bytes(
    build: Any, mixed_clients: Any, oracle: Any
) -> None:
    weights, results = build(
        mixed_clients, aggregation=build_aggregation(MeanAggregator(compression_bits=8))
    ).rounds([COHORT])
    for client_bits, bound in (
        ("kernel", 0.5 / 255),
        ("bias", 1e-6),
    ):  # rounded to the nearest of 256 values; small tensors are as they are
        expected = oracle(mixed_clients, [COHORT])[client_bits]
        spread = sum(
            np.ptp(oracle(mixed_clients, [(client,)])[client_bits]) for client in COHORT
        ) / len(COHORT)
        assert np.abs(weights[client_bits] - expected).max() <= bound * max(spread, 1) + 1e-7
    assert np.abs(weights["kernel"] - oracle(mixed_clients, [COHORT])["kernel"]).max() > 1e-6, (
        "nothing was rounded"
    )
    assert results[0].metrics["traffic/up_bytes"] == len(COHORT) * (7840 + 8 + 40)
    assert results[0].metrics["traffic/down_bytes"] == len(COHORT) * 31400
    plain = build(mixed_clients).rounds([COHORT])[1][0].metrics
    assert plain["traffic/up_bytes"] == plain["traffic/down_bytes"] == len(COHORT) * 31400


def test_secure_sums_are_the_mean_of_integers_and_say_that_they_are_simulated(
    build: Any, mixed_clients: Any, oracle: Any
) -> None:
    built = build(
        mixed_clients,
        {"client": {"weighting": "examples"}},
        build_aggregation(MeanAggregator(secure=True)),
    )
    weights, _ = built.rounds([COHORT])
    for name, value in oracle(mixed_clients, [COHORT], weighted=True).items():
        np.testing.assert_allclose(weights[name], value, atol=1e-5)
    assert built.algorithm.info["aggregator.secure"].startswith("simulated")
