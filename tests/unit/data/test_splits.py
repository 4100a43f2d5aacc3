import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpipe.data import splits
from fedpipe.data.splits import draw_central, held_out, keep_split, split_clients, split_off


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    fraction=st.sampled_from([0.01, 0.2, 0.5, 0.99]),
    seed=st.integers(0, 99),
)
def test_each_row_is_in_one_split_sorted_by_client(
    sizes: list[int], fraction: float, seed: int
) -> None:
    owner = (
        np.random.default_rng(seed)
        .permutation(np.repeat(np.arange(len(sizes)), sizes))
        .astype(np.int32)
    )
    ids = [f"c{i:02d}" for i in range(len(sizes))]
    train, test = split_clients(owner, ids, fraction, seed)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(owner)))
    assert owner[train].tolist() == sorted(owner[train].tolist())
    assert owner[test].tolist() == sorted(owner[test].tolist())
    assert np.bincount(owner[test], minlength=len(sizes)).tolist() == [
        splits.test_count(size, fraction) for size in sizes
    ]
    assert np.bincount(owner[train], minlength=len(sizes)).min() >= 1


@pytest.mark.parametrize(
    ("examples", "fraction", "expected"),
    # 0.2 * 35 is 7.000000000000001 in floats and 7 on paper; one example never tests, of two one does.
    [
        (35, 0.2, 7),
        (1, 0.9, 0),
        (2, 0.01, 1),
        (2, 0.99, 1),
        (6, 0.2, 2),
        (10, 0.1, 1),
        (10, 0.99, 9),
    ],
)
def test_the_fraction_is_rounded_up_and_one_trains(
    examples: int, fraction: float, expected: int
) -> None:
    assert splits.test_count(examples, fraction) == expected


def test_a_clients_split_depends_on_its_own_rows_id_and_seed_alone() -> None:
    def test_rows(owner: list[int], ids: list[str], seed: int) -> set[int]:
        rows = split_clients(np.array(owner, np.int32), ids, 0.5, seed)[1]
        return {int(row) for row in rows if row < 20}

    alone = test_rows([0] * 20, ["b"], 1)
    assert test_rows([0] * 20 + [1] * 9, ["b", "x"], 1) == alone
    assert test_rows([0] * 20, ["b"], 2) != alone
    assert test_rows([0] * 20, ["c"], 1) != alone


def test_a_sources_own_split_is_kept_in_its_order() -> None:
    owner = np.array([1, 0, 1, 0, 1], np.int32)
    train, test = keep_split(owner, np.array([False, True, False, False, True]))
    assert train.tolist() == [3, 0, 2]
    assert test.tolist() == [1, 4]


def test_the_central_test_set_is_drawn_from_all_or_is_all() -> None:
    drawn = draw_central(1036, 1000, 1)
    assert drawn.sum() == 1000
    assert np.array_equal(drawn, draw_central(1036, 1000, 1))
    assert not np.array_equal(drawn, draw_central(1036, 1000, 2))
    assert draw_central(7, 1000, 1).tolist() == [True] * 7


def test_the_seed_and_the_name_of_a_split_choose_what_is_split_off() -> None:
    owner, rows = np.repeat(np.arange(5), 20).astype(np.int32), np.arange(100)
    ids = [f"c{number}" for number in range(5)]

    def taken(seed: int, name: str) -> list[int]:
        stay, off = split_off(owner, rows, ids, 0.25, seed, name)
        assert sorted([*stay.tolist(), *off.tolist()]) == rows.tolist()
        assert np.bincount(owner[off]).tolist() == [5] * 5
        return [int(row) for row in off]

    assert taken(1, "validation") == taken(1, "validation")
    assert taken(1, "validation") != taken(2, "validation")
    assert taken(1, "validation") != taken(1, "other")


def test_the_seed_chooses_who_is_held_out() -> None:
    ids = [f"c{number:03}" for number in range(100)]
    assert held_out(ids, 0.2, 1).sum() == held_out(ids, 0.2, 2).sum() == 20
    assert np.array_equal(held_out(ids, 0.2, 1), held_out(ids, 0.2, 1))
    assert not np.array_equal(held_out(ids, 0.2, 1), held_out(ids, 0.2, 2))
