import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpipe.config import DataConfig
from fedpipe.data.partition import (
    Method,
    client_names,
    dirichlet_partition,
    iid_partition,
    partition_pool,
    pathological_partition,
    quantity_partition,
)
from fedpipe.data.partitions.sizes import apportion
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
def test_every_example_has_one_client_and_every_client_two_examples(
    y: list[int], clients_per_pair: float, alpha: float, seed: int
) -> None:
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
    distances = [
        np.abs(label_counts(dirichlet_partition(LABELS, 50, alpha, 1), 50) - 10).mean()
        for alpha in (0.05, 1.0, 20.0, 1e9)
    ]
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
    shares = np.concatenate(
        [label_counts(dirichlet_partition(LABELS, 5, 2.0, seed), 5) / 500 for seed in range(100)]
    ).ravel()
    assert shares.mean() == pytest.approx(0.2, abs=1e-12)
    assert shares.var() == pytest.approx(0.014545, rel=0.1)


def test_half_as_many_clients_as_examples_is_the_limit() -> None:
    assert np.bincount(dirichlet_partition(LABELS, 2500, 0.1, 1)).tolist() == [2] * 2500
    with pytest.raises(
        DataError,
        match=r"data\.clients=2501: expected at least 2 examples a client, found 5000 .* to 2500 or less",
    ):
        dirichlet_partition(LABELS, 2501, 0.1, 1)


@pytest.mark.parametrize("alpha", [1e-300, 1e-5, 1e300])
def test_an_alpha_that_cannot_be_drawn_is_refused(alpha: float) -> None:
    with pytest.raises(
        DataError, match=r"data\.alpha=1e.*expected a value between 0\.0001 and 1000000000"
    ):
        dirichlet_partition(LABELS, 10, alpha, 1)


def test_dirichlet_partitions_are_those_of_the_first_release() -> None:
    # Shards made with it are under version control: another partition would make all of them anew.
    digests = [
        hashlib.sha256(dirichlet_partition(LABELS, *case).tobytes()).hexdigest()[:16]
        for case in ((100, 1.0, 1), (2500, 0.1, 1))
    ]
    assert digests == ["d1804b333933f1d0", "7ec16ad16aa23fe6"]


METHODS: list[Method] = ["iid", "dirichlet", "pathological", "quantity"]


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(METHODS),
    counts=st.lists(st.integers(4, 60), min_size=2, max_size=6),
    clients=st.integers(1, 12),
    seed=st.integers(0, 2**40),
)
def test_every_method_gives_every_example_once_and_every_client_two(
    method: Method, counts: list[int], clients: int, seed: int
) -> None:
    y = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    # With all labels a client, `pathological` needs as many examples of each label as there are clients.
    clients = min(clients, *counts)
    config = DataConfig(clients=clients, labels_per_client=len(counts), seed=seed)
    owner = partition_pool(y, config, method)
    assert (owner.shape, owner.dtype) == (y.shape, np.int32)
    sizes = np.bincount(owner, minlength=clients)
    assert len(sizes) == clients
    assert sizes.min() >= 2
    np.testing.assert_array_equal(owner, partition_pool(y, config, method))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_depends_on_the_seed_and_leaves_its_input(method: Method) -> None:
    y = LABELS.copy()
    one, other = (partition_pool(y, DataConfig(seed=seed), method) for seed in (1, 2))
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(y, LABELS)


@pytest.mark.parametrize("method", METHODS)
def test_too_many_clients_or_none_are_refused_by_every_method(method: Method) -> None:
    with pytest.raises(
        DataError,
        match=r"data\.clients=2501: expected at least 2 examples a client, found 5000 .* to 2500 or less",
    ):
        partition_pool(LABELS, DataConfig(clients=2501), method)
    with pytest.raises(
        DataError,
        match=rf"data\.clients=null: expected a number, as data\.partition={method} makes the clients",
    ):
        partition_pool(LABELS, DataConfig(clients=None), method)


def test_iid_sizes_differ_by_one_and_labels_mix() -> None:
    # 5000 = 7 * 714 + 2.
    owner = iid_partition(5000, 7, 1)
    assert sorted(np.bincount(owner)) == [714] * 5 + [715] * 2
    # A client's share of a label is hypergeometric: 71 of 714, standard deviation 7.4.
    assert np.abs(label_counts(owner, 7) - 71.4).max() < 5 * 7.4


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5])
def test_logarithms_of_sizes_have_the_standard_deviation_sigma(sigma: float) -> None:
    # 1000 examples a client in the mean: rounding and the least size of two hardly count. The error of a standard deviation of
    # 1000 draws is sigma / sqrt(2000), 2.2 %.
    sizes = np.bincount(quantity_partition(1_000_000, 1000, sigma, 1))
    assert np.log(sizes).std() == pytest.approx(sigma, rel=0.09)
    assert sizes.sum() == 1_000_000


def test_sigma_zero_is_equal_sizes_and_more_is_less_equal() -> None:
    assert sorted(np.bincount(quantity_partition(5000, 7, 0.0, 1))) == [714] * 5 + [715] * 2
    largest = [
        np.bincount(quantity_partition(5000, 100, sigma, 1)).max()
        for sigma in (0.0, 0.5, 1.0, 2.0, 5.0)
    ]
    assert largest == sorted(set(largest))


def test_small_clients_have_two_examples_and_the_limit_is_half() -> None:
    assert np.bincount(quantity_partition(5000, 100, 5.0, 1)).min() == 2
    assert np.bincount(quantity_partition(5000, 2500, 5.0, 1)).tolist() == [2] * 2500


def test_a_sigma_out_of_range_is_refused() -> None:
    for sigma in (-1.0, 6.0, float("nan"), float("inf")):
        with pytest.raises(DataError, match=r"data\.sigma=.*expected a value between 0 and 5"):
            quantity_partition(5000, 100, sigma, 1)


def test_apportion_known_answers() -> None:
    none, all_ = np.zeros(3, np.int64), np.full(3, 10)
    # Hamilton: 10 * (0.47, 0.36, 0.17) = 4.7, 3.6, 1.7 -> 4, 3, 1, and the two missing go to the fractions 0.7 and 0.7.
    assert apportion(np.array([0.47, 0.36, 0.17]), 10, none, all_).tolist() == [5, 3, 2]
    # The third has at least 4; the others share 6 as 47 : 36, 3.4 and 2.6.
    assert apportion(np.array([0.47, 0.36, 0.17]), 10, np.array([0, 0, 4]), all_).tolist() == [
        3,
        3,
        4,
    ]
    # The first has at most 2; the others share 8 as 36 : 17, 5.4 and 2.6.
    assert apportion(np.array([0.47, 0.36, 0.17]), 10, none, np.array([2, 10, 10])).tolist() == [
        2,
        5,
        3,
    ]
    # Of equal fractions the first has it.
    assert apportion(np.ones(3), 4, none, all_).tolist() == [2, 1, 1]


@settings(deadline=None, max_examples=100)
@given(data=st.data(), count=st.integers(1, 30))
def test_apportion_keeps_sum_and_bounds(data: st.DataObject, count: int) -> None:
    def numbers(low: int, high: int) -> np.ndarray:
        return np.array(
            data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count)), np.int64
        )

    low = numbers(0, 5)
    high = low + numbers(0, 50)
    total = data.draw(st.integers(int(low.sum()), int(high.sum())))
    weights = np.exp(
        np.array(data.draw(st.lists(st.floats(-60, 5), min_size=count, max_size=count)))
    )
    parts = apportion(weights, total, low, high)
    assert parts.sum() == total
    assert ((low <= parts) & (parts <= high)).all()


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(20, 200), min_size=1, max_size=8),
    clients=st.integers(1, 20),
    k=st.integers(1, 8),
    seed=st.integers(0, 2**40),
)
def test_pathological_clients_have_exactly_k_labels(
    counts: list[int], clients: int, k: int, seed: int
) -> None:
    y = (
        np.random.default_rng(seed)
        .permutation(np.repeat(np.arange(len(counts)) * 3, counts))
        .astype(np.int32)
    )  # labels 0, 3, 6, ...
    k = min(k, len(counts))
    if clients * k < len(counts):
        with pytest.raises(DataError, match="expected at least"):
            pathological_partition(y, clients, k, seed)
        return
    # Else it can be done: 20 examples of each label are enough for 20 clients, and with k = 1 for 20 / 2 clients a label.
    clients = min(clients, 10 * len(counts)) if k == 1 else clients
    owner = pathological_partition(y, clients, k, seed)
    held = [set(y[owner == client]) for client in range(clients)]
    assert {len(labels) for labels in held} == {k}
    assert set().union(*held) == set(y)
    assert np.bincount(owner, minlength=clients).min() >= 2


def test_pathological_shards_are_those_of_the_paper() -> None:
    # 5000 examples, 100 clients, 2 labels: 200 shards of 25 examples, 20 of each label; every client has two whole ones.
    counts = label_counts(pathological_partition(LABELS, 100, 2, 1), 100)
    assert np.sort(counts, axis=1).tolist() == [[0] * 8 + [25, 25]] * 100
    assert (counts > 0).sum(axis=0).tolist() == [20] * 10


def test_pathological_pairs_of_labels_are_all_equally_likely() -> None:
    # 100 clients over 45 pairs of labels: 2.22 clients a pair. Over 100 seeds the mean of a pair has a standard deviation of
    # about sqrt(2.22 * (1 - 1 / 45) / 100) = 0.147; five of those.
    pairs = np.zeros((10, 10))
    for seed in range(100):
        has = (label_counts(pathological_partition(LABELS, 100, 2, seed), 100) > 0).astype(np.int64)
        pairs += has.T @ has / 100
    assert np.abs(pairs[~np.eye(10, dtype=bool)] - 100 / 45).max() < 0.74


def test_a_rare_label_has_one_shard_and_a_frequent_one_goes_to_everybody() -> None:
    # 3 clients, k = 2: 6 shards. Label 0 may have 3, one a client; the other three are one each of 1, 2 and 3.
    y = np.repeat([0, 1, 2, 3], [90, 4, 3, 2]).astype(np.int32)
    owner = pathological_partition(y, 3, 2, 1)
    assert np.bincount(owner[y == 0]).tolist() == [30, 30, 30]
    assert sorted(np.bincount(owner[y > 0]).tolist()) == [2, 3, 4]


@pytest.mark.parametrize(
    ("counts", "clients", "k", "message"),
    [
        (
            [50, 50],
            5,
            3,
            r"data\.labels_per_client=3: expected 1 to 2, the labels that the examples have",
        ),
        (
            [10] * 7,
            3,
            2,
            r"=2: expected at least 7 shards, one a label, found 6 of data\.clients=3\. Raise .* to 3 or more",
        ),
        (
            [50, 1],
            5,
            1,
            r"=1: expected at least 2 examples of each label, found 1 of label 1\. Set data\.labels_per_client to 2 or more",
        ),
        (
            [50, 3],
            5,
            2,
            r"=2: expected 10 shards of one label, .* data\.clients=5, found examples for 8\. Lower",
        ),
    ],
)
def test_what_pathological_cannot_do_is_refused(
    counts: list[int], clients: int, k: int, message: str
) -> None:
    y = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    with pytest.raises(DataError, match=message):
        pathological_partition(y, clients, k, 1)


def test_client_names_sort_as_their_numbers() -> None:
    names = client_names(2500)
    assert list(names) == sorted(names)
    assert (names[0], names[-1]) == ("c0000", "c2499")
    assert client_names(1) == ("c000",)
