"""Any `tff.aggregators` factory plugs in: those that leave the mean as it is must give the mean."""

from typing import Any

import numpy as np
import pytest
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import Aggregation, each_client, sum_of_updates

COHORT = ("one", "nineteen", "twenty")
MEAN_IN_EFFECT = {
    "unweighted mean": tff.aggregators.UnweightedMeanFactory(),
    "mean, clipping at 1e6": tff.aggregators.clipping_factory(1e6, tff.aggregators.MeanFactory()),
    "Gaussian, no noise, clip 1e6": tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(0.0, len(COHORT), 1e6),
}


@pytest.mark.parametrize("name", MEAN_IN_EFFECT)
def test_without_effect_of_its_own_it_is_the_mean(build: Any, mixed_clients: Any, oracle: Any, name: str) -> None:
    weights, _ = build(mixed_clients, aggregation=each_client(name, MEAN_IN_EFFECT[name])).rounds([COHORT] * 2)
    expected = oracle(mixed_clients, [COHORT] * 2)
    for tensor, value in expected.items():
        np.testing.assert_allclose(weights[tensor], value, atol=1e-6)


def test_clipping_holds_each_clients_update(build: Any, mixed_clients: Any) -> None:
    # One client: the mean is its update, whose norm over all tensors is then the clip.
    clipped = each_client("clipped mean", tff.aggregators.clipping_factory(0.001, tff.aggregators.MeanFactory()))
    weights, results = build(mixed_clients, aggregation=clipped).rounds([("twenty",)])
    assert np.sqrt(sum(float((tensor**2).sum()) for tensor in weights.values())) == pytest.approx(0.001, rel=1e-5)
    assert results[0].metrics["aggregator/clipped_count"] == 1


@pytest.mark.parametrize("aggregation", [sum_of_updates(), each_client("sum", tff.aggregators.SumFactory())], ids=["groups", "per client"])
def test_the_sum_is_the_mean_times_the_clients(build: Any, mixed_clients: Any, oracle: Any, aggregation: Aggregation) -> None:
    # From zero weights an update is the trained weights; the update weight must not enter a plain sum.
    weights, _ = build(mixed_clients, {"client": {"weighting": "examples"}}, aggregation).rounds([COHORT])
    for tensor, value in oracle(mixed_clients, [COHORT]).items():
        np.testing.assert_allclose(weights[tensor], 3 * value, atol=1e-6)
