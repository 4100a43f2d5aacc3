import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn import preprocessing as sk

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Array
from fedpipe.data.manifest import read_manifest
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import DataError

CITIES = ("Bern", "Kyiv", "Oslo", "Zürich")


def hospital_rows(rows: int = 900, clients: int = 12) -> pd.DataFrame:
    draw = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "client": [f"h{number % clients:02d}" for number in range(rows)],
            "age": draw.normal(60, 15, rows).round(2),
            "dose": draw.exponential(1e4, rows).round(1),
            "still": 3.5,
            "city": draw.choice(CITIES, rows),
            "label": draw.integers(0, 2, rows),
        }
    )


@dataclass
class Prepared:
    """Shards, the table that they were made of, and which of its rows the fit may see."""

    frame: pd.DataFrame
    folder: Path
    seen: pd.DataFrame

    def x(self, split: str = "train") -> Array:
        """Return the features in the shards, and leave the rows of the source in `rows`."""
        manifest = read_manifest(self.folder)
        table = pq.read_table(self.folder / f"{split}-00000.parquet")
        self.rows = table["source_row"].to_numpy()
        x = np.frombuffer(b"".join(table["x"].to_pylist()), manifest.feature_dtype)
        return x.reshape(len(table), *manifest.feature_shape)


def prepared(
    folder: Path, frame: pd.DataFrame, steps: list[dict[str, Any]], **settings: Any
) -> Prepared:
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder / "rows.csv", index=False)
    config = DataConfig.model_validate(
        {
            "source": "csv",
            "path": "rows.csv",
            "clients": None,
            "held_out_fraction": 0.25,
            "validation_fraction": 0.2,
            "preprocess": steps,
            **settings,
        }
    )
    prepare_shards(config, folder / "shards", folder)
    population = Population.open(folder / "shards")
    ids = np.array(list(population.index.client_ids))
    train = pq.read_table(folder / "shards" / "train-00000.parquet")
    rows = train["source_row"].to_numpy()
    takes_part = np.isin(train["client_id"].to_pylist(), ids[~population.index.held_out])
    return Prepared(frame, folder / "shards", frame.iloc[rows[takes_part]])


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("standardize", sk.StandardScaler()),
        ("min_max", sk.MinMaxScaler()),
        ("robust", sk.RobustScaler()),
    ],
)
def test_a_scale_is_scikit_learns_of_the_training_rows_of_participating_clients(
    tmp_path: Path, name: str, reference: Any
) -> None:
    frame = hospital_rows().drop(columns="city")
    columns = ["age", "dose", "still"]
    result = prepared(tmp_path, frame, [{"name": name}])
    reference.fit(result.seen[columns].astype(np.float32).astype(np.float64))
    assert 0 < len(result.seen) < 0.6 * len(frame)
    for split in ("train", "validation", "test", "central"):
        x = result.x(split)
        expected = reference.transform(frame.iloc[result.rows][columns])
        np.testing.assert_allclose(x, expected, atol=2e-5)
    manifest = read_manifest(result.folder)
    assert manifest.feature_dtype == "float32"
    assert any("constant in the training examples" in note for note in manifest.notes)
    assert any("still" in note for note in manifest.notes)


def test_one_hot_and_ordinal_are_scikit_learns(tmp_path: Path) -> None:
    frame = hospital_rows()
    result = prepared(tmp_path / "a", frame, [{"name": "one_hot"}])
    encoder = sk.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder.fit(result.seen[["city"]])
    x = result.x("test")
    chosen = frame.iloc[result.rows]
    np.testing.assert_array_equal(x[:, 3:], encoder.transform(chosen[["city"]]))
    np.testing.assert_allclose(x[:, 0], chosen["age"], rtol=1e-6)
    steps = read_manifest(result.folder).steps
    assert steps is not None
    assert steps.result == ("age", "dose", "still", *(f"city={city}" for city in CITIES))

    result = prepared(tmp_path / "b", frame, [{"name": "ordinal", "columns": ["ci*"]}])
    ordinal = sk.OrdinalEncoder().fit(result.seen[["city"]])
    x = result.x("test")
    np.testing.assert_array_equal(x[:, 3:], ordinal.transform(frame.iloc[result.rows][["city"]]))


def test_a_text_that_only_a_held_out_client_has_is_unknown(tmp_path: Path) -> None:
    frame = hospital_rows()
    first = prepared(tmp_path / "a", frame, [{"name": "one_hot"}])
    held_out = sorted(set(frame["client"]) - set(first.seen["client"]))
    changed = frame.copy()
    changed.loc[changed["client"].isin(held_out), "city"] = "Elsewhere"
    changed.loc[changed["client"].isin(held_out), "dose"] += 1e6
    steps = [{"name": "one_hot"}, {"name": "standardize"}]
    second = prepared(tmp_path / "b", changed, steps)
    third = prepared(tmp_path / "c", frame, steps)
    assert read_manifest(second.folder).preprocess == read_manifest(third.folder).preprocess
    assert any("city: 1 texts are no category" in n for n in read_manifest(second.folder).notes)
    one_hot = prepared(tmp_path / "d", changed, [{"name": "one_hot"}])
    x = one_hot.x()
    elsewhere = changed.iloc[one_hot.rows]["city"].to_numpy() == "Elsewhere"
    assert elsewhere.any()
    np.testing.assert_array_equal(x[elsewhere, 3:], 0)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("by", ["drop", "constant", "mean", "indicator"])
def test_empty_cells(tmp_path: Path, by: str, suffix: str) -> None:
    frame = hospital_rows().drop(columns="city")
    empty = np.random.default_rng(1).random(len(frame)) < 0.2
    frame.loc[empty, "age"] = np.nan
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    step = {"name": "missing", "by": by} | ({"value": -1.0} if by == "constant" else {})
    result = prepared(tmp_path, frame, [step], source=suffix, path=f"rows.{suffix}")
    x = result.x("test")
    if by == "drop":
        assert read_manifest(result.folder).examples["train"] < (~empty).sum()
        assert sum(read_manifest(result.folder).examples.values()) == (~empty).sum()
        understood = read_manifest(result.folder).understood
        assert understood is not None
        assert f"rows with an empty cell in age, dose, still: {empty.sum()}" in understood.left_out
        kept = frame[~empty].iloc[result.rows]
        np.testing.assert_allclose(x[:, 0], kept["age"], rtol=1e-6)
        return
    fill = -1.0 if by == "constant" else result.seen["age"].mean()
    ages = frame.iloc[result.rows]["age"]
    np.testing.assert_allclose(x[:, 0], ages.fillna(fill), rtol=1e-5)
    assert x.shape[1] == (4 if by == "indicator" else 3)
    if by == "indicator":
        np.testing.assert_array_equal(x[:, 3], ages.isna())


def test_within_each_client_by_its_own_training_rows(tmp_path: Path) -> None:
    frame = hospital_rows().drop(columns=["city", "still"])
    result = prepared(tmp_path, frame, [{"name": "standardize", "per": "client"}])
    x = result.x()
    train = frame.iloc[result.rows]
    for client in train["client"].unique():
        mine = (train["client"] == client).to_numpy()
        reference = sk.StandardScaler().fit_transform(train[mine][["age", "dose"]])
        np.testing.assert_allclose(x[mine], reference, atol=1e-4)
    test = result.x("test")
    rows = frame.iloc[result.rows]
    mine = (rows["client"] == "h03").to_numpy()
    fitted = sk.StandardScaler().fit(train[train["client"] == "h03"][["age", "dose"]])
    np.testing.assert_allclose(test[mine], fitted.transform(rows[mine][["age", "dose"]]), atol=1e-4)
    preprocess = read_manifest(result.folder).preprocess
    assert preprocess is not None
    assert preprocess["steps"] == [
        {"name": "standardize", "per": "client", "columns": ["age", "dose"]}
    ]


def test_constants_clip_choose_and_drop(tmp_path: Path) -> None:
    frame = hospital_rows()
    steps = [
        {"name": "choose", "columns": ["dose", "a*", "city"]},
        {"name": "drop", "columns": ["city"]},
        {"name": "standardize", "mean": [50, 1000], "std": [10, 500]},
        {"name": "clip", "low": -1, "high": 1, "columns": ["age"]},
    ]
    result = prepared(tmp_path, frame, steps)
    x = result.x("test")
    rows = frame.iloc[result.rows]
    np.testing.assert_allclose(x[:, 0], np.clip((rows["age"] - 50) / 10, -1, 1), atol=1e-5)
    np.testing.assert_allclose(x[:, 1], (rows["dose"] - 1000) / 500, atol=1e-4)


def test_dates_are_days(tmp_path: Path) -> None:
    frame = hospital_rows().drop(columns="city")
    frame["day"] = pd.date_range("2024-01-01", periods=len(frame), freq="D").strftime("%Y-%m-%d")
    steps = [{"name": "dates", "columns": ["day"], "since": "2024-01-01"}]
    result = prepared(tmp_path, frame, steps)
    x = result.x("test")
    np.testing.assert_array_equal(x[:, 3], result.rows)


def test_without_steps_the_manifest_has_none(tmp_path: Path) -> None:
    frame = hospital_rows().drop(columns="city")
    plain = prepared(tmp_path / "a", frame, [])
    scaled = prepared(tmp_path / "b", frame, [{"name": "standardize"}])
    texts = [(result.folder / "manifest.json").read_text() for result in (plain, scaled)]
    assert "preprocess" not in json.loads(texts[0])
    assert read_manifest(scaled.folder).steps is not None
    assert plain.x().tobytes() != scaled.x().tobytes()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"name": "one_hot"}, {"name": "standardize", "columns": ["agee"]}], "Did you mean age"),
        (
            [{"name": "standardize", "columns": ["city"]}, {"name": "one_hot"}],
            "Put {name: one_hot}",
        ),
        ([{"name": "ordinal", "max_categories": 3}], "at most 3 categories in the column city"),
        ([{"name": "standardize", "mean": [1], "std": [1]}, {"name": "one_hot"}], "expected 3"),
        ([{"name": "missing"}], "1 column of texts: city"),
        ([{"name": "dates", "columns": ["city"]}], "expected dates"),
        ([{"name": "one_hot", "columns": ["age"], "max_categories": 9}, {"name": "ordinal"}], "9"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, steps: list[Mapping[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        prepared(tmp_path, hospital_rows(), [dict(step) for step in steps])
    assert "\n" not in str(caught.value)


def test_a_column_of_texts_may_be_the_only_one(tmp_path: Path) -> None:
    frame = hospital_rows()[["client", "city", "label"]]
    result = prepared(tmp_path, frame, [{"name": "one_hot"}])
    x = result.x()
    cities = frame.iloc[result.rows]["city"].to_numpy()
    np.testing.assert_array_equal(x, cities[:, None] == np.array(CITIES))


def test_the_first_row_may_be_of_a_client_that_is_left_out(tmp_path: Path) -> None:
    frame = hospital_rows().drop(columns=["city", "still"])
    frame.loc[0, "client"] = "zz"  # the last of the ids, of which the first ones are taken
    steps = [{"name": "standardize", "per": "client"}]
    result = prepared(tmp_path, frame, steps, clients=4)
    assert 0 not in result.x().shape
    assert "zz" not in list(Population.open(result.folder).index.client_ids)
