"""Flat features as images: the setting `data.feature_shape`."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedpipe.config import Config, DataConfig, load_config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import ConfigError, DataError, ModelError
from fedpipe.models import check_input

PIXELS = np.arange(10 * 36, dtype=np.int64).reshape(10, 36) % 251
LABELS, CLIENTS = [i % 2 for i in range(10)], ["a", "b"] * 5


def write(folder: Path, source: str) -> Path:
    """Write ten rows of 36 numbers for a source and return the file."""
    file = folder / f"{source}.data"
    columns = {"client": CLIENTS, "label": LABELS} | {f"p{i:02}": PIXELS[:, i] for i in range(36)}
    if source == "csv":
        pa.csv.write_csv(pa.table(columns), file)
    elif source == "parquet":
        pq.write_table(pa.table(columns), file)
    elif source == "npz":
        with file.open("wb") as stream:
            np.savez(stream, x=PIXELS, label=LABELS, client=CLIENTS)
    elif source == "leaf":
        rows = {user: [i for i in range(10) if CLIENTS[i] == user] for user in "ab"}
        data = {
            user: {"x": (PIXELS[part] * 1.0).tolist(), "y": [LABELS[i] for i in part]}
            for user, part in rows.items()
        }
        file.write_text(json.dumps({"users": ["a", "b"], "num_samples": [5, 5], "user_data": data}))
    else:
        (folder / "mine.py").write_text(
            "import numpy as np\nfrom fedpipe.data.sources import Batch, Source\n"
            "def rows(config, project):\n"
            f"    x = np.array({PIXELS.tolist()}, np.float32)\n"
            f"    return Source(lambda: [Batch(x, np.array({LABELS}), {CLIENTS})])\n"
        )
    return file


@pytest.mark.parametrize("source", ["csv", "parquet", "npz", "leaf", "mine:rows"])
@pytest.mark.parametrize("shape", [[6, 6], [4, 9], [3, 4, 3], [6, 6, 1]])
def test_each_row_fills_the_shape_in_order(tmp_path: Path, source: str, shape: list[int]) -> None:
    file = write(tmp_path, source)
    config = DataConfig(
        source=source, path=str(file), clients=None, feature_dtype="float32", feature_shape=shape
    )
    manifest = prepare_shards(config, tmp_path / "out" / "shards", tmp_path)
    assert manifest.feature_shape == tuple(shape)
    population = Population.open(tmp_path / "out" / "shards")
    values = np.concatenate(
        [population.examples(client, split).x for client in "ab" for split in ("train", "test")]
    )
    expected = {tuple(row) for row in PIXELS.tolist()}
    assert {tuple(map(int, one.reshape(-1))) for one in values} == expected
    check_input(
        Config.model_validate({"model": {"name": "cnn" if min(shape[:2]) >= 4 else "mlp"}}),
        manifest,
    )


def test_a_cnn_of_flat_features_names_the_setting(tmp_path: Path) -> None:
    config = DataConfig(source="csv", path=str(write(tmp_path, "csv")), clients=None)
    manifest = prepare_shards(config, tmp_path / "out" / "shards", tmp_path)
    for name in ("cnn", "cnn_dropout", "resnet18_gn"):
        with pytest.raises(
            ModelError,
            match=r"features of shape \[36\]\. Set data\.feature_shape if a row holds the pixels of an image",
        ):
            check_input(Config.model_validate({"model": {"name": name}}), manifest)


def refusal(tmp_path: Path, **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        prepare_shards(
            DataConfig.model_validate({"clients": None, **settings}),
            tmp_path / "out" / "shards",
            tmp_path,
        )
    assert not (tmp_path / "out" / "shards").exists()
    return str(caught.value)


def test_a_shape_of_another_size_is_refused(tmp_path: Path) -> None:
    file = str(write(tmp_path, "csv"))
    assert (
        "data.feature_shape=[28, 28]: expected 784 features (28 x 28), data.source=csv has 36. Correct the shape"
        in refusal(tmp_path, source="csv", path=file, feature_shape=[28, 28])
    )


def test_images_are_not_torn_apart(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "f.npz",
        x=np.zeros((4, 8, 6), np.float32),
        label=[0, 1, 0, 1],
        client=list("aabb"),
    )
    refused = refusal(tmp_path, source="npz", path="f.npz", feature_shape=[6, 8])
    assert (
        "data.feature_shape=[6, 8]: expected flat features or ones of that shape, data.source=npz has [8, 6]"
        in refused
    )
    for shape in ([8, 6, 1], [48], [1, 8, 6]):
        config = DataConfig(source="npz", path="f.npz", clients=None, feature_shape=shape)
        assert prepare_shards(config, tmp_path / "out" / "shards", tmp_path).feature_shape == tuple(
            shape
        )


def test_tokens_have_no_shape(tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {
                "client": ["a", "a", "b", "b"],
                "label": [0, 1, 0, 1],
                "x": [[1, 2], [3, 4], [5, 6], [7, 8]],
            }
        ),
        tmp_path / "f",
    )
    assert "has sequences (tokens). If they are pixels, set data.feature_dtype=uint8" in refusal(
        tmp_path, source="parquet", path="f", feature_shape=[2, 1]
    )
    config = DataConfig(
        source="parquet", path="f", clients=None, feature_shape=[2, 1], feature_dtype="uint8"
    )
    assert prepare_shards(config, tmp_path / "out" / "shards", tmp_path).feature_shape == (2, 1)


@pytest.mark.parametrize("value", ["28x28", "[]", "[0, 28]", "[28.5, 28]", "[1, 2, 3, 4, 5]"])
def test_what_is_no_shape_is_refused_by_its_key(tmp_path: Path, value: str) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    with pytest.raises(ConfigError, match=r"data\.feature_shape"):
        load_config(tmp_path / "params.yaml", [f"data.feature_shape={value}"])
    assert load_config(
        tmp_path / "params.yaml", ["data.feature_shape=[28,28]"]
    ).data.feature_shape == [28, 28]
