import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources.shakespeare import CHARACTERS
from fedpipe.errors import DataError

Pixels = Callable[[np.ndarray], np.ndarray]
COUNTS = {
    "f01": (5, 2),
    "f00": (3, 1),
    "f02": (4, 1),
}  # writer -> training and test examples, not in order


def write_emnist(
    cache: Path, pixels: Pixels = lambda k: k.astype(np.float32) / np.float32(255)
) -> dict[tuple[str, str], np.ndarray]:
    """Write a small file in the format of TFF's cache; return its uint8 images by writer and split."""
    import tensorflow as tf

    cache.mkdir()
    rng = np.random.default_rng(1)
    images = {}
    with sqlite3.connect(cache / "emnist_all.sqlite") as connection:
        connection.execute(
            "CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)"
        )
        connection.execute(
            "CREATE TABLE client_metadata (client_id TEXT, split_name TEXT, num_examples INTEGER)"
        )
        for writer, counts in COUNTS.items():
            for split, count in zip(("train", "test"), counts, strict=True):
                images[writer, split] = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
                for label, image in enumerate(images[writer, split]):
                    features = tf.train.Features(
                        feature={
                            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                            "pixels": tf.train.Feature(
                                float_list=tf.train.FloatList(value=pixels(image).ravel())
                            ),
                        }
                    )
                    row = (
                        f"digits_only_{split}",
                        writer,
                        tf.train.Example(features=features).SerializeToString(),
                    )
                    connection.execute("INSERT INTO examples VALUES (?, ?, ?)", row)
                connection.execute(
                    "INSERT INTO client_metadata VALUES (?, ?, ?)",
                    (writer, f"digits_only_{split}", count),
                )
    connection.close()
    return images


def config(clients: int | None = None, invert: bool = False) -> DataConfig:
    return DataConfig(source="emnist", clients=clients, cache_dir="cache", invert=invert)


def workers() -> str:
    """Return the TFF workers that this process has started, by pid."""
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-x", "worker_binary"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout


def test_emnist_keeps_writers_splits_and_pixels(tmp_path: Path) -> None:
    before = workers()
    images = write_emnist(tmp_path / "cache")
    manifest = prepare_shards(config(), tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    assert population.client_ids() == population.client_ids("test") == ("f00", "f01", "f02")
    for (writer, split), expected in images.items():
        examples = population.examples(writer, split)
        assert examples.x.dtype == np.uint8
        np.testing.assert_array_equal(examples.x, expected)
        assert examples.y.tolist() == list(range(len(expected)))
    assert (manifest.partition, manifest.alpha, manifest.test_fraction) == ("natural", None, None)
    assert (manifest.pixel_convention, manifest.central_test_examples) == ("background=1.0", 4)
    assert workers() == before


def test_emnist_takes_the_first_writers_and_inverts(tmp_path: Path) -> None:
    images = write_emnist(tmp_path / "cache")
    manifest = prepare_shards(config(clients=2, invert=True), tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    assert population.client_ids() == ("f00", "f01")
    np.testing.assert_array_equal(population.examples("f01").x, 255 - images["f01", "train"])
    assert manifest.pixel_convention == "ink=1.0"


def test_pixels_that_are_no_255ths_stay_floats(tmp_path: Path) -> None:
    def nearly(k: np.ndarray) -> np.ndarray:
        return np.nextafter(k.astype(np.float32) / np.float32(255), np.float32(0.5))

    images = write_emnist(tmp_path / "cache", nearly)
    manifest = prepare_shards(config(), tmp_path / "shards", tmp_path)
    assert manifest.feature_dtype == "float32"
    np.testing.assert_array_equal(
        Population.open(tmp_path / "shards").examples("f00").x, nearly(images["f00", "train"])
    )


def test_a_damaged_emnist_file_is_one_clear_error(tmp_path: Path) -> None:
    write_emnist(tmp_path / "cache")
    path = tmp_path / "cache" / "emnist_all.sqlite"
    whole = path.read_bytes()
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    damaged = {
        whole[
            :-4096
        ]: rf"expected a SQLite file of {len(whole)} bytes at {path}, found {len(whole) - 4096} bytes",
        b"<html>not found</html>": rf"expected a SQLite file at {path}, found 22 bytes",
        whole[:4096] + bytes(len(whole) - 4096): rf"{path} is damaged or not emnist",
        other.read_bytes(): rf"{path} is damaged or not emnist",
    }
    for content, message in damaged.items():
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            prepare_shards(config(), tmp_path / "shards", tmp_path)
        assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["cache", "other.sqlite"]


def test_a_failed_download_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the discard port: nothing listens
    message = rf"^data\.source=emnist: expected {tmp_path}/cache/emnist_all\.sqlite, and it could not be downloaded: .*Unpack https://"
    with pytest.raises(DataError, match=message) as caught:
        prepare_shards(config(), tmp_path / "shards", tmp_path)
    assert "\n" not in str(caught.value)
    assert all(name.endswith(".lock") for name in os.listdir(tmp_path / "cache"))
    assert not (tmp_path / "shards").exists()


def test_synthetic_has_two_clients_with_a_split_each(tmp_path: Path) -> None:
    manifest = prepare_shards(DataConfig(source="synthetic"), tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    assert population.client_ids() == ("synthetic1", "synthetic2")
    # 10 digits a client: ceil(0.2 * 10) = 2 test, 8 train.
    assert [
        (population.num_examples(c), population.num_examples(c, "test"))
        for c in population.client_ids()
    ] == [(8, 2), (8, 2)]
    labels = [population.examples("synthetic1", split).y.tolist() for split in ("train", "test")]
    assert sorted(labels[0] + labels[1]) == list(range(10))
    # Its pixels are ninths, which are no 255ths.
    assert manifest.feature_dtype == "float32"
    x = population.examples("synthetic1").x
    np.testing.assert_array_equal(np.rint(x * 9).astype(np.float32) / np.float32(9), x)
    assert (manifest.partition, manifest.test_fraction, manifest.pixel_convention) == (
        "natural",
        0.2,
        "background=1.0",
    )


def test_shakespeare_predicts_the_next_character(tmp_path: Path) -> None:
    import tensorflow as tf

    (tmp_path / "cache").mkdir()
    rows = [
        ("train", "LEAR", b"Hark!"),
        ("test", "LEAR", b"When?"),
        ("train", "EMILIA", b"d" * 100),
        ("test", "EMILIA", b"Never."),
    ]
    with sqlite3.connect(tmp_path / "cache" / "shakespeare.sqlite") as connection:
        connection.execute(
            "CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)"
        )
        connection.execute(
            "CREATE TABLE client_metadata (client_id TEXT, split_name TEXT, num_examples INTEGER)"
        )
        for split, client, text in rows:
            feature = {"snippets": tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))}
            proto = tf.train.Example(
                features=tf.train.Features(feature=feature)
            ).SerializeToString()
            connection.execute("INSERT INTO examples VALUES (?, ?, ?)", (split, client, proto))
            connection.execute("INSERT INTO client_metadata VALUES (?, ?, 1)", (client, split))
    connection.close()
    settings = DataConfig(source="shakespeare", clients=None, cache_dir="cache")
    manifest = prepare_shards(settings, tmp_path / "shards", tmp_path)
    assert (manifest.feature_dtype, manifest.feature_shape, manifest.num_classes) == (
        "int32",
        (80,),
        88,
    )
    population = Population.open(tmp_path / "shards")
    assert population.client_ids() == ("EMILIA", "LEAR")
    # 100 characters: a window of 80 predicts the 81st, one of 19 the 100th. `d` is the first of the vocabulary.
    found = population.examples("EMILIA")
    assert [(int((x == 1).sum()), int((x == 0).sum())) for x in found.x] == [(80, 0), (19, 61)]
    assert found.y.tolist() == [1, 1]
    (hark,) = population.examples("LEAR").x
    assert [CHARACTERS[token - 1] for token in hark[:4]] == list("Hark")
    assert CHARACTERS[population.examples("LEAR").y[0] - 1] == "!"
