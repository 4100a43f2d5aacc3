"""How a CSV file is written: found and said, or set."""

import bz2
import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.unit.data.sources.tables import GOOD, HEADER, ROWS, opened, refusal


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("sign", "word"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "pipe")]
)
def test_separators_and_byte_order_marks_are_found_and_said(
    table: Any, encoding: str, sign: str, word: str
) -> None:
    rows, summary = table((HEADER + ROWS).replace(",", sign), encoding)
    assert rows == GOOD
    said = encoding.removesuffix("-sig") + ("" if encoding == "utf-8" else " (byte order mark)")
    assert (
        summary.format
        == f"CSV file t.csv: separator {word} (detected), encoding {said}, decimal sign point, header in line 1"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1250", "utf-16-le"])
def test_other_encodings_are_set(table: Any, encoding: str) -> None:
    text = "client,label,größe\n" + "zoë,0,1\n" * 300
    rows, summary = table(text.replace("ë", "é"), encoding, encoding=encoding)
    assert {client for client, _, _ in rows} == {"zoé"}
    assert summary.columns == ("größe",)
    said = refusal(table, text.replace("ë", "é").encode(encoding))
    assert (
        "data.encoding=utf-16-le" in said
        if encoding == "utf-16-le"
        else "expected a text in utf-8, found the byte 0xf6 in line 1" in said
    )


@pytest.mark.parametrize(("opener", "suffix"), [(gzip.compress, "gz"), (bz2.compress, "bz2")])
def test_compressed_files(table: Any, opener: Any, suffix: str) -> None:
    assert table(opener((HEADER + ROWS).encode()), name=f"t.csv.{suffix}")[0] == GOOD
    assert "damaged, cut short" in refusal(
        table, opener((HEADER + ROWS * 99).encode())[:-20], name=f"t.csv.{suffix}"
    )


def test_a_decimal_comma_is_set(table: Any) -> None:
    text = (HEADER + ROWS).replace(",", ";").replace(".", ",")
    assert table(text, decimal=",")[0] == GOOD
    assert "found '0,0'. If its comma is the decimal sign, set data.decimal=, " in refusal(
        table, text
    )
    assert "found '1.5'. If its point is the decimal sign" in refusal(
        table, "client;label;a\nc0;0;1.5\n", decimal=","
    )
    assert "found '1,5'. If its comma is the decimal sign" in refusal(
        table, "client;label;a\nc0;0;1,5\nc1;1;2\n"
    )


def test_the_separator_of_hive_can_be_set(table: Any) -> None:
    assert table((HEADER + ROWS).replace(",", "\x01"), separator="\x01")[0] == GOOD


def test_spaces_between_cells_and_names_in_single_quotes(table: Any) -> None:
    rows, summary = table("'client' 'label' 'a' 'c'\nc0 0 1 2\nc1 1 3 4\n")
    assert rows == [("c0", 0, [1, 2]), ("c1", 1, [3, 4])]
    assert summary.columns == ("a", "c")
    assert "separator space (detected)" in summary.format


def test_each_file_of_a_folder_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "0.csv").write_text(HEADER + ROWS)
    (tmp_path / "t" / "1.csv").write_text("\ufeff" + HEADER + ROWS, encoding="utf-8")
    assert opened(tmp_path / "t")[0] == GOOD * 2


def test_a_row_that_the_sample_cuts_does_not_choose_the_separator(table: Any) -> None:
    rows = "".join(f"c0,l0,1;2,{'n' * 2000},{i}\n" for i in range(40))
    read, _ = table("client,label,a;b,note,x\n" + rows, ignore_columns=["a;b", "note"])
    assert [x for _, _, x in read] == [[float(i)] for i in range(40)]
