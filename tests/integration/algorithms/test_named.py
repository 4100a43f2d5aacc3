"""What each named algorithm makes of `fedavg`, against NumPy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fedpipe.types import weights_sha256

Array = npt.NDArray[np.float64]
RATE = 0.1


def test_fedprox_with_mu_0_is_fedavg_to_the_bit(make: Any, mixed_clients: Any, after: Any) -> None:
    cohort = tuple(mixed_clients.data)
    plain, prox = (
        make("fedavg", mixed_clients),
        make("fedprox", mixed_clients, {"algorithm": {"mu": 0.0}}),
    )
    assert weights_sha256(prox.weights(after(prox, 2, cohort))) == weights_sha256(
        plain.weights(after(plain, 2, cohort))
    )


def test_fedprox_pulls_each_step_by_mu(make: Any, make_clients: Any, after: Any) -> None:
    # Two equal batches, rate r: w1 = -r g(0); w2 = w1 - r (g(w1) + mu w1). So w2 of fedprox is that of fedavg, minus r mu w1.
    clients = make_clients({"a": 20})
    twice = {"client": {"epochs": 2, "learning_rate": RATE}}
    once = make("fedavg", clients, {"client": {"learning_rate": RATE}})
    first = once.weights(after(once, 1, ("a",)))
    plain, prox = (
        make("fedavg", clients, twice),
        make("fedprox", clients, {"algorithm": {"mu": 0.5}, **twice}),
    )
    second, pulled = plain.weights(after(plain, 1, ("a",))), prox.weights(after(prox, 1, ("a",)))
    for name, value in pulled.items():
        np.testing.assert_allclose(value, second[name] - RATE * 0.5 * first[name], atol=1e-6)
    assert max(np.abs(pulled[name] - second[name]).max() for name in pulled) > 1e-4


def test_fedsgd_by_examples_is_one_step_on_the_pooled_examples(
    make: Any, make_clients: Any, after: Any, oracle: Any
) -> None:
    clients = make_clients({"a": 7, "b": 5, "c": 8})  # 20 examples are a batch of the oracle
    algorithm = make(
        "fedsgd", clients, {"client": {"weighting": "examples", "learning_rate": RATE}}
    )
    weights = algorithm.weights(after(algorithm, 2, ("a", "b", "c")))
    pooled = make_clients({"all": 20})
    examples = [clients.data[client] for client in "abc"]
    pooled.data["all"] = type(examples[0])(
        np.concatenate([e.x for e in examples]), np.concatenate([e.y for e in examples])
    )
    for name, value in oracle(pooled, [("all",)] * 2, rate=RATE).items():
        np.testing.assert_allclose(weights[name], value, atol=1e-6)


def momentum(updates: list[Array]) -> Array:
    velocity = weights = np.zeros_like(updates[0])
    for update in updates:
        velocity = 0.9 * velocity - update
        weights = weights - RATE * velocity
    return weights


def adagrad(updates: list[Array]) -> Array:
    weights, square = np.zeros_like(updates[0]), np.full_like(updates[0], 1e-6)
    for update in updates:
        square = square + update**2
        weights = weights + RATE * update / np.sqrt(square + 1e-6)
    return weights


def adam(updates: list[Array], yogi: bool = False) -> Array:
    mean = weights = np.zeros_like(updates[0])
    square = np.full_like(mean, 1e-6 if yogi else 0.0)
    for step, update in enumerate(updates, start=1):
        mean = 0.9 * mean + 0.1 * update
        square = (
            square - 0.01 * update**2 * np.sign(square - update**2)
            if yogi
            else 0.99 * square + 0.01 * update**2
        )
        rate = RATE * np.sqrt(1 - 0.99**step) / (1 - 0.9**step)
        weights = weights + rate * mean / (np.sqrt(square) + 1e-3)
    return weights


SERVERS = {
    "fedavgm": momentum,
    "fedadagrad": adagrad,
    "fedadam": adam,
    "fedyogi": lambda updates: adam(updates, yogi=True),
}


@pytest.mark.parametrize("name", SERVERS)
def test_three_rounds_of_the_server_equal_the_formula(
    name: str, make: Any, mixed_clients: Any, after: Any
) -> None:
    # A round of plain averaging from the same weights gives the mean update of each round.
    cohort, settings = ("nineteen", "twenty"), {"server": {"learning_rate": RATE}}
    algorithm, plain = make(name, mixed_clients, settings), make("fedavg", mixed_clients)
    state, start = after(algorithm, 0, cohort), after(plain, 0, cohort)
    updates: list[dict[str, Array]] = []
    for number in (1, 2, 3):
        before = algorithm.weights(state)
        trained = plain.weights(
            after(plain, 1, cohort, start | {"weights": state["weights"]}, first=number)
        )
        updates.append({tensor: np.float64(trained[tensor]) - before[tensor] for tensor in trained})
        state = after(algorithm, 1, cohort, state, first=number)
    for tensor, value in algorithm.weights(state).items():
        np.testing.assert_allclose(
            value, SERVERS[name]([update[tensor] for update in updates]), rtol=1e-3, atol=1e-5
        )
