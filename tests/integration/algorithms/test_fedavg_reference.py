"""The readable algorithm: its types, its first loss, and one round against sums that can be followed by hand."""

from math import log

import numpy as np
import pytest

from fedpipe.algorithms.fedavg_reference import FedAvgReference
from fedpipe.config import Config, parse_config
from fedpipe.engine.runtime import Runtime
from fedpipe.models import ModelSpec, build_model
from fedpipe.models.evaluate import Evaluator
from fedpipe.seeding import generator
from fedpipe.types import Examples, Weights


class Clients:
    """A population in memory: `sizes[i]` random digits for client `i`."""

    def __init__(self, *sizes: int) -> None:
        self.data = {}
        for number, size in enumerate(sizes):
            draw = generator(1, "digits", number)
            x = draw.integers(0, 256, (size, 28, 28), dtype=np.uint8)
            self.data[f"c{number}"] = Examples(x, draw.integers(0, 10, size).astype(np.int32))

    def examples(self, client_id: str) -> Examples:
        return self.data[client_id]


def numpy_client(
    examples: Examples, weights: Weights, rate: float, batch: int, epochs: int
) -> Weights:
    """SGD on softmax regression in float64: the gradient of the mean cross-entropy is x^T (p - onehot) / n."""
    w, b = (weights[name].astype(np.float64) for name in ("kernel", "bias"))
    x, y = examples.x.reshape(len(examples), 784) / 255.0, examples.y
    for _ in range(epochs):
        for start in range(0, len(y), batch):
            xb, yb = x[start : start + batch], y[start : start + batch]
            z = xb @ w + b
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(yb)), yb] -= 1
            w, b = w - rate * xb.T @ p / len(yb), b - rate * p.mean(0)
    return {"kernel": w, "bias": b}


@pytest.fixture(scope="module")
def softmax() -> ModelSpec:
    return build_model(Config(), (28, 28), 10)


def test_type_signatures(softmax: ModelSpec) -> None:
    process = FedAvgReference(softmax, Config(), Clients(1)).process.learning
    assert str(process.initialize.type_signature) == "( -> <float32[784,10],float32[10]>@SERVER)"
    assert str(process.next.type_signature) == (
        "(<server_weights=<float32[784,10],float32[10]>@SERVER,federated_dataset={<float32[?,784],int32[?,1]>*}@CLIENTS>"
        " -> <float32[784,10],float32[10]>@SERVER)"
    )


def test_one_round_of_two_clients_is_the_mean_of_their_sgd(
    softmax: ModelSpec, tff_runtime: Runtime
) -> None:
    # Client c0 has 21 examples: one batch of 20 and one of 1. The unweighted mean counts it as much as c1 with 40.
    config, clients = Config(), Clients(21, 40)
    algorithm = FedAvgReference(softmax, config, clients)
    start = softmax.initial_weights(1)
    one, two = (
        numpy_client(clients.examples(c), start, rate=0.01, batch=20, epochs=1)
        for c in ("c0", "c1")
    )

    state = tff_runtime.call(algorithm.initialize)
    result = tff_runtime.call(algorithm.next, state, 1, ("c0", "c1"))

    found = algorithm.weights(result.state)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(found[name], (one[name] + two[name]) / 2, atol=1e-6)
    assert result.examples == 61


def test_epochs_repeat_the_pass(softmax: ModelSpec, tff_runtime: Runtime) -> None:
    config, clients = (
        parse_config({"algorithm": {"name": "fedavg_reference"}, "client": {"epochs": 3}}, "test"),
        Clients(21),
    )
    algorithm = FedAvgReference(softmax, config, clients)
    expected = numpy_client(
        clients.examples("c0"), softmax.initial_weights(1), rate=0.01, batch=20, epochs=3
    )
    result = tff_runtime.call(algorithm.next, tff_runtime.call(algorithm.initialize), 1, ("c0",))
    np.testing.assert_allclose(
        algorithm.weights(result.state)["kernel"], expected["kernel"], atol=1e-6
    )
    assert result.examples == 63


def test_zero_weights_lose_ln_10(softmax: ModelSpec, tff_runtime: Runtime) -> None:
    # All ten classes have probability 1/10, so each example costs -ln(1/10); ties go to class 0.
    clients = Clients(30)
    algorithm = FedAvgReference(softmax, Config(), clients)
    state = tff_runtime.call(algorithm.initialize)
    evaluation = Evaluator(softmax, clients.examples("c0")).evaluate(algorithm.weights(state))
    assert evaluation.loss == pytest.approx(log(10), abs=1e-6)
    assert evaluation.accuracy == np.mean(clients.examples("c0").y == 0)
    result = tff_runtime.call(algorithm.next, state, 1, ("c0",))
    assert result.metrics["train/loss"] == pytest.approx(log(10), abs=1e-6)
    assert result.metrics["train/accuracy"] == pytest.approx(evaluation.accuracy)
