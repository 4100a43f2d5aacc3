"""Shards of every kind of task from every source: each example keeps its own labels, and what does not fit is refused."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes

from fedpipe.config import DataConfig
from fedpipe.data.label_counts import LabelCounts
from fedpipe.data.manifest import Manifest, TargetRange
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.resident import ResidentCache
from fedpipe.data.sources import Batch, Source
from fedpipe.errors import DataError
from fedpipe.pipeline.describe import understood_lines

Prepare = Callable[..., tuple[Manifest, Population]]
ROWS = 40
CLIENTS = [f"c{row % 4}" for row in range(ROWS)]
PRICE = np.random.default_rng(1).normal(100, 30, ROWS).astype(np.float32)
SIZE = np.arange(ROWS) / 4
SPAM = np.arange(ROWS) % 3 == 0
HAM = np.arange(ROWS) % 2
TAGS = [[tag for tag, has in (("ham", h), ("spam", s)) if has] for h, s in zip(HAM, SPAM, strict=True)]  # fmt: skip


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    def run(kind: str, **settings: Any) -> tuple[Manifest, Population]:
        config = DataConfig(**({"clients": None} | settings))
        manifest = prepare_shards(config, tmp_path / "out" / "shards", tmp_path, (), kind)  # type: ignore[arg-type]
        return manifest, Population.open(tmp_path / "out" / "shards")

    (tmp_path / "out").mkdir()
    return run


def labels_by_row(population: Population) -> list[Any]:
    """Return the labels in the order of the first feature, which is the number of the row."""
    labels = {}
    for split in ("train", "validation", "test"):
        for client_id in population.client_ids(split):  # type: ignore[arg-type]
            examples = population.examples(client_id, split)  # type: ignore[arg-type]
            for x, y in zip(examples.x, examples.y, strict=True):
                labels[float(np.ravel(x)[0])] = y.tolist()
                assert client_id == CLIENTS[int(np.ravel(x)[0])]
    return [labels[row] for row in range(len(labels))]


def table() -> pd.DataFrame:
    return pd.DataFrame({"client": CLIENTS, "row": np.arange(ROWS, dtype=np.float64), "price": PRICE, "size": SIZE})  # fmt: skip


def own_source(monkeypatch: pytest.MonkeyPatch, *batches: Batch, **facts: Any) -> dict[str, Any]:
    monkeypatch.setattr(
        "fedpipe.data.sources.custom.import_own",
        lambda *_: lambda *_: Source(lambda: iter(batches), **facts),
    )
    return {"source": "of_a_test:source"}


def write_sqlite(path: Path, features: list[dict[str, list[float]]]) -> None:
    import tensorflow as tf

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)"
        )
        for client, values in zip(CLIENTS, features, strict=True):
            floats = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=value))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=floats))
            connection.execute(
                "INSERT INTO examples VALUES ('train', ?, ?)", (client, example.SerializeToString())
            )


@pytest.mark.parametrize("source", ["csv", "parquet", "npz", "sqlite", "leaf", "own", "arrays"])
def test_two_targets_from_every_source(
    prepare: Prepare, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: Any = ["price", "size"]
    x = np.arange(ROWS, dtype=np.float32)[:, None]
    both = np.stack([PRICE, SIZE], axis=1)
    if source == "csv":
        table().to_csv(tmp_path / "t", index=False)
    elif source == "parquet":
        table().to_parquet(tmp_path / "t")
    elif source == "npz":
        with (tmp_path / "t").open("wb") as file:
            np.savez(file, x=x, client=np.array(CLIENTS), price=PRICE, size=SIZE)
    elif source == "arrays":
        with (tmp_path / "t").open("wb") as file:
            np.savez(file, x=x, client=np.array(CLIENTS), both=both)
    elif source == "sqlite":
        write_sqlite(
            tmp_path / "t",
            [{"row": [r], "price": [p], "size": [s]} for r, p, s in zip(range(ROWS), PRICE, SIZE, strict=True)],
        )  # fmt: skip
    elif source == "leaf":
        data = {f"c{c}": {"x": x[c::4].tolist(), "y": both[c::4].tolist()} for c in range(4)}
        counts = [len(user["y"]) for user in data.values()]
        body = {"users": list(data), "num_samples": counts, "user_data": data}
        (tmp_path / "t").write_text(json.dumps(body))
    settings: dict[str, Any] = {"source": source, "path": "t", "label_column": names}
    if source == "arrays":
        settings |= {"source": "npz", "label_column": "both"}
        names = ["both_0", "both_1"]
    if source == "leaf":
        settings["label_column"] = "label"
        names = ["label_0", "label_1"]
    if source == "own":
        batches = [Batch(x[:9], both[:9], CLIENTS[:9]), Batch(x[9:], both[9:].tolist(), CLIENTS[9:])]  # fmt: skip
        settings = own_source(monkeypatch, *batches, target_names=names)
    manifest, population = prepare("regression", **settings)
    assert labels_by_row(population) == np.stack([PRICE, SIZE], axis=1).astype(np.float32).tolist()
    assert manifest.targets is not None
    assert manifest.targets.names == tuple(names)
    assert (manifest.outputs, manifest.target_width, manifest.kind) == (2, 2, "regression")
    assert population.central_test().y.dtype == np.float32
    assert population.central_test().y.shape == (manifest.central_test_examples, 2)


def test_ranges_are_of_the_training_examples_of_participating_clients(
    prepare: Prepare, tmp_path: Path
) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    manifest, population = prepare(
        "regression", source="csv", path="t.csv", label_column="price", held_out_fraction=0.25
    )
    trained = np.concatenate([population.examples(c).y[:, 0] for c in population.participating()])
    assert manifest.targets is not None
    (found,) = manifest.targets.ranges
    assert found.mean == pytest.approx(trained.astype(float).mean(), rel=1e-12)
    assert found.std == pytest.approx(trained.astype(float).std(), rel=1e-12)
    assert (found.min, found.max) == (trained.min(), trained.max())
    assert len(population.participating()) == 3
    assert Manifest.model_validate_json(manifest.to_json()) == manifest
    lines = understood_lines(manifest)
    assert "40 examples, 4 clients (natural), 1 target: price" in lines
    values = f"{found.min:.6g} to {found.max:.6g} (training examples)"
    assert f"target price: mean {found.mean:.6g}, std {found.std:.6g}, {values}" in lines


def test_tenths_of_the_first_target_are_the_groups(prepare: Prepare, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    settings = {"source": "csv", "path": "t.csv", "label_column": "price", "client_column": None, "ignore_columns": ["client"]}  # fmt: skip
    manifest, population = prepare(
        "regression", **settings, clients=4, partition="pathological", labels_per_client=5
    )
    assert manifest.num_classes == 10
    assert manifest.vocabulary is not None
    assert manifest.vocabulary[0] == f"price below {np.sort(PRICE)[4]:.6g}"
    counts: list[LabelCounts] = [
        population.index.label_counts[split] for split in ("train", "validation", "test")
    ]
    assert sum(split.totals() for split in counts).tolist() == [4] * 10
    per_client = sum(split.dense() for split in counts)
    assert ((per_client > 0).sum(axis=1) <= 5).all(), "few tenths at each client"


def multilabel_file(path: Path, form: str) -> Any:
    frame = table()[["client", "row"]]
    if form == "lists.parquet":
        frame["tags"] = TAGS
    elif form == "texts.csv":
        frame["tags"] = [";".join(tags) or "none" for tags in TAGS]
    elif form.startswith("flags"):
        frame["ham"] = HAM
        frame["spam"] = SPAM
    elif form == "rows.parquet":
        frame["tags"] = [[int(h), int(s)] for h, s in zip(HAM, SPAM, strict=True)]
    if form.endswith(".csv"):
        frame.to_csv(path / form, index=False)
    elif form.endswith(".npz"):
        np.savez(path / form, x=np.arange(ROWS)[:, None] * 1.0, client=np.array(CLIENTS), tags=np.stack([HAM, SPAM], axis=1))  # fmt: skip
    else:
        frame.to_parquet(path / form)
    return ["ham", "spam"] if form.startswith("flags") else "tags"


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("flags.csv", ("ham", "spam")),
        ("flags.parquet", ("ham", "spam")),
        ("lists.parquet", ("ham", "spam")),
        ("rows.parquet", ("tags_0", "tags_1")),
        ("array.npz", ("tags_0", "tags_1")),
        ("texts.csv", ("ham", "none", "spam")),
    ],
)
def test_labels_of_multilabel_in_all_forms(
    prepare: Prepare, tmp_path: Path, form: str, names: tuple[str, ...]
) -> None:
    column = multilabel_file(tmp_path, form)
    manifest, population = prepare(
        "multilabel", source=form.rpartition(".")[2], path=form, label_column=column
    )
    assert manifest.targets is not None
    assert manifest.targets.names == names
    assert (manifest.outputs, manifest.num_classes) == (len(names), len(names) + 1)
    assert manifest.vocabulary == (*names, "no label")
    expected = np.stack([HAM, SPAM], axis=1).astype(np.float32)
    labels = np.array(labels_by_row(population))
    if "none" in names:
        assert (labels[:, 1] == (labels[:, [0, 2]].sum(axis=1) == 0)).all()
        labels = labels[:, [0, 2]]
    np.testing.assert_array_equal(labels, expected)
    totals = sum(population.index.label_counts[split].totals() for split in ("train", "test"))
    first = np.where(HAM, 0, np.where(SPAM, len(names) - 1, 1 if len(names) == 3 else 2))
    np.testing.assert_array_equal(totals, np.bincount(first, minlength=len(names) + 1))


@pytest.mark.parametrize(
    ("values", "names", "positive"),
    [
        ([0, 1], ("0", "1"), 1),
        ([0.0, 1.0], ("0", "1"), 1.0),
        ([-1, 1], ("-1", "1"), 1),
        ([False, True], ("False", "True"), True),
        (["benign", "malign"], ("benign", "malign"), "malign"),
        (["yes", "no"], ("no", "yes"), "yes"),
        ([7, 30], ("7", "30"), 30),
    ],
)
@pytest.mark.parametrize("source", ["csv", "parquet", "own"])
def test_binary_takes_two_labels_and_the_second_is_positive(
    prepare: Prepare,
    tmp_path: Path,
    source: str,
    values: list[Any],
    names: tuple[str, str],
    positive: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = [values[row % 2] for row in range(ROWS)]
    frame = table()[["client", "row"]].assign(label=labels)
    settings: dict[str, Any] = {"source": source, "path": "t"}
    if source == "csv":
        frame.to_csv(tmp_path / "t", index=False)
    elif source == "parquet":
        frame.to_parquet(tmp_path / "t")
    else:
        x = frame[["row"]].to_numpy(np.float32)
        settings = own_source(monkeypatch, Batch(x, labels, CLIENTS))
    manifest, population = prepare("binary", **settings)
    assert manifest.targets is not None
    assert (manifest.targets.names, manifest.outputs, manifest.num_classes) == (names, 1, 2)
    assert manifest.target_width is None
    assert labels_by_row(population) == [int(label == positive) for label in labels]
    assert population.central_test().y.dtype == np.int32
    assert f"2 classes: {names[0]}, {names[1]} (positive: {names[1]})" in understood_lines(manifest)[2]  # fmt: skip


@pytest.mark.parametrize("labels", [[3], [0, 1, 2], ["a", "b", "c", "d"]])
def test_binary_refuses_another_number_of_labels(
    prepare: Prepare, labels: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.zeros((12, 1), np.float32)
    batch = Batch(x, (labels * 12)[:12], ["a", "b"] * 6)
    with pytest.raises(DataError, match=f"two different labels for task.kind=binary, found {len(labels)}"):  # fmt: skip
        prepare("binary", **own_source(monkeypatch, batch))
    with pytest.raises(DataError, match=r"num_classes to be 2 for task\.kind=binary, found 3"):
        prepare("binary", **own_source(monkeypatch, Batch(x, [0, 1] * 6, ["a", "b"] * 6), num_classes=3))  # fmt: skip


def test_tokens_need_no_labels(prepare: Prepare, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"client": CLIENTS, "x": [[row + 1, 2, 3][: row % 3 + 1] for row in range(ROWS)]}),
        tmp_path / "t.parquet",
    )
    manifest, population = prepare("tokens", source="parquet", path="t.parquet", label_column=None)
    assert manifest.targets is not None
    assert (manifest.outputs, manifest.num_classes, manifest.targets.names) == (ROWS + 1, 1, ())
    assert manifest.variable_length
    examples = population.central_test()
    assert examples.y.tolist() == [0] * len(examples)
    assert examples.y.dtype == np.int32
    assert understood_lines(manifest)[2] == "40 examples, 4 clients (natural), 41 tokens"


def test_tokens_without_clients_are_given_to_clients_at_random(
    prepare: Prepare, tmp_path: Path
) -> None:
    np.savez(tmp_path / "t.npz", x=np.arange(ROWS * 3, dtype=np.int32).reshape(-1, 3))
    settings = {"source": "npz", "path": "t.npz", "label_column": None, "client_column": None}
    manifest, _ = prepare("tokens", **settings, clients=4)
    assert manifest.partition == "iid"
    with pytest.raises(DataError, match=r"data\.partition=dirichlet: .*task\.kind=tokens has none"):
        prepare("tokens", **settings, clients=4, partition="dirichlet")


def test_folders_that_are_numbers_are_targets(prepare: Prepare, tmp_path: Path) -> None:
    for client in ("c0", "c1"):
        for target in ("1.5", "007"):
            folder = tmp_path / "faces" / client / target
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("L", (2, 2), number).save(folder / f"{number}.png")
    _, population = prepare("regression", source="images", path="faces")
    values = np.concatenate([population.examples(c).y for c in ("c0", "c1")])
    assert set(values[:, 0].tolist()) == {1.5, 7.0}
    (tmp_path / "faces" / "c0" / "old").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "faces" / "c0" / "old" / "a.png")
    with pytest.raises(DataError, match=r"numbers \(task\.kind=regression\), found a str, 'old'"):
        prepare("regression", source="images", path="faces")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1.5", "high", "2"], "found a str, 'high', at row 2 (line 3), column price"),
        (["1.5", "", "2"], "row 2 (line 3), column price: expected a value, found an empty cell"),
        (["1.5", "nan", "2"], "row 2 (line 3), column price: expected a value, found 'nan'"),
        (["1.5", "3", "inf"], "found inf at row 3 (line 4), column price"),
        (["1", "2", "1e39"], "found 1e+39 at row 3 (line 4), column price"),
    ],
)
def test_a_csv_names_the_cell_that_is_no_target(
    prepare: Prepare, tmp_path: Path, cells: list[str], message: str
) -> None:
    rows = "".join(f"c,{number},{cell}\n" for number, cell in enumerate(cells))
    (tmp_path / "t.csv").write_text("client,a,price\n" + rows)
    with pytest.raises(DataError) as caught:
        prepare("regression", source="csv", path="t.csv", label_column="price")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_with_leading_zeros_are_targets(prepare: Prepare, tmp_path: Path) -> None:
    rows = "".join(f"c{number % 2};{number};00{number},5\n" for number in range(8))
    (tmp_path / "t.csv").write_text("client;a;price\n" + rows)
    _, population = prepare(
        "regression", source="csv", path="t.csv", label_column="price", decimal=","
    )
    values = np.concatenate([population.examples(c).y[:, 0] for c in ("c0", "c1")])
    assert set(values.tolist()) <= {number + 0.5 for number in range(8)}


@pytest.mark.parametrize(
    ("kind", "column", "message"),
    [
        ("tokens", "price", r"data\.label_column=price: expected none for task\.kind=tokens.*Set data\.label_column=null\."),
        ("classification", None, r"data\.label_column=null: expected the column of labels for task\.kind=classification"),
        ("binary", ["price", "size"], r"data\.label_column=\[price, size\]: expected one column for task\.kind=binary, found 2"),
        ("regression", ["price", "price"], r"expected each column once, found price twice"),
        ("regression", ["price", "weight"], r"expected a column weight \(data\.label_column\)"),
        ("multilabel", ["price", "size"], r"0, 1, true or false \(task\.kind=multilabel\), found .* column price"),
        ("classification", "price", r"If it is a quantity to predict, set task\.kind=regression"),
        ("tokens", None, r"expected sequences of tokens for task\.kind=tokens, found float32"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_the_kind_are_refused(
    prepare: Prepare, tmp_path: Path, kind: str, column: Any, message: str
) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=message) as caught:
        prepare(kind, source="csv", path="t.csv", label_column=column)
    assert "\n" not in str(caught.value)


def test_label_columns_of_another_kind_of_array_are_refused(
    prepare: Prepare, tmp_path: Path
) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros((8, 1)), client=np.array(["a", "b"] * 4), a=np.zeros((8, 2)), b=np.zeros(8))  # fmt: skip
    with pytest.raises(DataError, match=r"found a of shape \[8, 2\]"):
        prepare("regression", source="npz", path="t.npz", label_column=["a", "b"])


def test_kinds_are_part_of_the_version_and_of_the_bytes(prepare: Prepare) -> None:
    settings = {"source": "mnist5k", "clients": 10}
    classes, _ = prepare("classification", **settings)
    numbers, population = prepare("regression", **settings)
    assert classes.targets is None
    assert "targets" not in json.loads(classes.to_json())
    assert numbers.source_version != classes.source_version
    assert numbers.vocabulary is not None
    (values,) = numbers.targets.ranges if numbers.targets else ()
    assert isinstance(values, TargetRange)
    assert (values.min, values.max) == (0, 9)
    again, _ = prepare("regression", **settings)
    assert again == numbers
    assert population.examples("c000").y.shape[1] == 1


def test_resident_files_hold_the_targets(prepare: Prepare, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    _, population = prepare(
        "regression", source="csv", path="t.csv", label_column=["price", "size"]
    )
    (client,) = ResidentCache.of(population, tmp_path / "cache", 10**6).clients(["c1"])
    examples = population.examples("c1")
    body = Path(client.path).read_bytes()[:-32]
    assert body == examples.x.tobytes() + examples.y.astype("<f4").tobytes()
    assert len(body) == client.count * (4 + 2 * 4)


def test_forgetting_a_client_keeps_the_targets_of_the_others(
    prepare: Prepare, tmp_path: Path
) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    _, before = prepare("regression", source="csv", path="t.csv", label_column="price")
    expected = before.examples("c3").y.tolist()
    config = DataConfig(source="csv", path="t.csv", label_column="price", clients=None)
    (tmp_path / "less").mkdir()
    prepare_shards(config, tmp_path / "less" / "shards", tmp_path, ["c1"], "regression")
    after = Population.open(tmp_path / "less" / "shards")
    assert after.examples("c3").y.tolist() == expected
    assert list(after.client_ids()) == ["c0", "c2", "c3"]


def test_breast_cancer_from_a_csv_of_20_hospitals(prepare: Prepare, tmp_path: Path) -> None:
    frame = load_breast_cancer(as_frame=True).frame
    frame["hospital"] = [f"h{row % 20:02}" for row in range(len(frame))]
    frame.to_csv(tmp_path / "cancer.csv", index=False)
    columns = {"client_column": "hospital", "label_column": "target"}
    manifest, population = prepare("binary", source="csv", path="cancer.csv", **columns)
    totals = sum(population.index.label_counts[split].totals() for split in ("train", "test"))
    assert np.asarray(totals).tolist() == [212, 357], "malignant and benign, as scikit-learn says"
    assert (manifest.clients, manifest.feature_shape, manifest.notes) == (20, (30,), ())
    lines = understood_lines(manifest)
    assert "569 examples, 20 clients (natural), 2 classes: 0, 1 (positive: 1)" in lines


def test_diabetes_with_two_targets_from_parquet(prepare: Prepare, tmp_path: Path) -> None:
    frame = load_diabetes(as_frame=True).frame
    frame["clinic"] = [f"h{row % 20:02}" for row in range(len(frame))]
    frame.to_parquet(tmp_path / "diabetes.parquet")
    columns = {"client_column": "clinic", "label_column": ["target", "bp"]}
    manifest, population = prepare(
        "regression", source="parquet", path="diabetes.parquet", **columns
    )
    found = [
        population.examples(client_id, split)  # type: ignore[arg-type]
        for split in ("train", "test")
        for client_id in population.client_ids()
    ]
    targets = np.concatenate([examples.y for examples in found])
    expected = frame[["target", "bp"]].to_numpy(np.float32)
    assert sorted(map(tuple, targets.tolist())) == sorted(map(tuple, expected.tolist()))
    assert manifest.feature_shape == (9,)
    assert "442 examples, 20 clients (natural), 2 targets: target, bp" in understood_lines(manifest)
