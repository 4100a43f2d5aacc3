"""Label, client, split and features: by name, and never a row number."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.sources import SourceSummary
from fedpipe.data.sources.tabular import open_features
from fedpipe.errors import DataError
from tests.unit.data.sources.tables import HEADER, ROWS, opened, refusal


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


def test_a_column_that_folders_name_takes_its_place_among_features(tmp_path: Path) -> None:
    for k in (7, 8):
        (tmp_path / "t" / f"k={k}").mkdir(parents=True)
        (tmp_path / "t" / f"k={k}" / "a.csv").write_text("a,b\n1,2\n")
    features = open_features(DataConfig(source="csv"), tmp_path / "t", ("b", "k", "a"))
    assert [np.asarray(rows.x).tolist() for rows in features.rows()] == [[[2, 7, 1]], [[2, 8, 1]]]
