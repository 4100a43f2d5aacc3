"""FedNova, MimeLite, SCAFFOLD and the two baselines against NumPy, written from their papers."""

from typing import Any

import numpy as np
import pytest

from fedpipe.engine.server_state import flatten, restore
from fedpipe.errors import ConfigError
from fedpipe.types import PerClient

RATE = 0.1
COHORT = ("nineteen", "one", "twenty-one")
SGD = {"client": {"learning_rate": RATE}}


def gradient(examples: Any, weights: list[Any]) -> list[Any]:
    """The gradient of the mean cross-entropy of softmax regression, x^T (p - onehot) / n."""
    x = examples.x.reshape(len(examples), 784) / 255.0
    z = x @ weights[0] + weights[1]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(examples)), examples.y] -= 1
    return [x.T @ p / len(examples), p.mean(0)]


def batches(examples: Any) -> list[Any]:
    return [
        type(examples)(examples.x[i : i + 20], examples.y[i : i + 20])
        for i in range(0, len(examples), 20)
    ]


def zeros() -> list[Any]:
    return [np.zeros((784, 10)), np.zeros(10)]


def same(weights: Any, expected: list[Any], atol: float = 1e-6) -> None:
    for value, wanted in zip(weights.values(), expected, strict=True):
        np.testing.assert_allclose(value, wanted, atol=atol)


# --- FedNova ---


def test_fednova_with_equal_steps_is_fedavg(make: Any, mixed_clients: Any, after: Any) -> None:
    plain, nova = make("fedavg", mixed_clients, SGD), make("fednova", mixed_clients, SGD)
    cohort = ("nineteen", "twenty")  # one step each
    same(
        nova.weights(after(nova, 2, cohort)), list(plain.weights(after(plain, 2, cohort)).values())
    )


@pytest.mark.parametrize("weighting", ["uniform", "examples"])
@pytest.mark.parametrize("groups", [2, None])
def test_fednova_divides_by_steps_and_multiplies_by_their_mean(
    make: Any, mixed_clients: Any, oracle: Any, after: Any, weighting: str, groups: int | None
) -> None:
    cohort = ("nineteen", "twenty-one", "four hundred")  # 1, 2 and 20 steps
    settings = {
        "client": {"learning_rate": RATE, "weighting": weighting},
        "runtime": {"groups": groups},
    }
    nova = make("fednova", mixed_clients, settings)
    each = [list(oracle(mixed_clients, [(client,)], rate=RATE).values()) for client in cohort]
    counts = np.array([19, 21, 400]) if weighting == "examples" else np.ones(3)
    shares, steps = counts / counts.sum(), np.array([1, 2, 20])
    expected = [
        (shares @ steps)
        * sum(p * update[t] / a for p, update, a in zip(shares, each, steps, strict=True))
        for t in (0, 1)
    ]
    same(nova.weights(after(nova, 1, cohort)), expected, atol=1e-5)


# --- MimeLite ---


def test_mimelite_with_plain_sgd_is_fedavg(make: Any, mixed_clients: Any, after: Any) -> None:
    plain, mime = make("fedavg", mixed_clients, SGD), make("mimelite", mixed_clients, SGD)
    same(
        mime.weights(after(mime, 2, COHORT)), list(plain.weights(after(plain, 2, COHORT)).values())
    )


def test_mimelite_steps_with_the_servers_momentum(
    make: Any, mixed_clients: Any, after: Any
) -> None:
    # A step of a client: w - rate (m v + g), v as the server has it; at the end v = m v + mean gradient at the server's weights.
    server, velocity, momentum = zeros(), zeros(), 0.5
    for _ in range(3):
        trained, full = [], []
        for client in COHORT:
            examples, weights = mixed_clients.examples(client), [tensor.copy() for tensor in server]
            full.append(gradient(examples, server))
            for batch in batches(examples):
                step = gradient(batch, weights)
                weights = [
                    w - RATE * (momentum * v + g)
                    for w, v, g in zip(weights, velocity, step, strict=True)
                ]
            trained.append(weights)
        velocity = [
            momentum * v + np.mean([g[t] for g in full], axis=0) for t, v in enumerate(velocity)
        ]
        server = [np.mean([weights[t] for weights in trained], axis=0) for t in (0, 1)]
    mime = make(
        "mimelite",
        mixed_clients,
        {"client": {"learning_rate": RATE, "optimizer": "momentum", "momentum": momentum}},
    )
    same(mime.weights(after(mime, 3, COHORT)), server)


# --- SCAFFOLD ---


def numpy_scaffold(clients: Any, cohorts: list[tuple[str, ...]], rate: float) -> list[Any]:
    """Algorithm 1 of Karimireddy et al. 2020 with option II."""
    server, control = zeros(), zeros()
    own = {client: zeros() for client in clients.data}
    for cohort in cohorts:
        updates, changes = [], []
        for client in cohort:
            weights, steps = [tensor.copy() for tensor in server], 0
            for batch in batches(clients.examples(client)):
                step = gradient(batch, weights)
                weights = [
                    w - rate * (g - ck + c)
                    for w, g, ck, c in zip(weights, step, own[client], control, strict=True)
                ]
                steps += 1
            new = [
                ck - c + (x - y) / (steps * rate)
                for ck, c, x, y in zip(own[client], control, server, weights, strict=True)
            ]
            updates.append([y - x for x, y in zip(server, weights, strict=True)])
            changes.append([a - b for a, b in zip(new, own[client], strict=True)])
            own[client] = new
        server = [
            x + np.mean([update[t] for update in updates], axis=0) for t, x in enumerate(server)
        ]
        control = [
            c + sum(change[t] for change in changes) / len(clients.data)
            for t, c in enumerate(control)
        ]
    return server


def test_scaffold_equals_its_algorithm_with_cohorts_that_change(
    make: Any, mixed_clients: Any, after: Any
) -> None:
    cohorts = [
        ("nineteen", "twenty-one"),
        ("four hundred", "nineteen"),
        ("one", "twenty-one", "nineteen"),
        ("four hundred",),
    ]
    rate = 0.01  # at 0.1 the twenty steps of a client blow the rounding up a thousandfold
    scaffold = make("scaffold", mixed_clients, {"client": {"learning_rate": rate}})
    state = None
    for number, cohort in enumerate(cohorts, start=1):
        state = after(scaffold, 1, cohort, state, first=number)
    same(scaffold.weights(state), numpy_scaffold(mixed_clients, cohorts, rate))
    mean = [sum(kept[t] for kept in state["clients"].values()) / 5 for t in (0, 1)]
    for t in (0, 1):
        np.testing.assert_allclose(
            state["mean"][t], mean[t], atol=1e-5, err_msg="c is the mean of all c_k"
        )


def test_what_clients_keep_survives_a_checkpoint_whatever_their_ids() -> None:
    first = [np.zeros((2, 3), np.float32), np.zeros(3, np.float32)]
    kept = PerClient(first).updated(
        {"a/b 0": [tensor + 1 for tensor in first], "ü%2F": [tensor + 2 for tensor in first]}
    )
    found = restore({"clients": PerClient(first)}, flatten({"clients": kept}))["clients"]
    assert set(found) == set(kept)
    np.testing.assert_array_equal(found.of("ü%2F")[1], 2.0)
    np.testing.assert_array_equal(found.of("never seen")[0], 0.0)


# --- The baselines ---


def test_centralized_in_one_batch_is_a_step_on_all_examples(
    make: Any, make_clients: Any, after: Any
) -> None:
    clients = make_clients({"a": 7, "b": 5, "c": 8})
    algorithm = make("centralized", clients, SGD)
    pooled = [
        np.concatenate([getattr(clients.data[c], part) for c in "abc"]) for part in ("x", "y")
    ]
    weights = zeros()
    for _ in range(2):
        step = gradient(type(clients.data["a"])(*pooled), weights)
        weights = [w - RATE * g for w, g in zip(weights, step, strict=True)]
    same(algorithm.weights(after(algorithm, 2, ("a", "b", "c"))), weights)


def test_centralized_mixes_the_clients_in_each_batch_anew(
    make: Any, make_clients: Any, after: Any
) -> None:
    clients = make_clients({"a": 100, "b": 90})
    algorithm = make("centralized", clients, {"client": {"learning_rate": RATE, "epochs": 2}})
    one, two = (
        algorithm.weights(after(algorithm, 1, ("a", "b"), first=number)) for number in (1, 2)
    )
    assert np.abs(one["kernel"] - two["kernel"]).max() > 1e-5, (
        "the order of round 1 and of round 2 is the same"
    )


def test_local_only_clients_go_on_with_their_own_models(
    make: Any, mixed_clients: Any, oracle: Any, after: Any
) -> None:
    algorithm = make("local_only", mixed_clients, SGD)
    state = after(algorithm, 1, COHORT, after(algorithm, 1, COHORT[:2]), first=2)
    own = {
        client: list(oracle(mixed_clients, [(client,)] * rounds, rate=RATE).values())
        for client, rounds in zip(COHORT, (2, 2, 1), strict=True)
    }
    for client, expected in own.items():
        for value, wanted in zip(state["clients"].of(client), expected, strict=True):
            np.testing.assert_allclose(value, wanted, atol=1e-6)
    same(
        algorithm.weights(state), [sum(model[t] for model in own.values()) / 5 for t in (0, 1)]
    )  # two of five are still at zero


def test_local_only_reports_what_the_models_do(
    make: Any, mixed_clients: Any, tff_runtime: Any
) -> None:
    algorithm = make("local_only", mixed_clients, SGD)
    result = tff_runtime.call(algorithm.next, tff_runtime.call(algorithm.initialize), 1, ("one",))
    # From one example the model knows that label: all of its own split, and one in ten or so of the others.
    assert result.metrics["local/test_accuracy"] == 1.0
    assert 0 <= result.metrics["local/central_accuracy"] <= 1.0


@pytest.mark.parametrize("name", ["scaffold", "local_only"])
def test_more_than_fits_into_a_message_is_refused(
    make: Any, mixed_clients: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(
        "fedpipe.algorithms.stateful_clients.MESSAGE_BYTES", 300_000
    )  # softmax: 31,400 bytes
    make(name, mixed_clients, {"cohort": {"size": 9}})
    with pytest.raises(
        ConfigError, match=r"cohort\.size=10: .* 300000 bytes, which is 9 clients; found up to 10"
    ):
        make(name, mixed_clients, {"cohort": {"size": 10}})
    monkeypatch.setattr("fedpipe.algorithms.stateful_clients.MESSAGE_BYTES", 4 * 31_400)
    poisson = {"cohort": {"size": 1, "strategy": "poisson"}}  # may draw all five
    with pytest.raises(ConfigError, match="which is 4 clients; found up to 5"):
        make(name, mixed_clients, poisson)
