"""Labels of regression and multilabel as users have them: what each becomes, and which are refused with their row."""

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedpipe.data.sources.places import BatchPlace
from fedpipe.data.sources.target_checks import (
    check_flags,
    check_label_sets,
    check_targets,
    labels_of_kind,
)
from fedpipe.errors import DataError

PLACE = BatchPlace("f.npz", 10)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 2, True, False], [[0.5], [2], [1], [0]]),
        (
            [decimal.Decimal("0.25"), np.float32(1.5), np.int64(3), np.bool_(True)],
            [[0.25], [1.5], [3], [1]],
        ),
        (np.array([1, 2, 3], np.uint8), [[1], [2], [3]]),
        (np.array([True, False]), [[1], [0]]),
        (np.array([[1.5, 2], [3, 4]]), [[1.5, 2], [3, 4]]),
        ([[1.5, 2], [3, 4]], [[1.5, 2], [3, 4]]),
        ([np.array([1.5, 2]), (3, 4)], [[1.5, 2], [3, 4]]),
        (np.array([[1], [2]], object), [[1], [2]]),
        (np.ma.MaskedArray([1.5, 2.5]), [[1.5], [2.5]]),
        (pd.Series([1.5, 2.5]).to_numpy(), [[1.5], [2.5]]),
        ([1e38, -1e38], [[np.float32(1e38)], [np.float32(-1e38)]]),
    ],
)
def test_numbers_become_float_targets(values: Any, expected: list[list[float]]) -> None:
    targets = check_targets(values, PLACE)
    assert targets.dtype == np.float32
    assert targets.tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, "high"], "labels that are numbers (task.kind=regression), found a str, 'high', at row 11"),
        (np.array(["1", "2"]), "found a str, '1', at row 10"),
        ([1.0, None], "a number in every row, found none (an empty cell, null or NaN) at row 11"),
        (np.array([1.0, np.nan, 2.0]), "found none (an empty cell, null or NaN) at row 11"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), "found none (an empty cell, null or NaN) at row 11"),
        (np.ma.MaskedArray([1.0, 2.0, 3.0], [False, False, True]), "found none (an empty cell, null or NaN) at row 12"),
        (np.array([1.0, np.inf]), "finite numbers of at most 3.4e+38, found inf at row 11"),
        ([1.0, -float("inf")], "finite numbers of at most 3.4e+38, found -inf at row 11"),
        (np.array([1.0, 1e39]), "finite numbers of at most 3.4e+38, found 1e+39 at row 11"),
        ([10**400], "finite numbers"),
        ([datetime.date(2020, 1, 1)], "found a date, datetime.date(2020, 1, 1), at row 10"),
        (np.array(["2020-01-01"], "datetime64[D]"), "at row 10"),
        ([[1.0, 2.0], [3.0]], "as many labels for each example, found 1 after 2 at row 11"),
        ([1j], "found a complex"),
        (np.zeros((2, 2, 2)), "found labels of shape [2, 2, 2] from row 10 (the first row is 0) on"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_with_its_row(values: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        check_targets(values, PLACE)
    assert str(caught.value).startswith("f.npz: expected ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 1], [1, 1]]), [[0, 1], [1, 1]]),
        (np.array([[0.0, 1.0]]), [[0, 1]]),
        (np.array([[True, False]]), [[1, 0]]),
        ([[0, 1, 0], [1, 1, 0]], [[0, 1, 0], [1, 1, 0]]),
        ([[True, False], [False, False]], [[1, 0], [0, 0]]),
        ([[0, 1], [0]], [[0, 1], [0]]),
        ([[3, 1, 3], []], [[1, 3], []]),
        ([["b", "a"], []], [["a", "b"], []]),
        (["a;b", "b", "c ; a"], [["a", "b"], ["b"], ["a", "c"]]),
        (["a|b", "b"], [["a", "b"], ["b"]]),
        (np.array(["a;b", "b"]), [["a", "b"], ["b"]]),
    ],
)
def test_rows_of_flags_and_lists_of_labels(values: Any, expected: list[list[Any]]) -> None:
    found = check_label_sets(values, PLACE)
    assert (found.tolist() if isinstance(found, np.ndarray) else found) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 1], [2, 1]]), "labels that are 0, 1, true or false (task.kind=multilabel), found 2 at row 11"),
        (np.array([[0, np.nan]]), "0 or 1 in every row, found none (an empty cell, null or NaN) at row 10"),
        ([1, 0], "several labels for each example (task.kind=multilabel), found 1 at row 10"),
        ([["a"], None], "labels in every row, found none (an empty cell or null) at row 11"),
        ([["a"], "b"], "found 'b' at row 11"),
        ([["a", 1]], "labels of one kind, found texts and numbers in a list at row 10"),
        ([[0.5]], "found 0.5 in a list at row 10"),
        ([[["a"], ["b", "c"]]], "found ['a'] in a list at row 10"),
        (["a,b"], "labels with ; or | between them (task.kind=multilabel), found 'a,b' at row 10"),
        (["a", "a;b|c"], "found 'a;b|c' at row 11"),
        (["a;"], "found '' in a list at row 10"),
    ],
)  # fmt: skip
def test_what_is_no_set_of_labels_is_refused_with_its_row(values: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        check_label_sets(values, PLACE)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_of_one_label_is_zeros_and_ones() -> None:
    assert check_flags([0, True, 1.0], PLACE).tolist() == [[0], [1], [1]]
    with pytest.raises(DataError, match=r"found 'yes' at row 11"):
        check_flags([0, "yes"], PLACE)


def test_each_kind_reads_labels_in_its_way() -> None:
    assert labels_of_kind([1, 0], PLACE, "classification").tolist() == [1, 0]  # type: ignore[union-attr]
    assert labels_of_kind([True, False], PLACE, "binary") == ["True", "False"]
    assert labels_of_kind([1, 0], PLACE, "regression").tolist() == [[1.0], [0.0]]  # type: ignore[union-attr]
    assert labels_of_kind([1, 0], PLACE, "tokens") is None
    with pytest.raises(DataError, match=r"expected labels for task\.kind=binary, found none"):
        labels_of_kind(None, PLACE, "binary")
