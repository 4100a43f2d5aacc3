"""Targets on disk: their groups and their ranges, against NumPy on all of them at once."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fedpipe.data import disk_columns
from fedpipe.data.disk_columns import Scratch
from fedpipe.data.targets import (
    TargetColumn,
    TargetSums,
    range_names,
    stored_targets,
    tenth_of,
    tenths,
)
from fedpipe.errors import DataError

VALUES: dict[str, npt.NDArray[Any]] = {
    "normal": np.random.default_rng(1).normal(size=10_007),
    "skewed, some negative": np.random.default_rng(2).lognormal(sigma=4, size=997) - 3,
    "few values": np.random.default_rng(3).integers(-2, 3, 500).astype(float),
    "one value": np.full(20, -7.5),
    "two signs of zero": np.array([0.0, -0.0] * 10 + [1.0] * 5),
    "fewer than ten": np.array([3.0, 1.0, 2.0]),
    "at the edges": np.array([-3.4e38, 3.4e38, 1e-45, -1e-45, 0.0] * 7),
}


def column_of(scratch: Scratch, *batches: Any) -> TargetColumn:
    column = TargetColumn(scratch)
    for batch in batches:
        column.add(batch)
    return column


@pytest.mark.parametrize("name", VALUES)
def test_groups_begin_at_the_order_statistics(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_columns, "CHUNK_ROWS", 64)
    values = VALUES[name].astype(np.float32)
    with Scratch(tmp_path) as scratch:
        column = column_of(
            scratch, values[: len(values) // 3, None], values[len(values) // 3 :, None]
        )
        rows, _ = column.finish(["y"])
        bounds = tenths(rows)
    ranked = np.sort(values)
    at_tenths = [ranked[len(values) * tenth // 10] for tenth in range(1, 10)]
    assert bounds.tolist() == sorted({float(v) + 0.0 for v in at_tenths} - {float(ranked[0]) + 0.0})
    groups = tenth_of(values[:, None], bounds)
    assert (np.bincount(groups, minlength=len(bounds) + 1) > 0).all(), "each group has examples"
    assert len(range_names("y", bounds)) == len(bounds) + 1


def test_even_values_make_ten_even_groups(tmp_path: Path) -> None:
    values = np.random.default_rng(4).permutation(1000).astype(np.float32)[:, None]
    with Scratch(tmp_path) as scratch:
        targets, groups = stored_targets(column_of(scratch, values), "regression", ["y"], "s")
        found = np.concatenate(list(groups))
    np.testing.assert_array_equal(found, values[:, 0] // 100)
    assert targets.groups[0] == "y below 100"
    assert targets.groups[-1] == "y from 900"


def test_ranges_are_those_of_all_examples_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_columns, "CHUNK_ROWS", 50)
    draw = np.random.default_rng(5)
    values = np.stack([1e6 + draw.normal(size=333), draw.exponential(size=333)], axis=1)
    values = values.astype(np.float32)
    chosen = draw.permutation(333)[:200]
    with Scratch(tmp_path) as scratch:
        rows, _ = column_of(scratch, values).finish(["a", "b"])
        sums = TargetSums(rows)
        for part in (chosen[:7], chosen[7:7], chosen[7:]):
            sums.add(part)
        ranges = sums.ranges()
    for number, found in enumerate(ranges):
        expected = values[chosen, number].astype(np.float64)
        assert found.mean == pytest.approx(expected.mean(), rel=1e-13)
        assert found.std == pytest.approx(expected.std(), rel=1e-9)
        assert (found.min, found.max) == (expected.min(), expected.max())


def test_lists_of_labels_become_zeros_and_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_columns, "CHUNK_ROWS", 4)
    lists = [["red", "blue"], [], ["green"], ["blue"], ["red", "green", "blue"]]
    with Scratch(tmp_path) as scratch:
        column = column_of(scratch, lists[:2], [[]], lists[2:])
        targets, groups = stored_targets(column, "multilabel", ["tags"], "s")
        found = np.concatenate(list(targets.chunks()))
        first = np.concatenate(list(groups))
    assert targets.names == ("blue", "green", "red")
    assert targets.groups == ("blue", "green", "red", "no label")
    assert found.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert first.tolist() == [0, 3, 3, 1, 0, 0]


def test_numbers_of_labels_are_sorted_as_numbers(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        targets, _ = stored_targets(column_of(scratch, [[10, 2], [9]]), "multilabel", ["tags"], "s")
    assert targets.names == ("2", "9", "10")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[], []], "s: expected labels for task.kind=multilabel, found none in any example"),
        ([["a"], [1]], "s: expected labels of one kind for task.kind=multilabel"),
    ],
)
def test_labels_that_are_none_or_of_two_kinds_are_refused(
    tmp_path: Path, lists: list[Any], message: str
) -> None:
    with Scratch(tmp_path) as scratch, pytest.raises(DataError, match=message):
        stored_targets(column_of(scratch, lists), "multilabel", ["tags"], "s")


def test_targets_without_names_are_numbered(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        column = column_of(scratch, np.zeros((2, 2), np.float32))
        assert column.finish(["y"])[1] == ("y_0", "y_1")
        assert column.finish([])[1] == ("target_0", "target_1")
        assert column.finish(["a", "b"])[1] == ("a", "b")
