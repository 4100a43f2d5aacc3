"""Rows of tables as batches; errors with their place; the summary."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import open_source
from fedpipe.errors import DataError
from fedpipe.pipeline.describe import understood_lines
from tests.unit.data.sources.tables import HEADER, ROWS, opened, refusal


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (("1.0", "0.0"), [1, 0]),
        (("1.0", "0"), [1, 0]),
        (("True", "False"), ["True", "False"]),
        (("true", "FALSE"), ["True", "False"]),
        (("2021-01-01", "2021-01-02"), ["2021-01-01", "2021-01-02"]),
        (("007", "008"), ["007", "008"]),
        (("007", "12"), ["007", "12"]),
        (("10:30", "11:30"), ["10:30", "11:30"]),
        (("-1", "+7"), [-1, 7]),
        (("3", "x"), ["3", "x"]),
        (("99999999999999999999", "1"), [99999999999999999999, 1]),
    ],
)
def test_labels_of_each_kind(
    table: Any, tmp_path: Path, cells: tuple[str, str], labels: list[Any]
) -> None:
    rows, _ = table(HEADER + "".join(f"c0,{cells[i % 2]},{i},1\n" for i in range(6)))
    assert [label for _, label, _ in rows] == labels * 3
    config = DataConfig(source="csv", path="t.csv", clients=None)
    assert prepare_shards(config, tmp_path / "shards", tmp_path).num_classes == 2


@pytest.mark.parametrize("values", [[1.0, 0.0], [True, False], ["007", "008"]])
def test_labels_of_each_kind_in_parquet(tmp_path: Path, values: list[Any]) -> None:
    pq.write_table(
        pa.table({"client": ["a"] * 4, "label": values * 2, "x": [1.0, 2.0, 4.0, 3.0]}),
        tmp_path / "t.parquet",
    )
    rows, _ = opened(tmp_path / "t.parquet", "parquet")
    assert [label for _, label, _ in rows][:2] == (
        [str(value) for value in values] if not isinstance(values[0], float) else [1, 0]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("\n \n", "found an empty file"),
        (HEADER, "expected rows below the header, found none"),
        (HEADER + "c0,0,1,2\nc0,1,3,4\nc1,0,,6\n", "row 3 (line 4), column a: expected a number, found an empty cell. Fill in the value"),
        (HEADER + 'c0,0,"1",2\n"c\n0",1,NA,4\n', "row 2 (line 3), column a: expected a number, found 'NA', which stands for no value"),
        (HEADER + "c0,0,1,2\n\n\nc0,1,x,4\n", "row 2 (line 5), column a: expected a number, found 'x'. Correct the cell"),
        (HEADER + "c0,0,1,2\nc0,,3,4\n", "row 2 (line 3), column label: expected a value, found an empty cell"),
        (HEADER + "c0,0,1,2\nc0,nan,3,4\n", "row 2 (line 3), column label: expected a value, found 'nan'"),
        (HEADER + "c0,0,1,2\n,1,3,4\n", "row 2 (line 3), column client: expected a value, found an empty cell"),
        (HEADER + "c0,0.5,1,2\n", "found 0.5 at row 1 (line 2), column label"),
        (HEADER + "c0,0,1,2\nc0,1,3\n", "row 2 (line 3): expected 4 cells, as many as the header has, found 3"),
        (HEADER + "c0,0,1,2\nc0,1,3,4,5\n", "row 2 (line 3): expected 4 cells, as many as the header has, found 5"),
        (HEADER + "c0,0,1,2,,6\n", "row 1 (line 2): expected 4 cells, as many as the header has, found 6"),
        (HEADER + "c0,0,1,2\n" * 5000 + "c0,0,1,2,3\n", "row 5001 (line 5002): expected 4 cells"),
        (HEADER + 'c0,0,1,2\n"c1,0,1,2\n', 'found a quote (") that is opened in row 2 (line 3) and never closed'),
        (HEADER + "c0,0,1,2\nc\0,0,1,2\n", "found a zero byte (NUL) in line 3"),
        (HEADER + 'c0,0,"1,500.5",2\n', "found '1,500.5'. If its signs separate thousands"),
        (HEADER + "c0,0,5%,2\n", "found '5%'. Write plain numbers"),
        (HEADER + "c0,0,1e300,2\n", "row 1 (line 2), column a: expected a finite number that fits float32, found 1e+300"),
        (HEADER + "c0,0,inf,2\n", "row 1 (line 2), column a: expected a finite number that fits float32, found inf"),
        ("client,label,a,a\nc0,0,1,2\n", "expected each column's name once, found a more than once (a: columns 3, 4)"),
        ("Client,LABEL,a\nc0,0,1\n", "Did you mean data.label_column=LABEL? Did you mean data.client_column=Client?"),
        ("user,label,a\nc0,0,1\n", "Name the column of clients in data.client_column, or set it to null"),
        ("A title\nclient,label,a\nc0,0,1\n", "The header in line 1 has 1 cell and line 2 has 3: remove the lines above the header"),
        ("client,label,split\nc0,0,train\n", "expected columns of features beside client and label, found none"),
        ("client,label,a,split\nc0,0,1,val\n", "expected train or test in the column split, found 'val' at row 1 (line 2)"),
        (b"PK\x03\x04" + bytes(60), "It is a ZIP archive"),
        (b"PAR1" + bytes(60), "It is a Parquet file: set data.source=parquet"),
        (b"\xff\xfe" + HEADER.encode("utf-16-le")[:-1], "t.csv"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(table: Any, text: str | bytes, message: str) -> None:
    said = refusal(table, text)
    assert message in said
    assert said.startswith("t.csv")


def test_a_file_of_another_kind_and_a_path_of_windows_are_named(tmp_path: Path) -> None:
    (tmp_path / "beats.csv").write_text(HEADER + ROWS)
    with pytest.raises(
        DataError,
        match=r"beats\.csv: expected a Parquet file, .* It is a text file: set data\.source=csv",
    ):
        opened(tmp_path / "beats.csv", "parquet")
    for path, message in (
        ("C:\\data\\beats.csv", "written as on Windows"),
        ("beat.csv", r"Did you mean .*/beats\.csv\?"),
        ("no/x", "has no no"),
    ):
        with pytest.raises(DataError, match=message):
            next(iter(open_source(DataConfig(source="csv", path=path), tmp_path).batches()))


def test_prepare_says_what_it_understood(tmp_path: Path) -> None:
    (tmp_path / "beats.csv").write_text(
        ",client;label;note;a;b\n".replace(",", ";")
        + "".join(f"{i};c{i % 2};{i % 3};x;{i % 5};1\n" for i in range(60))
    )
    config = DataConfig(source="csv", path="beats.csv", clients=None, ignore_columns=["note"])
    assert understood_lines(prepare_shards(config, tmp_path / "shards", tmp_path)) == [
        "CSV file beats.csv: separator semicolon (detected), encoding utf-8, decimal sign point, header in line 1",
        "features: 2 columns of numbers: a, b; label from label (whole numbers); client from client (texts) (2, float32)",
        "60 examples, 2 clients (natural), 3 classes: 0, 1, 2",
        "left out: columns that data.ignore_columns names: note",
        "left out: columns of row numbers or names, such as pandas' index: (no name, column 1)",
    ]


def test_names_are_texts_that_are_no_header_and_no_spaces(table: Any) -> None:
    text = "client,label,text\nc0,l0,one\n"
    joined = refusal(table, text + text)
    assert joined.startswith(
        "t.csv: row 2 (line 3): expected a row, found the header. Were files joined with their headers?"
    )
    numbers = refusal(table, (HEADER + ROWS) * 2)
    assert (
        "row 7 (line 8), column a: expected a number, found 'a'. Were files joined with their headers? Remove the line."
        in numbers
    )
    assert (
        "expected client ids that name a client, found one of spaces alone, at row 2 (line 3), column client"
        in refusal(table, text + "  ,l0,two\n")
    )
