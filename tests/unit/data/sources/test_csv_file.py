"""Every byte of a CSV file comes through, or its place is named."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config import DataConfig
from fedpipe.data.sources.tabular import open_features
from fedpipe.errors import DataError
from tests.unit.data.sources.tables import refusal, text_of


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_breaks_in_quotes_stay_as_they_are_at_every_place(table: Any, end: str) -> None:
    texts = [
        f'A{end}line {i:06}, with a comma, "quotes"{end}{"x" * (i % 61)}' for i in range(20_000)
    ]
    body = io.StringIO(newline="")
    writer = csv.writer(body, lineterminator=end)
    writer.writerow(["client", "label", "text"])
    writer.writerows((f"c{i % 10}", ("good", "bad")[i % 2], text) for i, text in enumerate(texts))
    assert len(body.getvalue()) > 1_200_000
    rows, _ = table(body.getvalue())
    assert len(rows) == len(texts)
    assert all(text_of(x) == text for (_, _, x), text in zip(rows, texts, strict=True))
    assert {(client, label) for client, label, _ in rows} == {
        (f"c{i}", ("good", "bad")[i % 2]) for i in range(10)
    }


def test_a_line_break_at_the_end_of_a_block(table: Any) -> None:
    for pad in range(40):  # pandas takes blocks of 2**18 characters
        rows, _ = table(
            f'client,label,text\r\nc0,0,{"x" * (2**18 - 60 + pad)}\r\nc1,1,"A\r\nB, C"\r\nc2,0,end\r\n'
        )
        assert [(client, text_of(x)) for client, _, x in rows[1:]] == [
            ("c1", "A\r\nB, C"),
            ("c2", "end"),
        ]


def test_rows_of_more_than_a_megabyte_come_through_in_little_memory(table: Any) -> None:
    short = "".join(f"c0,{i % 2},s\n" for i in range(5000))
    rows, _ = table(
        "client,label,text\n" + short + "".join(f"c{i},1,{'word ' * 300_000}\n" for i in range(4)),
        memory_limit_mb=64,
    )
    assert [len(x) for _, _, x in rows] == [1] * 5000 + [1_500_000] * 4
    said = refusal(
        table, "client,label,text\nc0,0,a\nc0,1," + "x" * 9_000_000 + "\n", memory_limit_mb=64
    )
    assert (
        "expected rows of at most 8 MB under data.memory_limit_mb=64, found a longer one after row 1"
        in said
    )


def test_many_columns_take_time_by_their_number_alone(table: Any) -> None:
    count = 3_000
    names = ",".join(f"g{i}" for i in range(count))
    rows, summary = table(
        f"client,label,{names}\n"
        + "".join(f"c{r},{r % 2}," + ",".join(["0.25"] * count) + "\n" for r in range(3))
    )
    assert [len(x) for _, _, x in rows] == [count] * 3
    assert len(summary.columns) == count
    assert "3,000 columns of numbers: g0, g1, g2, g3, g4 (+2995)" in summary.features


def test_a_quote_that_another_cells_quote_closes_loses_no_rows(table: Any) -> None:
    lost = [
        f"c0,l0,{text}\n" for text in ('"hello', "world", '"bye" she said', '5" pipes', '"a" b')
    ]
    said = refusal(table, "client,label,text\n" + "".join(lost))
    assert said.startswith(
        "t.csv: row 1 (line 2): expected the separator or the end of the line behind the quote"
    )
    assert "found other text behind the one in line 4." in said
    noted = [line.replace("l0,", "0,1.5,") for line in lost]
    assert "row 1 (line 2)" in refusal(
        table, "client,label,x,note\n" + "".join(noted), ignore_columns=["note"]
    )
    rows, _ = table("client,label,text\n\n" + "".join(lost[3:]) + 'c0,l1,"two\nlines"\n\n')
    assert [text_of(x) for _, _, x in rows] == ['5" pipes', "a b", "two\nlines"]


def test_a_header_without_rows_is_refused_where_only_some_columns_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("client,label,a\n")
    features = open_features(DataConfig(source="csv"), tmp_path / "t.csv", ("a",))
    with pytest.raises(DataError, match="expected rows below the header, found none"):
        list(features.rows())


def test_rows_that_grow_come_once_each(table: Any) -> None:
    notes = ["n"] * 300 + ["n" * 4000] * 3000
    text = "".join(f"c0,l0,{i},{note}\n" for i, note in enumerate(notes))
    rows, _ = table("client,label,a,note\n" + text, ignore_columns=["note"], memory_limit_mb=64)
    assert [x for _, _, x in rows] == [[float(i)] for i in range(3300)]
