"""Labels and client ids as users have them: which become classes and clients, under which names, and which are refused with their row."""

import datetime
import decimal
import json
import sqlite3
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.labels import id_notes, label_notes
from fedpipe.data.manifest import Manifest
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import Batch, Source
from fedpipe.data.sources.label_checks import check_ids, check_labels
from fedpipe.data.sources.places import BatchPlace
from fedpipe.errors import DataError

Prepare = Callable[..., tuple[Manifest, Population]]
CLIENTS = ["a", "a", "b", "b"] * 3
X = np.arange(24, dtype=np.float32).reshape(12, 2)


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Return a function that prepares batches as a source of the user's own gives them."""

    def run(
        *batches: Batch, num_classes: int | None = None, **changes: Any
    ) -> tuple[Manifest, Population]:
        monkeypatch.setattr(
            "fedpipe.data.sources.custom.import_own",
            lambda *_: lambda *_: Source(lambda: iter(batches), num_classes),
        )
        settings: dict[str, Any] = {"source": "of_a_test:source", "clients": None} | changes
        manifest = prepare_shards(DataConfig(**settings), tmp_path / "shards", tmp_path)
        return manifest, Population.open(tmp_path / "shards")

    return run


def labels_by_features(population: Population) -> dict[float, int]:
    """Return the class of each example by its first feature, which is 0, 2, 4, ... in the source's order."""
    parts = [
        population.examples(c, split)
        for split in ("train", "test")
        for c in population.client_ids(split)
    ]
    return {float(x[0]): int(y) for part in parts for x, y in zip(part.x, part.y, strict=True)}


@pytest.mark.parametrize(
    ("values", "vocabulary"),
    [
        ([0, 1, 2], None),
        ([0.0, 1.0, 2.0], None),
        ([np.int8(0), np.uint64(1), 2], None),
        ([decimal.Decimal("0"), decimal.Decimal("1.00"), decimal.Decimal("2")], None),
        ([1, 2, 3], ("1", "2", "3")),
        ([0, 2, 5], ("0", "2", "5")),
        ([-1, 0, 1], ("-1", "0", "1")),
        ([20230115, 20230116, 7], ("7", "20230115", "20230116")),
        ([2, 10, 100], ("2", "10", "100")),
        ([2**63, 2**64 - 1, -(2**80)], (str(-(2**80)), str(2**63), str(2**64 - 1))),
        (["cat", "dog", "ant"], ("ant", "cat", "dog")),
        (["007", "008", "7"], ("007", "008", "7")),
        ([b"cat", b"dog", "zo\xeb".encode()], ("cat", "dog", "zoë")),
        (
            [datetime.date(2021, 1, 2), datetime.date(2021, 1, 1), datetime.date(2020, 5, 5)],
            ("2020-05-05", "2021-01-01", "2021-01-02"),
        ),
        (np.array([[3], [1], [2]]), ("1", "2", "3")),
        (np.array([[3.0], [1.0], [2.0]], np.float32), ("1", "2", "3")),
        (np.array(["x", "y", "z"]), ("x", "y", "z")),
        (np.array([b"x", b"y", b"z"]), ("x", "y", "z")),
        (pd.Series([4, 5, 6]), ("4", "5", "6")),
        (pd.Series(["p", "q", "r"], dtype="category"), ("p", "q", "r")),
        (np.array([30, 10, 20], np.uint8), ("10", "20", "30")),
    ],
)
def test_the_labels_that_occur_are_the_classes(
    prepare: Prepare, values: Any, vocabulary: tuple[str, ...] | None
) -> None:
    columns = [pd.concat([values] * 4)] if isinstance(values, pd.Series) else None
    y = (
        columns[0]
        if columns
        else np.concatenate([values] * 4)
        if isinstance(values, np.ndarray)
        else values * 4
    )
    manifest, population = prepare(Batch(X, y, CLIENTS))
    assert (manifest.num_classes, manifest.vocabulary) == (3, vocabulary)
    names = vocabulary or ("0", "1", "2")
    plain = [
        value.decode() if isinstance(value, bytes) else value
        for value in np.asarray(values).ravel().tolist()
    ]
    expected = [
        str(int(value)) if isinstance(value, float | decimal.Decimal) else str(value)
        for value in plain * 4
    ]
    found = labels_by_features(population)
    assert [names[found[2.0 * row]] for row in range(12)] == expected


@pytest.mark.parametrize(
    "y", [[True, False] * 6, np.array([True, False] * 6), np.array([[True], [False]] * 6)]
)
def test_booleans_are_two_classes(prepare: Prepare, y: Any) -> None:
    manifest, population = prepare(Batch(X, y, CLIENTS))
    assert (manifest.num_classes, manifest.vocabulary) == (2, ("False", "True"))
    assert labels_by_features(population)[0.0] == 1


def test_a_source_that_says_its_number_of_classes_keeps_them_all(prepare: Prepare) -> None:
    manifest, population = prepare(Batch(X, [0, 3] * 6, CLIENTS), num_classes=5)
    assert (manifest.num_classes, manifest.vocabulary) == (5, None)
    assert set(labels_by_features(population).values()) == {0, 3}


@pytest.mark.parametrize(
    ("y", "num_classes", "message"),
    [
        ([0, 5] * 6, 5, r"expected labels 0\.\.4, as the source's num_classes says, found 5\."),
        ([0, -1] * 6, 5, r"expected labels 0\.\.4, as the source's num_classes says, found -1\."),
        (
            ["a", "b"] * 6,
            3,
            r"expected 3 different labels, as the source's num_classes says, found 2\.",
        ),
        ([0.5, 1.0] * 6, None, r"found 0\.5 at row 0 .*make classes of it \(bins\)"),
        (np.linspace(0, 1, 12), None, r"found 0\.0909\d* at row 1 .*make classes of it"),
        ([0, 1, None] * 4, None, r"expected labels in every row, found none .* at row 2 "),
        (
            np.array([0.0, 1.0, np.nan] * 4),
            None,
            r"expected labels in every row, found none .* at row 2 ",
        ),
        (["a", "", "b"] * 4, None, r"expected labels in every row, found none .* at row 1 "),
        (
            pd.Series([1, None, 2] * 4, dtype="Int64"),
            None,
            r"expected labels in every row, found none .* at row 1 ",
        ),
        (
            np.array(["2021-01-01", "NaT"] * 6, "datetime64[D]"),
            None,
            r"expected labels in every row, found none .* at row 1 ",
        ),
        (
            np.ma.masked_equal([0, 1, 9] * 4, 9),
            None,
            r"expected labels in every row, found none .* at row 2 ",
        ),
        ([1.0, float("inf")] * 6, None, r"found inf at row 1 "),
        (
            ["a", 1] * 6,
            None,
            r"labels of one kind, found a whole number, 1, at row 1 .* after a text",
        ),
        (
            [1, "a"] * 6,
            None,
            r"labels of one kind, found a text, 'a', at row 1 .* after a whole number",
        ),
        (
            [b"\xff", b"a"] * 6,
            None,
            r"labels that are texts in UTF-8, found the bytes b'\\xff' at row 0 ",
        ),
        (
            np.eye(3)[[0, 1, 2] * 4],
            None,
            r"expected one label for each example, found labels of shape \[12, 3\]\..*argmax",
        ),
        (
            [[0, 1], [1, 0]] * 6,
            None,
            r"expected one label for each example, found labels of shape \[12, 2\]",
        ),
        ([[0], [1, 0]] * 6, None, r"found a list, \[0\] at row 0 "),
        ([1j, 2j] * 6, None, r"found 1j at row 0 "),
        (
            np.array([2.0**24 + 2, 1] * 6, np.float32),
            None,
            r"found 16777218\.0, a float so large .* at row 0 ",
        ),
    ],
)
def test_what_is_no_class_is_refused_with_its_row(
    prepare: Prepare, y: Any, num_classes: int | None, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        prepare(Batch(X, y, CLIENTS), num_classes=num_classes)
    assert "\n" not in str(caught.value)


def test_rows_are_counted_over_all_batches(prepare: Prepare) -> None:
    with pytest.raises(DataError, match=r"found 0\.5 at row 15 \(the first row is 0\)"):
        prepare(Batch(X, [0, 1] * 6, CLIENTS), Batch(X, [0, 1, 0, 0.5] * 3, CLIENTS))
    with pytest.raises(
        DataError,
        match=r"found labels whole numbers after texts|labels whole numbers after texts from row 12 on",
    ):
        prepare(Batch(X, ["a", "b"] * 6, CLIENTS), Batch(X, [0, 1] * 6, CLIENTS))


def test_floats_in_one_batch_and_whole_numbers_in_another_are_one_label(prepare: Prepare) -> None:
    manifest, _ = prepare(
        Batch(X, [1.0, 3.0] * 6, CLIENTS), Batch(X, np.array([1, 3] * 6, np.int16), CLIENTS)
    )
    assert manifest.vocabulary == ("1", "3")


def test_a_class_costs_memory_and_a_large_label_does_not(prepare: Prepare) -> None:
    """A table of labels up to 2,000,000,001 would take 8 GB; one of 10,000 classes squared 400 MB."""
    tracemalloc.start()
    try:
        classes = 10_000
        x = np.zeros((2 * classes, 1), np.float32)
        y = np.arange(2 * classes) % classes * 200_003
        manifest, population = prepare(Batch(x, y, [f"c{i % 50}" for i in range(2 * classes)]))
        assert manifest.num_classes == classes
        assert manifest.vocabulary is not None
        assert manifest.vocabulary[-1] == str(9_999 * 200_003)
        assert max(labels_by_features(population).values()) < classes
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_labels_that_look_like_a_quantity_are_noted(prepare: Prepare) -> None:
    x = np.zeros((442, 1), np.float32)
    target = np.random.default_rng(1).integers(25, 347, 442)
    manifest, _ = prepare(Batch(x, target, [f"c{i % 5}" for i in range(442)]))
    (note,) = manifest.notes
    assert (
        f"the labels are {len(set(target.tolist()))} whole numbers from 26 to 346, and each became a class"
        in note
    )
    assert json.loads(manifest.to_json())["notes"] == [note]
    assert Manifest.model_validate_json(manifest.to_json()) == manifest
    manifest, _ = prepare(Batch(x, target % 7, [f"c{i % 5}" for i in range(442)]))
    assert "notes" not in json.loads(manifest.to_json())
    manifest, _ = prepare(Batch(x, np.zeros(442, int), [f"c{i % 5}" for i in range(442)]))
    assert "same label, 0: there is nothing to learn" in manifest.notes[0]
    manifest, _ = prepare(
        Batch(x, [f"row {i}" for i in range(442)], [f"c{i % 5}" for i in range(442)])
    )
    assert "442 different labels in 442 examples" in manifest.notes[0]


IDS: list[tuple[Any, tuple[str, ...]]] = [
    (["c1", "c0"], ("c0", "c1")),
    ([b"c1", b"c0"], ("c0", "c1")),
    (np.array([b"c1", b"c0"]), ("c0", "c1")),
    (np.array(["c1", "c0"]), ("c0", "c1")),
    ([1, 0], ("0", "1")),
    ([1.0, 0.0], ("0", "1")),
    ([1.0, 1], ("1",)),
    (["1", 1.0], ("1",)),
    ([1.5, 2.0], ("1.5", "2")),
    ([np.int64(7), np.float32(3.0)], ("3", "7")),
    (np.array([10.0, 9.0], np.float32), ("10", "9")),
    ([2**70, -1], ("-1", str(2**70))),
    (
        [uuid.UUID(int=5), uuid.UUID(int=6)],
        ("00000000-0000-0000-0000-000000000005", "00000000-0000-0000-0000-000000000006"),
    ),
    ([datetime.date(2021, 1, 2), datetime.date(2021, 1, 1)], ("2021-01-01", "2021-01-02")),
    (
        np.array(["2021-01-02", "2021-01-01"], "datetime64[ns]"),
        ("2021-01-01T00:00:00.000000000", "2021-01-02T00:00:00.000000000"),
    ),
    (np.array([[5], [6]]), ("5", "6")),
    (pd.Series([5, 6], dtype="Int64"), ("5", "6")),
    ([decimal.Decimal("5.0"), decimal.Decimal("6")], ("5", "6")),
    (["007", "7"], ("007", "7")),
]


@pytest.mark.parametrize(("ids", "expected"), IDS)
def test_ids_are_the_texts_that_the_user_means(
    prepare: Prepare, ids: Any, expected: tuple[str, ...]
) -> None:
    column = (
        ids * 6
        if isinstance(ids, list)
        else pd.concat([ids] * 6)
        if isinstance(ids, pd.Series)
        else np.concatenate([ids] * 6)
    )
    _, population = prepare(Batch(X, [0, 1] * 6, column))
    assert population.client_ids() == expected


@pytest.mark.parametrize(
    "missing",
    [
        None,
        float("nan"),
        np.float32("nan"),
        pd.NaT,
        pd.NA,
        np.datetime64("NaT"),
        decimal.Decimal("NaN"),
        "",
        b"",
    ],
)
def test_a_missing_id_is_refused_with_its_row(missing: Any) -> None:
    with pytest.raises(
        DataError,
        match=r"client ids .* found (none|0)\b.* at row 6 \(the first row is 3\)\. .*remove the row",
    ):
        check_ids(["a", "b", "c", missing], BatchPlace("f", 3, counted_from=3))
    with pytest.raises(
        DataError, match=r"labels in every row, found none .* at row 3 \(the first row is 0\)"
    ):
        check_labels(["a", "b", "c", missing], BatchPlace("f"))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"\xc8", r"texts in UTF-8, found the bytes b'\\xc8' at row 1"),
        ("\ud800", r"ids that UTF-8 can write, found another at row 1"),
        ("x" * 1001, r"of 1 to 1000 characters, found 1001 at row 1"),
        (float("inf"), r"texts or whole numbers, found inf at row 1"),
        (["a"], r"found a list, \['a'\] at row 1"),
        ({"a": 1}, r"found a dict, .* at row 1"),
        (2.0**60, r"told apart, found 1\.15\d*e\+18, a float so large"),
    ],
)
def test_what_is_no_id_is_refused_with_its_row(bad: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_ids(["a", bad, "c"], BatchPlace("f"))


def test_ids_that_look_missing_are_noted(prepare: Prepare) -> None:
    manifest, _ = prepare(Batch(X, [0, 1] * 6, np.array(["a", float("nan")] * 6)))
    assert "a client is called nan" in manifest.notes[0]


def write(folder: Path, source: str, ids: list[Any], labels: list[Any]) -> str:
    """Write examples as a file of the source, as the libraries of its users would."""
    x = np.arange(2 * len(ids), dtype=np.float64).reshape(-1, 2)
    if source == "npz":
        np.savez(folder / "f.npz", x=x, label=np.array(labels), client=np.array(ids))
        return "f.npz"
    if source == "parquet":
        pq.write_table(
            pa.table({"client": ids, "label": labels, "p": x[:, 0], "q": x[:, 1]}),
            folder / "f.parquet",
        )
        return "f.parquet"
    import tensorflow as tf

    (folder / "f.sqlite").unlink(missing_ok=True)
    with sqlite3.connect(folder / "f.sqlite") as connection:
        connection.execute(
            "CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)"
        )
        for client, label, vector in zip(ids, labels, x.tolist(), strict=True):
            kinds = {
                bytes: lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])),
                str: lambda value: tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[value.encode()])
                ),
                int: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=[value])),
                float: lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=[value])),
            }
            feature = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=vector)),
                "label": kinds[type(label)](label),
            }
            proto = tf.train.Example(
                features=tf.train.Features(feature=feature)
            ).SerializeToString()
            connection.execute("INSERT INTO examples VALUES ('train', ?, ?)", (client, proto))
    connection.close()
    return "f.sqlite"


@pytest.mark.parametrize("source", ["npz", "parquet", "sqlite"])
@pytest.mark.parametrize(
    ("ids", "labels", "expected_ids", "vocabulary"),
    [
        ([b"c1", b"c0"], [20230115, 20230116], ("c0", "c1"), ("20230115", "20230116")),
        ([1.0, 2.0], [1.0, 0.0], ("1", "2"), None),
        ([10, 9], [b"cat", b"dog"], ("10", "9"), ("cat", "dog")),
        (["a", "b"], ["007", "008"], ("a", "b"), ("007", "008")),
    ],
)
def test_files_give_the_same_labels_and_ids(
    tmp_path: Path,
    source: str,
    ids: list[Any],
    labels: list[Any],
    expected_ids: tuple[str, ...],
    vocabulary: tuple[str, ...] | None,
) -> None:
    if source == "sqlite" and isinstance(ids[0], int | float):
        ids = [str(int(one)) for one in ids]  # the column's type makes texts of numbers
    name = write(tmp_path, source, ids * 4, labels * 4)
    manifest = prepare_shards(
        DataConfig(source=source, path=name, clients=None), tmp_path / "shards", tmp_path
    )
    assert (manifest.vocabulary, manifest.num_classes) == (vocabulary, 2)
    assert Population.open(tmp_path / "shards").client_ids() == expected_ids


@pytest.mark.parametrize("source", ["npz", "parquet"])
def test_files_with_a_missing_value_are_refused_with_its_row(tmp_path: Path, source: str) -> None:
    ids, labels = [1.0, 2.0] * 5000, [0.0, 1.0] * 5000
    ids[7001] = float("nan")
    name = write(tmp_path, source, ids, labels)
    with pytest.raises(
        DataError,
        match=rf"{name}: expected client ids in every row, found none .* at row 700[1-3] \(the first row is",
    ):
        prepare_shards(
            DataConfig(source=source, path=name, clients=None), tmp_path / "shards", tmp_path
        )
    ids[7001], labels[6003] = 1.0, 0.25
    name = write(tmp_path, source, ids, labels)
    with pytest.raises(DataError, match=r"expected labels .* found 0\.25 at row 600[3-5] "):
        prepare_shards(
            DataConfig(source=source, path=name, clients=None), tmp_path / "shards", tmp_path
        )


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (
            {"x": [1.0], "z": [2.0, 3.0]},
            "features of one length in each example, found others at row 3",
        ),  # as many in all
        ({"x": [b"1", b"2"], "z": [3.0]}, "features that are numbers, found texts at row 3"),
        ({"x": [1.0, 2.0]}, "the same others in each example"),
    ],
)
def test_examples_in_sqlite_have_the_same_features(
    tmp_path: Path, late: dict[str, list[Any]], message: str
) -> None:
    import tensorflow as tf

    def feature(values: list[Any]) -> Any:
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    with sqlite3.connect(tmp_path / "f.sqlite") as connection:
        connection.execute(
            "CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)"
        )
        for columns in [{"x": [1.0, 2.0], "z": [3.0]}] * 3 + [late]:
            features = {
                name: feature(values) for name, values in {**columns, "label": [1.0]}.items()
            }
            proto = tf.train.Example(
                features=tf.train.Features(feature=features)
            ).SerializeToString()
            connection.execute("INSERT INTO examples VALUES ('train', 'c', ?)", (proto,))
    connection.close()
    with pytest.raises(DataError, match=message):
        prepare_shards(
            DataConfig(source="sqlite", path="f.sqlite", clients=None),
            tmp_path / "shards",
            tmp_path,
        )
    (tmp_path / "f.sqlite").write_text("a text")
    with pytest.raises(
        DataError,
        match=r"found 6 bytes\. Replace the file, or correct data\.path or data\.source\.",
    ):
        prepare_shards(
            DataConfig(source="sqlite", path="f.sqlite", clients=None),
            tmp_path / "shards",
            tmp_path,
        )


def leaf(folder: Path, **parts: Any) -> str:
    body = {
        "users": list(parts),
        "num_samples": [len(part["y"]) for part in parts.values()],
        "user_data": parts,
    }
    (folder / "f.json").write_text(json.dumps(body))
    return "f.json"


def test_leaf_labels(tmp_path: Path) -> None:
    config = DataConfig(source="leaf", path="f.json", clients=None)
    leaf(tmp_path, u={"x": [[1], [2]], "y": [[3.0], [5]]}, v={"x": [[1], [2]], "y": [5, 3]})
    assert prepare_shards(config, tmp_path / "shards", tmp_path).vocabulary == ("3", "5")
    (tmp_path / "f.json").write_text("\ufeff" + (tmp_path / "f.json").read_text(), encoding="utf-8")
    assert prepare_shards(config, tmp_path / "shards", tmp_path).vocabulary == ("3", "5")
    leaf(tmp_path, u={"x": [[1], [2]], "y": [0, 1]}, v={"x": [[1], [2]], "y": ["a", "b"]})
    with pytest.raises(DataError, match="labels texts after whole numbers from row 2 on"):
        prepare_shards(config, tmp_path / "shards", tmp_path)
    leaf(tmp_path, u={"x": [[1], [None]], "y": [0, 1]})
    with pytest.raises(
        DataError, match=r"\(user 'u'\): expected finite features, found NaN at row 1 "
    ):
        prepare_shards(config, tmp_path / "shards", tmp_path)
    leaf(tmp_path, u={"x": [[1], [2]], "y": [0, None]})
    with pytest.raises(
        DataError, match=r"\(user 'u'\): expected labels in every row, found none .* at row 1 "
    ):
        prepare_shards(config, tmp_path / "shards", tmp_path)


def changed(**columns: Any) -> Batch:
    return Batch(**({"x": X, "y": [0, 1] * 6, "clients": CLIENTS} | columns))


def with_value(value: float, dtype: type = np.float64) -> Any:
    x = X.astype(dtype)
    x[7, 1] = value
    return x


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": with_value(np.nan)}, r"found NaN at row 7 \(the first row is 0\), value 1 of 2\."),
        ({"x": with_value(-np.inf, np.float32)}, r"found infinity at row 7 "),
        ({"x": with_value(1e39)}, r"found 1e\+39, a number too large for float32, at row 7 "),
        ({"x": np.ma.masked_equal(X, 14)}, r"found NaN at row 7 "),
        (
            {"x": X.astype(object)},
            r"features that are numbers, found object of shape \(2,\) from row 0 .*astype",
        ),
        ({"x": X.astype(complex)}, r"features that are numbers, found complex128"),
        ({"x": X.astype(str)}, r"features that are numbers, found <U"),
        (
            {"x": X[:, 0]},
            r"expected features \[examples, \.\.\.\] with values, found an array of shape \[12\] .*x\[:, None\]",
        ),
        ({"x": X[:, :0]}, r"found an array of shape \[12, 0\]"),
        (
            {"x": X[:11]},
            r"as many values in each column of a batch, found x has 11, y has 12, clients has 12, from row 0 ",
        ),
        ({"y": [0] * 13}, r"found x has 12, y has 13, clients has 12"),
        ({"clients": CLIENTS[:3]}, r"found x has 12, y has 12, clients has 3"),
        (
            {"clients": "a"},
            r"expected clients to be a list or an array with a value for each example, found 'a'",
        ),
        ({"y": 1}, r"expected y to be a list or an array with a value for each example, found 1"),
        (
            {"x": [[1.0, 2.0], [1.0]] * 6},
            r"features of one shape, or sequences of whole numbers, found several shapes",
        ),
        ({"x": [np.array([1, 0])] * 12}, r"whole numbers from 1 \(0 pads\)"),
        ({"x": np.full((12, 1), 2**40)}, r"features that fit int32, found others at row 0 "),
        (
            {"is_test": np.array([0, 2] * 6)},
            r"true or false for each example as the mark of the test split",
        ),
    ],
)
def test_features_of_an_own_source_are_checked_before_training(
    prepare: Prepare, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        prepare(changed(**columns))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "dtype", "shape"),
    [
        ({"x": X.astype(np.float64)}, "float32", (2,)),
        ({"x": X.astype(np.float16)}, "float32", (2,)),
        ({"x": X.astype(bool)}, "float32", (2,)),
        ({"x": X.tolist()}, "float32", (2,)),
        ({"x": pd.DataFrame(X)}, "float32", (2,)),
        ({"x": X.astype(np.int64)}, "int32", (2,)),
        ({"x": X.astype(">f4")}, "float32", (2,)),
        ({"x": [[1, 2, 3], [4]] * 6}, "int32", (3,)),
        ({"is_test": [0, 1] * 6}, "float32", (2,)),
        ({"is_test": np.array([[True], [False]] * 6)}, "float32", (2,)),
        ({"is_test": ["train", "test"] * 6}, "float32", (2,)),
    ],
)
def test_columns_of_other_kinds_are_converted(
    prepare: Prepare, columns: dict[str, Any], dtype: str, shape: tuple[int, ...]
) -> None:
    manifest, _ = prepare(changed(**columns))
    assert (manifest.feature_dtype, manifest.feature_shape) == (dtype, shape)
    assert sum(manifest.examples.values()) == 12
    if "is_test" in columns:
        assert manifest.examples["test"] == 6


@pytest.mark.parametrize(
    "wrong",
    [{"x": X[:, :1]}, {"x": X.astype(np.uint8)}, {"clients": None}, {"is_test": [False] * 12}],
)
def test_batches_that_differ_are_refused_with_the_row(
    prepare: Prepare, wrong: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match=r"expected all examples alike, found .* from row 12 on"):
        prepare(changed(), changed(**wrong))
    with pytest.raises(
        DataError,
        match=r"found clients none after given, test split given after none from row 12 on",
    ):
        prepare(changed(), changed(clients=None, is_test=[0, 1] * 6))


class Tensor:
    """What tensors of other libraries have in common."""

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.value if dtype is None else self.value.astype(dtype)

    def __len__(self) -> int:
        return len(self.value)


def test_lists_of_tensors_and_batches_without_examples_are_taken(prepare: Prepare) -> None:
    nothing = Batch(np.empty((0, 2)), [], [])
    tensors = changed(x=[Tensor(x) for x in X], y=[Tensor(label) for label in [3, 5] * 6])
    manifest, population = prepare(nothing, tensors, Batch([], [], []), changed(y=[3, 5] * 6))
    assert (manifest.vocabulary, sum(manifest.examples.values())) == (("3", "5"), 24)
    assert set(labels_by_features(population).items()) == {
        (float(2 * row), row % 2) for row in range(12)
    }
    with pytest.raises(DataError, match=r"expected labels in every row, found none .* at row 1 "):
        prepare(changed(y=[Tensor(1.0), Tensor(np.nan)] * 6))


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "2", True])
def test_a_number_of_classes_that_is_none_is_refused(prepare: Prepare, wrong: Any) -> None:
    with pytest.raises(
        DataError, match=r"expected num_classes to be a whole number from 1, or None"
    ):
        prepare(changed(), num_classes=wrong)


def test_what_is_no_batch_ends_nothing_silently(prepare: Prepare) -> None:
    nothing: Any = None
    with pytest.raises(
        DataError, match=r"expected batches to be fedpipe\.data\.sources\.Batch, found NoneType"
    ):
        prepare(changed(), nothing, changed())
    with pytest.raises(
        DataError, match=r"while checking the batch from row 12 \(the first row is 0\) on"
    ):
        prepare(changed(), changed(x=[[[1], [1, 2]]] * 12))


def test_texts_that_may_not_be_meant_are_said() -> None:
    assert label_notes(("DE", "NA"), 100, None) == [
        "a label such as NA, nan or null, or of spaces alone, occurs and is a class like the others"
    ]
    assert label_notes(("cat", "cat ", "dog"), 100, None) == [
        "labels differ in spaces, case or the way of writing accents alone, and each is a class: 'cat' and 'cat '"
    ]
    assert label_notes((" ", "-", "A", "a"), 100, None) == []  # characters of a text
    assert id_notes(("a", "a ", "e\u0301", "\u00e9")) == [
        "ids of clients differ in spaces or the way of writing accents alone, and each is a client: 'a ' and 'a', 'e\u0301' and '\u00e9'"
    ]
