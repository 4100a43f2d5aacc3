"""Folders of files are one table."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedpipe.errors import DataError
from tests.unit.data.sources.tables import GOOD, HEADER, ROWS, opened


def parts(folder: Path, columns: dict[str, Any], count: int = 2) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        pq.write_table(pa.table(columns), folder / f"part-{number}.snappy.parquet")


def test_a_folder_of_parts_is_one_table(tmp_path: Path) -> None:
    parts(tmp_path / "t", {"client": ["a", "b"], "label": [0, 1], "x": [1.0, 2.0]})
    for name in ("_SUCCESS", "_metadata", ".part-0.snappy.parquet.crc", "notes.txt"):
        (tmp_path / "t" / name).write_text("no data")
    pq.write_table(
        pa.table({"x": [5, 6], "label": [1, 1], "client": ["c", "c"]}),
        tmp_path / "t" / "part-9.parquet",
    )
    rows, summary = opened(tmp_path / "t", "parquet")
    assert rows == [("a", 0, [1]), ("b", 1, [2])] * 2 + [("c", 1, [5]), ("c", 1, [6])]
    assert summary.format == "3 Parquet files in t"
    assert summary.left_out == ("files that are no Parquet: 1 (notes.txt)",)
    pq.write_table(
        pa.table({"z": [5], "label": [1], "client": ["c"]}), tmp_path / "t" / "part-8.parquet"
    )
    with pytest.raises(
        DataError,
        match=r"part-8\.parquet: expected the columns of part-0\.snappy\.parquet, found no column x and a column z more",
    ):
        opened(tmp_path / "t", "parquet")
    pq.write_table(
        pa.table({"x": ["5"], "label": [1], "client": ["c"]}), tmp_path / "t" / "part-8.parquet"
    )
    with pytest.raises(
        DataError,
        match=r"part-8\.parquet: expected the types .* found string in the column x, which is double there",
    ):
        opened(tmp_path / "t", "parquet")


@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_folders_that_name_a_column(tmp_path: Path, source: str) -> None:
    for client in ("a b", "007"):
        for label in (0, 1):
            folder = tmp_path / "t" / f"client={client.replace(' ', '%20')}" / f"label={label}"
            folder.mkdir(parents=True)
            frame = pd.DataFrame({"x": [1.0, 2.0 + label]})
            frame.to_csv(folder / "part.csv", index=False) if source == "csv" else frame.to_parquet(
                folder / "part.parquet"
            )
    rows, summary = opened(tmp_path / "t", source)
    assert rows == [
        (client, label, [x])
        for client in ("007", "a b")
        for label in (0, 1)
        for x in (1.0, 2.0 + label)
    ]
    assert summary.columns == ("x",)
    (tmp_path / "t" / "client=a%20b" / "label=1").rename(
        tmp_path / "t" / "client=a%20b" / "label=__HIVE_DEFAULT_PARTITION__"
    )
    with pytest.raises(DataError, match=r"label=__HIVE_DEFAULT_PARTITION__.*expected a value"):
        opened(tmp_path / "t", source)


def test_a_folder_of_csv_files_with_columns_in_another_order(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "part-0.csv").write_text(HEADER + ROWS)
    (tmp_path / "t" / "part-1.csv").write_text("b,a,label,client\n2,1,0,c9\n")
    (tmp_path / "t" / "part-2.csv").write_text("")
    rows, summary = opened(tmp_path / "t")
    assert rows == [*GOOD, ("c9", 0, [1, 2])]
    assert summary.left_out == ("empty files: 1 (part-2.csv)",)
    (tmp_path / "t" / "part-3.csv").write_text("client,label,a,c\nc0,0,1,2\n")
    with pytest.raises(
        DataError,
        match=r"part-3\.csv: expected the columns of part-0\.csv, found no column b and a column c more",
    ):
        opened(tmp_path / "t")


def test_a_link_out_of_a_folder_of_parts_is_refused(tmp_path: Path) -> None:
    parts(tmp_path / "t", {"client": ["a"], "label": [0], "x": [1.0]})
    parts(tmp_path / "elsewhere", {"client": ["a"], "label": [0], "x": [1.0]})
    (tmp_path / "t" / "more.parquet").symlink_to(tmp_path / "elsewhere" / "part-0.snappy.parquet")
    with pytest.raises(DataError, match=r"more\.parquet: expected a file inside .* found a link"):
        opened(tmp_path / "t", "parquet")


def test_files_without_rows_and_files_of_checksums_are_no_part_of_a_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"client": ["a", "b"], "label": [0, 1], "x": [1.5, 2.0]})
    (tmp_path / "t").mkdir()
    frame[:0].astype(object).to_parquet(
        tmp_path / "t" / "part-0.parquet"
    )  # a column without values has no type
    frame.to_parquet(tmp_path / "t" / "part-1.parquet")
    pd.DataFrame().to_parquet(tmp_path / "t" / "part-2.parquet")
    (tmp_path / "t" / "part-1.parquet.crc").write_bytes(b"crc\0\1")
    rows, summary = opened(tmp_path / "t", "parquet")
    assert rows == [("a", 0, [1.5]), ("b", 1, [2.0])]
    assert summary.left_out == (
        "files that are no Parquet: 1 (part-1.parquet.crc)",
        "files without rows: 2 (part-0.parquet, part-2.parquet)",
    )


def test_clients_that_folders_name_stay_as_they_are_written(tmp_path: Path) -> None:
    names = ("1.50", "1.5", "1e3", "1000")
    for name in names:
        (tmp_path / "t" / f"client={name}").mkdir(parents=True)
        pq.write_table(
            pa.table({"label": [0, 1], "x": [1.0, 2.0]}),
            tmp_path / "t" / f"client={name}" / "0.parquet",
        )
    rows, _ = opened(tmp_path / "t", "parquet")
    assert {client for client, _, _ in rows} == set(names)
