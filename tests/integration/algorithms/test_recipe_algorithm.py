"""What `RecipeAlgorithm` settles before the first round: traffic, groups, room for what clients keep. No worker runs."""

from typing import Any

import pytest

from fedpipe.errors import ConfigError

MODEL_BYTES = 31_400  # softmax: 784 x 10 weights and 10 biases of 4 bytes


@pytest.mark.parametrize(
    ("name", "traffic"),
    [
        ("fedavg", (MODEL_BYTES, MODEL_BYTES)),
        # Up: the update and the new control variate. Down: the weights and c - c_k.
        ("scaffold", (2 * MODEL_BYTES, 2 * MODEL_BYTES)),
        # Up: the update and a gradient. Down: the weights, and the learning rates of both optimizers.
        ("mimelite", (2 * MODEL_BYTES, MODEL_BYTES + 2 * 4)),
        ("local_only", None),
        ("centralized", None),
    ],
)
def test_traffic_of_a_client(
    make: Any, mixed_clients: Any, name: str, traffic: tuple[int, int] | None
) -> None:
    algorithm = make(name, mixed_clients)
    recipe_algorithm = getattr(algorithm, "algorithm", algorithm)
    assert recipe_algorithm.computation.bytes_per_client() == traffic


def test_groups_of_an_earlier_start_are_used_where_clients_are_grouped(
    make: Any, mixed_clients: Any
) -> None:
    def values_at_clients(algorithm: Any) -> int:
        cohort = tuple(mixed_clients.data)
        files = dict(zip(cohort, algorithm._files.clients(cohort), strict=True))
        return len(algorithm.computation.refs(1, 0.1, files))

    grouped = make("fedavg", mixed_clients)
    assert (grouped.info["algorithm.groups"], values_at_clients(grouped)) == ("2", 2)
    grouped.use_groups(3)
    assert (grouped.info["algorithm.groups"], values_at_clients(grouped)) == ("3", 3)
    for name, settings, groups, values in (
        ("centralized", {}, "1", 1),
        ("fedavg", {"aggregator": {"name": "median"}, "runtime": {}}, "none", 5),
    ):
        other = make(name, mixed_clients, settings)
        other.use_groups(3)
        assert (other.info["algorithm.groups"], values_at_clients(other)) == (groups, values)


def test_more_than_fits_into_memory_is_refused(
    make: Any, mixed_clients: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two clients a round for two rounds: at most four of the five clients have something.
    settings = {"cohort": {"size": 2}, "rounds": 2}
    monkeypatch.setattr("fedpipe.algorithms.stateful_clients.MEMORY_BYTES", 4 * MODEL_BYTES)
    make("scaffold", mixed_clients, settings)
    with pytest.raises(
        ConfigError, match=r"5 clients keep to fit into 0 MB, it takes up to 0 MB\. Choose"
    ):
        make("scaffold", mixed_clients, settings | {"rounds": 3})
