"""Features from Arrow columns."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedpipe.errors import DataError
from tests.unit.data.sources.tables import opened


def test_a_null_in_parquet_is_named_with_row_and_column(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"client": ["a"] * 3, "label": [0, 1, 0], "x": [1.0, 2.0, None], "y": [1, 2, 3]}),
        tmp_path / "t.parquet",
    )
    with pytest.raises(
        DataError, match=r"t\.parquet: row 3, column x: expected a value, found none \(null\)"
    ):
        opened(tmp_path / "t.parquet", "parquet")


def test_lists_in_lists_are_arrays(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    nested = [
        pa.array(x.tolist(), pa.list_(pa.list_(kind)))
        for kind in (pa.uint8(), pa.int64(), pa.float64())
    ]
    for column in (*nested, pa.FixedShapeTensorArray.from_numpy_ndarray(x)):
        pq.write_table(
            pa.table({"client": ["a", "a"], "label": [0, 1], "x": column}), tmp_path / "t.parquet"
        )
        rows, summary = opened(tmp_path / "t.parquet", "parquet")
        assert [features for _, _, features in rows] == x.tolist()
        assert summary.features.startswith("lists of 2 x 3 numbers in the column x")
    for wrong in ([[1.0], [2.0]], [[1.0, 2.0], [3.0]]):
        pq.write_table(
            pa.table({"client": ["a", "a"], "label": [0, 1], "x": [[[1.0, 2.0]] * 2, wrong]}),
            tmp_path / "t.parquet",
        )
        with pytest.raises(
            DataError,
            match="expected lists in lists of the same size in every row of x, found sizes 2, 1 from row 1 on",
        ):
            opened(tmp_path / "t.parquet", "parquet")


def test_a_null_far_below_is_named_with_its_row(tmp_path: Path) -> None:
    columns = {"client": ["c"] * 5001, "label": [0] * 5001, "a": [1.0] * 5000 + [None]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="row 5001, column a: expected a value, found none"):
        opened(tmp_path / "t.parquet", "parquet")
