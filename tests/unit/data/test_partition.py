import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpipe.data.partition import client_names, dirichlet_partition
from fedpipe.errors import DataError

LABELS = np.repeat(np.arange(10), 500).astype(np.int32)


def label_counts(owner: np.ndarray, clients: int) -> np.ndarray:
    counts = np.zeros((clients, 10), np.int64)
    np.add.at(counts, (owner, LABELS), 1)
    return counts


@settings(deadline=None, max_examples=60)
@given(
    y=st.lists(st.integers(0, 4), min_size=2, max_size=120),
    clients_per_pair=st.floats(0.01, 1),
    alpha=st.sampled_from([1e-4, 0.01, 0.5, 1.0, 30.0, 1e9]),
    seed=st.integers(0, 2**40),
)
def test_every_example_has_one_client_and_every_client_two_examples(y: list[int], clients_per_pair: float, alpha: float, seed: int) -> None:
    labels = np.array(y, np.int32)
    clients = max(1, int(len(y) // 2 * clients_per_pair))
    owner = dirichlet_partition(labels, clients, alpha, seed)
    assert owner.shape == labels.shape
    sizes = np.bincount(owner, minlength=clients)
    assert len(sizes) == clients
    assert sizes.min() >= 2
    np.testing.assert_array_equal(owner, dirichlet_partition(labels, clients, alpha, seed))


def test_another_seed_or_alpha_gives_another_partition() -> None:
    owner = dirichlet_partition(LABELS, 100, 1.0, 1)
    assert not np.array_equal(owner, dirichlet_partition(LABELS, 100, 1.0, 2))
    assert not np.array_equal(owner, dirichlet_partition(LABELS, 100, 2.0, 1))


def test_label_shares_become_even_as_alpha_grows() -> None:
    # Distance of a client's counts of a label from the even 500 / 50 = 10, averaged.
    distances = [np.abs(label_counts(dirichlet_partition(LABELS, 50, alpha, 1), 50) - 10).mean() for alpha in (0.05, 1.0, 20.0, 1e9)]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 10
    assert distances[-1] == 0


def test_a_small_alpha_gives_clients_few_labels() -> None:
    counts = label_counts(dirichlet_partition(LABELS, 10, 0.01, 1), 10)
    # 10 clients share 10 labels: about one client has nearly all of a label.
    assert np.median(counts.max(axis=0)) > 400


def test_shares_follow_the_dirichlet() -> None:
    # A client's share of a label is one coordinate of Dirichlet(2, ..., 2) over 5 clients: mean 1/5, and
    # variance a (A - a) / (A^2 (A + 1)) = 2 * 8 / (100 * 11) = 0.014545. 100 seeds of 10 labels.
    shares = np.concatenate([label_counts(dirichlet_partition(LABELS, 5, 2.0, seed), 5) / 500 for seed in range(100)]).ravel()
    assert shares.mean() == pytest.approx(0.2, abs=1e-12)
    assert shares.var() == pytest.approx(0.014545, rel=0.1)


def test_half_as_many_clients_as_examples_is_the_limit() -> None:
    assert np.bincount(dirichlet_partition(LABELS, 2500, 0.1, 1)).tolist() == [2] * 2500
    with pytest.raises(DataError, match=r"data\.clients=2501: expected at least 2 examples a client, found 5000 .* to 2500 or less"):
        dirichlet_partition(LABELS, 2501, 0.1, 1)


@pytest.mark.parametrize("alpha", [1e-300, 1e-5, 1e300])
def test_an_alpha_that_cannot_be_drawn_is_refused(alpha: float) -> None:
    with pytest.raises(DataError, match=r"data\.alpha=1e.*expected a value between 0\.0001 and 1000000000"):
        dirichlet_partition(LABELS, 10, alpha, 1)


def test_client_names_sort_as_their_numbers() -> None:
    names = client_names(2500)
    assert list(names) == sorted(names)
    assert (names[0], names[-1]) == ("c0000", "c2499")
    assert client_names(1) == ("c000",)
