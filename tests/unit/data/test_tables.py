"""CSV and Parquet as people write them: read to the last byte, or refused with file, row, line, column and the setting that helps."""

import bz2
import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fedpipe.config import DataConfig
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import SourceSummary, open_source
from fedpipe.data.sources.row_numbers import DistinctNumbers
from fedpipe.data.sources.tabular import open_features
from fedpipe.errors import DataError
from fedpipe.pipeline.describe import understood_lines

HEADER = "client,label,a,b\n"
ROWS = "".join(f"c{i % 3},{i % 2},{i * i},{i / 2}\n" for i in range(6))
Row = tuple[str | None, Any, list[Any]]


def opened(path: Path, source: str = "csv", **settings: Any) -> tuple[list[Row], SourceSummary]:
    """Return (client, label, features) of each row, and what was understood."""
    opened_source = open_source(
        DataConfig(source=source, path=path.name, clients=None, **settings), path.parent
    )
    rows: list[Row] = []
    for batch in opened_source.batches():
        clients = batch.clients or [None] * len(batch.y)
        labels = batch.y.tolist() if isinstance(batch.y, np.ndarray) else list(batch.y)
        features = [np.asarray(x).tolist() for x in batch.x]
        rows += list(zip(clients, labels, features, strict=True))
    assert opened_source.summary is not None
    return rows, opened_source.summary()


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def read(
        text: str | bytes, encoding_of_file: str = "utf-8", name: str = "t.csv", **settings: Any
    ) -> tuple[list[Row], SourceSummary]:
        (tmp_path / name).write_bytes(
            text if isinstance(text, bytes) else text.encode(encoding_of_file)
        )
        return opened(tmp_path / name, **settings)

    return read


def refusal(table: Any, text: str | bytes, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        table(text, **settings)
    assert "\n" not in str(caught.value)
    said = str(caught.value)
    return said[said.index("t.csv") :]


def text_of(tokens: list[int]) -> str:
    return bytes(token - 1 for token in tokens).decode()


GOOD = [(f"c{i % 3}", i % 2, [i * i, i / 2]) for i in range(6)]


# Types


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


# Every byte


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


# How it is written


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


def test_columns_are_chosen_and_left_out_by_name_and_pattern(table: Any) -> None:
    text = "name,client,label,p1,p2,q\n" + "Anna,c0,0,1,2,x\nBob,c1,1,3,4,y\n"
    rows, summary = table(text, feature_columns=["p*"])
    assert [x for _, _, x in rows] == [[1, 2], [3, 4]]
    assert summary.left_out == ("columns that data.feature_columns does not name: name, q",)
    rows, summary = table(text, ignore_columns=["name", "q"])
    assert [x for _, _, x in rows] == [[1, 2], [3, 4]]
    assert summary.left_out == ("columns that data.ignore_columns names: name, q",)
    assert (
        "2 columns of texts: name ('Anna'), q ('x'), from row 1 on. Leave them out with data.ignore_columns=[name, q]"
        in refusal(table, text)
    )
    assert "data.ignore_columns names 'nam', found no such column" in refusal(
        table, text, ignore_columns=["nam"]
    )
    assert "data.label_column=label is left out by data.ignore_columns" in refusal(
        table, text, ignore_columns=["label"]
    )
    assert "data.feature_columns names label, which is client, label or split" in refusal(
        table, text, feature_columns=["label", "p1"]
    )


# The index


@pytest.mark.parametrize("kept", [slice(None), slice(7, None)])
@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_the_index_of_pandas_is_never_a_feature(tmp_path: Path, source: str, kept: slice) -> None:
    frame = pd.DataFrame(
        {"client": ["a", "b"] * 20, "label": [0] * 20 + [1] * 20, "x": np.arange(40) % 7, "y": 1.5}
    )
    frame = frame[frame.x != 3] if source == "parquet" else frame[kept]
    path = tmp_path / f"t.{source}"
    frame.to_csv(path) if source == "csv" else frame.to_parquet(path)
    rows, summary = opened(path, source)
    assert summary.columns == ("x", "y")
    assert [x for _, _, x in rows] == frame[["x", "y"]].to_numpy().tolist()
    assert any("pandas' index" in text for text in summary.left_out)
    pd.read_csv(path).to_csv(
        path
    ) if source == "csv" else None  # written twice, as `Unnamed: 0` beside another
    assert opened(path, source)[1].columns == ("x", "y")


def test_an_index_with_a_name_is_left_out_and_a_client_in_it_is_the_client(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"client": ["a", "b"] * 5, "label": [0, 1] * 5, "x": 1.0, "key": range(100, 110)}
    )
    frame.set_index("key").to_parquet(tmp_path / "t.parquet")
    assert opened(tmp_path / "t.parquet", "parquet")[1].columns == ("x",)
    frame.set_index("client").to_parquet(tmp_path / "t.parquet")
    rows, summary = opened(tmp_path / "t.parquet", "parquet")
    assert {client for client, _, _ in rows} == {"a", "b"}
    assert "the column key numbers the rows and is a feature" in " ".join(summary.notes)
    frame.rename(columns={"key": "id"}).to_csv(tmp_path / "t.csv", index=False)
    rows, summary = opened(tmp_path / "t.csv")
    assert (summary.columns, summary.left_out) == (("x",), ("columns that number the rows: id",))


@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_row_numbers_are_no_feature_in_whatever_order_the_rows_are(
    tmp_path: Path, source: str
) -> None:
    frame = pd.DataFrame(
        {"client": ["a", "b"] * 20, "label": [0] * 20 + [1] * 20, "x": np.arange(40) % 7}
    )
    path = tmp_path / f"t.{source}"

    def read(table: pd.DataFrame) -> SourceSummary:
        table.to_csv(path, index=False) if source == "csv" else table.to_parquet(path)
        return opened(path, source)[1]

    shuffled = frame.sample(frac=1, random_state=1)
    for name in ("index", "level_0", "id", "ROW_ID"):
        for table in (
            shuffled,
            shuffled.iloc[::-1],
            shuffled[:25],
        ):  # some of the rows: the numbers have gaps
            summary = read(table.rename_axis(name).reset_index())
            assert summary.columns == ("x",), name
            assert summary.left_out == (f"columns that number the rows: {name}",)
    assert read(shuffled[:25].rename_axis("obs").reset_index()).columns == (
        "obs",
        "x",
    )  # a gap: perhaps a quantity
    assert read(shuffled.rename_axis("obs").reset_index()).columns == ("x",)
    assert read(frame.assign(id=np.arange(40) // 2)).columns == (
        "x",
        "id",
    )  # numbers that stand twice number no rows
    summary = read(shuffled.rename_axis("key").reset_index())
    assert summary.columns == ("key", "x")
    assert "the column key numbers the rows and is a feature" in " ".join(summary.notes)
    assert read(frame.assign(key=2**53 + 1)).notes == ()


def test_row_numbers_are_told_apart_within_a_bound_of_memory() -> None:
    generator = np.random.default_rng(1)
    for first in (0, -5, 10**15):
        numbers = DistinctNumbers(20_000)
        assert all(
            numbers.add(part) for part in np.split(first + generator.permutation(10_000), 10)
        )
        assert numbers.number_rows(gaps=False)
        assert not numbers.add(np.array([first + 17]))
    numbers = DistinctNumbers(20_000)
    assert numbers.add(np.arange(0, 40, 2))
    assert (numbers.number_rows(gaps=False), numbers.number_rows(gaps=True)) == (False, True)
    assert not numbers.add(np.array([10**9]))
    assert not DistinctNumbers(100).add(np.array([2**64 - 1], np.uint64))


# Folders


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


# Images


def encoded(value: int, size: tuple[int, int] = (5, 4), kind: str = "PNG") -> bytes:
    from PIL import Image

    body = io.BytesIO()
    Image.new("L", size, value).save(body, kind)
    return body.getvalue()


@pytest.mark.parametrize("wrapped", [True, False])
def test_images_in_parquet_are_images(tmp_path: Path, wrapped: bool) -> None:
    images: list[Any] = [encoded(i * 4) for i in range(6)]
    kind: Any = pa.binary()
    if wrapped:
        images, kind = (
            [{"bytes": image, "path": None} for image in images],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    columns = {
        "image": pa.array(images, kind),
        "writer": ["f1", "f2"] * 3,
        "hsf_id": [0] * 6,
        "character": [0, 1, 2] * 2,
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    config = DataConfig(
        source="parquet",
        path="t.parquet",
        client_column="writer",
        label_column="character",
        clients=None,
    )
    manifest = prepare_shards(config, tmp_path / "shards", tmp_path)
    assert (manifest.feature_shape, manifest.feature_dtype, manifest.num_classes) == (
        (4, 5),
        "uint8",
        3,
    )
    rows, summary = opened(
        tmp_path / "t.parquet", "parquet", client_column="writer", label_column="character"
    )
    assert [np.unique(x).tolist() for _, _, x in rows] == [[i * 4] for i in range(6)]
    assert summary.left_out == ("columns beside the images in image: hsf_id",)
    images[4] = {"bytes": b"no image", "path": None} if wrapped else b"no image"
    pq.write_table(pa.table({**columns, "image": pa.array(images, kind)}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet, row 5, column image: expected an image"):
        opened(tmp_path / "t.parquet", "parquet", client_column="writer", label_column="character")


def test_a_path_in_the_place_of_an_image_and_images_of_two_sizes_are_refused(
    tmp_path: Path,
) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for image, said in (
        ({"bytes": None, "path": "a.png"}, "found only the path 'a.png'"),
        ({"bytes": encoded(1, (9, 9)), "path": None}, "like the first"),
    ):
        rows = pa.array([{"bytes": encoded(1), "path": None}, image], kind)
        pq.write_table(
            pa.table({"image": rows, "client": ["a", "a"], "label": [0, 1]}), tmp_path / "t.parquet"
        )
        with pytest.raises(DataError, match=f"row 2, column image: .*{said}"):
            opened(tmp_path / "t.parquet", "parquet")


# Refusals


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


def test_wrong_settings_are_named(table: Any) -> None:
    semicolons = (HEADER + ROWS).replace(",", ";")
    assert "has one column: set data.separator=';'" in refusal(table, semicolons, separator=",")
    assert (
        "data.encoding says, found the byte order mark of utf-16. Set data.encoding=utf-16"
        in refusal(table, (HEADER + ROWS).encode("utf-16"), encoding="latin-1")
    )
    assert "found the byte order mark of utf-8" in refusal(
        table, (HEADER + ROWS).encode("utf-8-sig"), encoding="cp1252"
    )


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


def test_a_null_in_parquet_is_named_with_row_and_column(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"client": ["a"] * 3, "label": [0, 1, 0], "x": [1.0, 2.0, None], "y": [1, 2, 3]}),
        tmp_path / "t.parquet",
    )
    with pytest.raises(
        DataError, match=r"t\.parquet: row 3, column x: expected a value, found none \(null\)"
    ):
        opened(tmp_path / "t.parquet", "parquet")


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


def test_each_file_of_a_folder_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "0.csv").write_text(HEADER + ROWS)
    (tmp_path / "t" / "1.csv").write_text("\ufeff" + HEADER + ROWS, encoding="utf-8")
    assert opened(tmp_path / "t")[0] == GOOD * 2


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_colour_images_may_begin_with_one_that_looks_grey(tmp_path: Path) -> None:
    black, red = np.zeros((2, 2, 3)), np.full((2, 2, 3), (255, 0, 0))
    columns = {"client": ["a"] * 2, "label": [0, 1]}
    for second, shape in ((red, (2, 2, 3)), (black, (2, 2)), (black[..., 0], (2, 2))):
        image = pa.array([png(black), png(second)]).dictionary_encode()
        pq.write_table(pa.table({**columns, "image": image}), tmp_path / "t.parquet")
        rows, _ = opened(tmp_path / "t.parquet", "parquet")
        assert [np.shape(x) for _, _, x in rows] == [shape, shape]
    pq.write_table(pa.table({**columns, "image": ["a/1.png", "a/2.JPG"]}), tmp_path / "t.parquet")
    assert "the texts in image look like names of image files" in " ".join(
        opened(tmp_path / "t.parquet", "parquet")[1].notes
    )


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


# What is said


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


def test_the_separator_of_hive_can_be_set(table: Any) -> None:
    assert table((HEADER + ROWS).replace(",", "\x01"), separator="\x01")[0] == GOOD


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


def test_features_are_found_by_name_without_labels(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "b;client;extra;a\n" + "".join(f"{i};c;x;{i * 2}\n" for i in range(5000))
    )
    features = open_features(DataConfig(source="csv"), tmp_path / "t.csv", ("a", "b"))
    assert (features.names, features.surplus) == (("a", "b"), ("extra",))
    x = np.concatenate([np.asarray(rows.x) for rows in features.rows()])
    assert x.tolist() == [[i * 2, i] for i in range(5000)]
    assert next(iter(features.rows())).first_row == 1
    with pytest.raises(
        DataError, match="expected the 2 columns that the model was trained on, found no c"
    ):
        open_features(DataConfig(source="csv"), tmp_path / "t.csv", ("a", "c"))


def test_spaces_between_cells_and_names_in_single_quotes(table: Any) -> None:
    rows, summary = table("'client' 'label' 'a' 'c'\nc0 0 1 2\nc1 1 3 4\n")
    assert rows == [("c0", 0, [1, 2]), ("c1", 1, [3, 4])]
    assert summary.columns == ("a", "c")
    assert "separator space (detected)" in summary.format


def test_a_header_without_rows_is_refused_where_only_some_columns_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("client,label,a\n")
    features = open_features(DataConfig(source="csv"), tmp_path / "t.csv", ("a",))
    with pytest.raises(DataError, match="expected rows below the header, found none"):
        list(features.rows())
