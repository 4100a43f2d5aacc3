"""What `predict` makes of raw columns is what the shards hold."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.manifest import read_manifest
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import DataError
from fedpipe.inference.input_reader import Reader
from fedpipe.inference.model_input import ModelInput
from fedpipe.models.input_facts import InputFacts

OWN_STEP = """
import numpy as np

class Logarithm:
    def __init__(self, base):
        self.base = base

    def fit(self, x):
        return {"low": x.min(axis=0)}

    def apply(self, x, fitted):
        return np.log1p(np.abs(x - fitted["low"])) / np.log(self.base)

def logarithm(base: float = 2.0):
    return Logarithm(base)
"""


def table(rows: int = 400) -> pd.DataFrame:
    draw = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "client": [f"h{number % 8}" for number in range(rows)],
            "age": draw.normal(60, 15, rows).round(2),
            "flag": draw.choice(["true", "false"], rows),
            "city": draw.choice(["Bern", "Oslo", "007"], rows),
            "day": pd.date_range("2024-01-01", periods=rows).strftime("%Y-%m-%d"),
            "label": draw.integers(0, 2, rows),
        }
    )
    frame.loc[draw.random(rows) < 0.2, "age"] = np.nan
    frame.loc[draw.random(rows) < 0.1, "flag"] = ""
    frame.loc[draw.random(rows) < 0.1, "city"] = None
    return frame


def facts_of(folder: Path, config: DataConfig) -> tuple[InputFacts, Any]:
    prepare_shards(config, folder / "shards", folder)
    manifest = read_manifest(folder / "shards")
    model: Any = SimpleNamespace(tokens=None)
    facts = InputFacts.of(manifest, model, config)
    return InputFacts.read(facts.to_json()), manifest


def read_all(facts: InputFacts, manifest: Any, file: Path, project: Path) -> Any:
    shape = tuple(manifest.feature_shape)
    reader = Reader(facts, shape, False, DataConfig(), False, project=project)
    return np.concatenate([batch.x for batch in reader.batches([file])])


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_raw_columns_become_what_the_shards_hold(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"steps_{form}.py").write_text(OWN_STEP)
    frame = table()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    config = DataConfig.model_validate(
        {
            "source": "csv",
            "path": "rows.csv",
            "clients": None,
            "held_out_fraction": 0.25,
            "preprocess": [
                {"name": "missing", "by": "indicator", "columns": ["age", "flag"]},
                {"name": "missing", "by": "constant", "value": "none", "columns": ["city"]},
                {"name": "one_hot", "columns": ["city"]},
                {"name": "dates", "columns": ["day"]},
                {"name": "robust", "columns": ["age", "day"]},
                {"name": f"steps_{form}:logarithm", "options": {"base": 3.0}},
                {"name": "standardize"},
            ],
        }
    )
    facts, manifest = facts_of(tmp_path, config)
    stored = pq.read_table(tmp_path / "shards" / "test-00000.parquet")
    x = np.frombuffer(b"".join(stored["x"].to_pylist()), np.float32)
    x = x.reshape(len(stored), -1)
    assert x.shape[1] == 9
    raw = frame.iloc[stored["source_row"].to_numpy()]
    raw = raw[["day", "city", "age", "flag"]].assign(unknown=1)
    if form == "csv":
        raw.to_csv(tmp_path / "new.csv", index=False)
    else:
        flags = raw["flag"].map({"true": True, "false": False, "": None})
        raw.assign(flag=flags.astype("boolean")).to_parquet(tmp_path / "new.parquet", index=False)
    read = read_all(facts, manifest, tmp_path / f"new.{form}", tmp_path)
    assert read.tobytes() == x.tobytes()
    shards = read_all(facts, manifest, tmp_path / "shards" / "test-00000.parquet", tmp_path)
    assert shards.tobytes() == x.tobytes()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "missing", "by": "drop"}, "column age: expected a number, found an empty cell"),
        ({"name": "standardize", "per": "client"}, "its figures are not kept"),
    ],
)
def test_rows_that_the_steps_cannot_take_are_refused(
    tmp_path: Path, step: dict[str, Any], message: str
) -> None:
    frame = table()[["client", "age", "label"]]
    if step["name"] == "standardize":
        frame["age"] = frame["age"].fillna(1)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    values = {"source": "csv", "path": "rows.csv", "clients": None, "preprocess": [step]}
    facts, manifest = facts_of(tmp_path, DataConfig.model_validate(values))
    with pytest.raises(DataError, match=message):
        read_all(facts, manifest, tmp_path / "rows.csv", tmp_path)


def test_pixels_are_scaled_alike(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    pixels = draw.integers(0, 256, (120, 4, 3), dtype=np.uint8)
    arrays = {"label": draw.integers(0, 2, 120), "client": np.arange(120) % 6}
    np.savez(tmp_path / "rows.npz", x=pixels, **arrays)
    values = {
        "source": "npz",
        "path": "rows.npz",
        "clients": None,
        "invert": True,
        "preprocess": [{"name": "standardize"}],
    }
    facts, manifest = facts_of(tmp_path, DataConfig.model_validate(values))
    assert (manifest.feature_dtype, manifest.feature_shape) == ("float32", (4, 3))
    stored = pq.read_table(tmp_path / "shards" / "train-00000.parquet")
    rows = stored["source_row"].to_numpy()
    x = np.frombuffer(b"".join(stored["x"].to_pylist()), np.float32).reshape(-1, 4, 3)
    raw = (255 - pixels[rows]) / 255
    np.testing.assert_allclose(x, (raw - raw.mean(0)) / raw.std(0), atol=1e-5)
    read = read_all(facts, manifest, tmp_path / "rows.npz", tmp_path)
    assert read[rows].tobytes() == x.tobytes()
    assert len(read) == 120
    model_input = ModelInput(facts, (4, 3), tokens=False, invert=False)
    steps = facts.steps
    assert steps is not None
    fractions = model_input.raw_features(pixels / np.float32(255), steps, tmp_path, 0)
    np.testing.assert_array_equal(fractions, 255 - pixels)
    with pytest.raises(DataError, match="or fractions 0"):
        model_input.raw_features(pixels.astype(np.float32), steps, tmp_path, 0)
