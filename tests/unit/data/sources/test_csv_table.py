"""Types of columns and the header of CSV tables."""

from typing import Any

import pytest

from tests.unit.data.sources.tables import GOOD, HEADER, ROWS, refusal, text_of


def test_the_types_of_a_column_do_not_depend_on_the_order_of_rows(table: Any) -> None:
    count = 30_000  # more than a chunk
    rows = [
        f"c{i % 20},{i % 10 if i < count - 5 else 'other'},{i % 9 if i < count - 5 else 0.5},{i % 4}\n"
        for i in range(count)
    ]
    late, _ = table(HEADER + "".join(rows))
    early, _ = table(HEADER + "".join(reversed(rows)))
    assert late == early[::-1]
    assert {label for _, label, _ in late} == {*map(str, range(10)), "other"}
    assert sum(x[0] == 0.5 for _, _, x in late) == 5
    flags = [f"c0,{i % 2},{0 if i < count - 5 else 'true'},1\n" for i in range(count)]
    said = refusal(table, HEADER + "".join(flags))
    assert said.startswith(
        f"t.csv: row {count - 4} (line {count - 3}), column a: expected a number, found 'true'"
    )
    said = refusal(table, HEADER + "".join(reversed(flags)))
    assert said.startswith("t.csv: row 1 (line 2), column a: expected a number, found 'true'")


def test_a_column_of_texts_is_one_also_where_its_first_megabyte_is_of_digits(table: Any) -> None:
    texts = [f"{i:020}" for i in range(30_000)] + ["hello"]
    body = "client,label,text\n" + "".join(
        f"c{i % 2},{i % 2},{text}\n" for i, text in enumerate(texts)
    )
    said = refusal(table, body)
    assert "row 30001 (line 30002), column text: expected a number, found 'hello'" in said
    assert "If the column is of texts, set data.feature_dtype=int32" in said
    rows, summary = table(body, feature_dtype="int32")
    assert [text_of(x) for _, _, x in rows] == texts
    assert summary.features.startswith("texts in the column text")
    assert summary.columns == ()


def test_clients_keep_their_names_and_whole_floats_are_whole_numbers(table: Any) -> None:
    assert [client for client, _, _ in table(HEADER + "007,0,1,2\n7,1,1,2\n0.50,1,2,2\n")[0]] == [
        "007",
        "7",
        "0.50",
    ]
    assert [client for client, _, _ in table(HEADER + "1.0,0,1,2\n2,1,1,2\n1,1,2,2\n")[0]] == [
        "1",
        "2",
        "1",
    ]


def test_columns_of_true_and_false_are_one_and_zero(table: Any) -> None:
    assert [x for _, _, x in table(HEADER + "c0,0,true,1\nc0,1,FALSE,2\n")[0]] == [
        [1.0, 1.0],
        [0.0, 2.0],
    ]


def test_no_header(table: Any) -> None:
    assert table(ROWS, column_names=["client", "label", "a", "b"])[0] == GOOD
    said = refusal(table, "c0,1,1,2\nc1,1,3,4\n")
    assert (
        "Line 1 looks like a row and no header: set data.column_names to a list of 4 names, such as [client, label, a, b]"
        in said
    )
    assert "row 1 (line 1): expected 3 cells, as many as data.column_names has" in refusal(
        table, ROWS, column_names=["client", "label", "a"]
    )


def test_spaces_around_names_and_after_separators(table: Any) -> None:
    rows, summary = table('client, label, "my a", b\nc0, 1, 2, 3\n')
    assert rows == [("c0", 1, [2, 3])]
    assert summary.columns == ("my a", "b")
    assert "the space after each separator was removed" in summary.notes
    assert table("client,label, a ,b\nc0,1,2,3\n")[1].columns == ("a", "b")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{"a": 1}\n{"a": 2}\n', "Line 1 looks like JSON: convert it into a table"),
        (
            "<html>\n<b>404</b>\n",
            "Line 1 looks like HTML or XML, such as the page that says why a download failed",
        ),
        (
            "# made by hand\n" + HEADER + ROWS,
            "Line 1 looks like a comment: remove the lines above the header.",
        ),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "It is the pointer that Git LFS has in place of a file: run `git lfs pull`.",
        ),
    ],
)
def test_what_is_no_table_is_named(table: Any, text: str, hint: str) -> None:
    assert hint in refusal(table, text)


def test_one_column_of_numbers_with_leading_zeros_is_one_of_numbers(table: Any) -> None:
    text = "client,label,a\n" + "".join(f"c0,l0,{number:05d}\n" for number in range(0, 900, 7))
    rows, summary = table(text)
    assert [x for _, _, x in rows] == [[float(number)] for number in range(0, 900, 7)]
    assert summary.features.startswith("1 column of numbers: a")
    assert text_of(table(text, feature_dtype="int32")[0][1][2]) == "00007"


def test_a_wrong_cell_far_below_is_named_with_its_row(table: Any) -> None:
    text = HEADER + "c0,0,1,2\n" * 5000 + "c0,0,x,2\n"
    assert "row 5001 (line 5002), column a: expected a number, found 'x'" in refusal(table, text)


def test_a_column_that_begins_with_true_and_false_takes_no_numbers(table: Any) -> None:
    text = HEADER + "c0,0,true,1\nc0,1,false,1\n" * 32 + "c0,0,1,1\n" * 5000
    message = "row 65 (line 66), column a: expected true or false, found '1'"
    assert message in refusal(table, text)
