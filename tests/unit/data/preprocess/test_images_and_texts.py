"""Steps for images and texts: in the shards, and for what `predict` reads."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fedpipe.config import DataConfig
from fedpipe.data.manifest import Manifest, read_manifest
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import DataError
from fedpipe.inference.input_reader import Reader
from fedpipe.models.input_facts import InputFacts


def images(folder: Path) -> dict[str, Path]:
    """Write colour images of different sizes; return their files by client, label and number."""
    draw = np.random.default_rng(3)
    files = {}
    for client in ("a", "b", "c"):
        for label in ("cat", "dog"):
            for number in range(4):
                size = (int(draw.integers(9, 20)), int(draw.integers(9, 20)), 3)
                pixels = draw.integers(0, 256, size, dtype=np.uint8)
                file = folder / "pictures" / client / label / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)
                files[f"{client}/{label}/{number}"] = file
    return files


def prepared(folder: Path, **settings: Any) -> tuple[Manifest, Any, Any]:
    config = DataConfig.model_validate({"clients": None, **settings})
    prepare_shards(config, folder / "shards", folder)
    manifest = read_manifest(folder / "shards")
    table = pq.read_table(folder / "shards" / "train-00000.parquet")
    x = np.frombuffer(b"".join(table["x"].to_pylist()), manifest.feature_dtype)
    return manifest, x.reshape(len(table), *manifest.feature_shape), table["source_row"].to_numpy()


def read(folder: Path, manifest: Manifest, files: list[Path], tokens: int | None = None) -> Any:
    model: Any = SimpleNamespace(tokens=tokens)
    config = DataConfig.model_validate({"source": manifest.source, "path": "x", "clients": None})
    facts = InputFacts.read(InputFacts.of(manifest, model, config).to_json())
    shape: tuple[int | None, ...] = (None,) if tokens else tuple(manifest.feature_shape)
    reader = Reader(facts, shape, tokens is not None, DataConfig(), False, project=folder)
    return [batch.x for batch in reader.batches(files)]


def test_images_of_different_sizes_as_pillow_has_them(tmp_path: Path) -> None:
    files = images(tmp_path)
    steps: list[dict[str, Any]] = [
        {"name": "resize", "size": [8, 10]},
        {"name": "crop", "size": [8, 6]},
        {"name": "grey"},
    ]
    settings = {"source": "images", "path": "pictures"}
    with pytest.raises(DataError, match="expected an image like the first"):
        prepared(tmp_path, **settings)
    manifest, x, rows = prepared(tmp_path, preprocess=steps, **settings)
    assert (manifest.feature_shape, manifest.feature_dtype) == ((8, 6), "uint8")
    ordered = list(files.values())
    for pixels, row in zip(x, rows, strict=True):
        image = Image.open(ordered[row]).resize((10, 8), Image.Resampling.BILINEAR)
        expected = image.crop((2, 0, 8, 8)).convert("L")
        np.testing.assert_array_equal(pixels, np.asarray(expected))

    steps.append({"name": "normalize"})
    normal, y, _ = prepared(tmp_path, preprocess=steps, **settings)
    values = x / 255
    assert normal.feature_dtype == "float32"
    np.testing.assert_allclose(y, (values - values.mean()) / values.std(), atol=1e-5)
    (first,) = read(tmp_path, normal, [ordered[rows[0]]])
    assert first[0].tobytes() == y[0].tobytes()


def test_a_channel_is_normalized_by_the_training_pixels(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    pixels = draw.integers(0, 256, (60, 5, 4, 3), dtype=np.uint8)
    pixels[..., 2] = 7
    arrays = {"label": np.arange(60) % 2, "client": np.arange(60) // 2 % 5}
    np.savez(tmp_path / "rows.npz", x=pixels, **arrays)
    settings = {"source": "npz", "path": "rows.npz"}
    manifest, x, rows = prepared(tmp_path, preprocess=[{"name": "normalize"}], **settings)
    train = pixels[rows].reshape(-1, 3)[:, :2] / 255
    expected = (pixels[rows][..., :2] / 255 - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(x[..., :2], expected, atol=1e-5)
    np.testing.assert_allclose(x[..., 2], 0, atol=1e-6)
    assert any("channel 2" in note for note in manifest.notes)
    grey = [{"name": "grey"}, {"name": "resize", "size": [3, 3]}]
    _, small, rows = prepared(tmp_path, preprocess=grey, **settings)
    image = Image.fromarray(pixels[rows[0]]).convert("L").resize((3, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small[0], np.asarray(image))


TEXTS = ("The cat sat.", "the dog sat, too!", "A cat", "Ünder the MAT", "dog dog dog", "  ")


def texts(folder: Path) -> list[str]:
    rows = [TEXTS[number % 6] for number in range(60)]
    lines = [f'c{number % 4},"{text}",{number % 2}' for number, text in enumerate(rows)]
    held_out = [f'z{number},"zebra zebra",1' for number in range(40)]
    text = "\n".join(["client,text,label", *lines, *held_out])
    (folder / "rows.csv").write_text(text, encoding="utf-8")
    return rows + ["zebra zebra"] * 40


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_tokens_of_a_vocabulary_of_the_training_texts(tmp_path: Path, unit: str) -> None:
    import re

    rows = texts(tmp_path)
    step = {"name": "tokenize", "unit": unit, "lower": True, "size": 7}
    manifest, x, numbers = prepared(tmp_path, source="csv", path="rows.csv", preprocess=[step])

    def units(text: str) -> list[str]:
        if unit == "words":
            return re.findall(r"\w+|[^\w\s]", text.lower())
        return list(text.lower())

    counts = Counter(entry for number in numbers for entry in units(rows[number]))
    vocabulary = sorted(counts, key=lambda entry: (-counts[entry], entry))[:7]
    assert manifest.tokens == 9
    assert manifest.feature_shape == (max(len(units(text)) for text in rows),)
    place = {entry: number for number, entry in enumerate(vocabulary, 2)}
    for tokens, number in zip(x, numbers, strict=True):
        expected = [place.get(entry, 1) for entry in units(rows[number])] or [1]
        assert tokens.tolist() == expected + [0] * (len(tokens) - len(expected))
    new = tmp_path / "new.csv"
    new.write_text('text\n"The UNHEARD cat, the cat and the dog sat sat sat"\n')
    (batch,) = read(tmp_path, manifest, [new], tokens=manifest.tokens)
    words = units("The UNHEARD cat, the cat and the dog sat sat sat")
    expected = [place.get(entry, 1) for entry in words]
    assert batch[0].tolist() == expected[: len(x[0])] + [0] * (len(x[0]) - len(expected))


def test_held_out_texts_are_not_in_the_vocabulary(tmp_path: Path) -> None:
    texts(tmp_path)
    step = {"name": "tokenize", "unit": "words"}
    settings = {"source": "csv", "path": "rows.csv", "preprocess": [step]}
    for seed in range(3):
        manifest, _, _ = prepared(tmp_path, held_out_fraction=0.95, seed=seed, **settings)
        assert manifest.preprocess is not None
        (fitted,) = manifest.preprocess["steps"]
        table = pq.read_table(tmp_path / "shards" / "clients.parquet")
        takes_part = [
            client
            for client, held_out in zip(
                table["client_id"].to_pylist(), table["held_out"].to_pylist(), strict=True
            )
            if not held_out
        ]
        only_zebras = all(client.startswith("z") for client in takes_part)
        assert (fitted["vocabulary"] == ["zebra"]) == only_zebras
        assert ("zebra" in fitted["vocabulary"]) == any(c.startswith("z") for c in takes_part)


def test_bytes_are_as_without_the_step(tmp_path: Path) -> None:
    texts(tmp_path)
    settings = {"source": "csv", "path": "rows.csv"}
    _, plain, _ = prepared(tmp_path, **settings)
    step = {"name": "tokenize", "unit": "bytes"}
    manifest, x, _ = prepared(tmp_path, preprocess=[step], **settings)
    np.testing.assert_array_equal(x, plain)
    assert (manifest.tokens, manifest.variable_length) == (257, True)
    _, short, _ = prepared(tmp_path, preprocess=[step | {"length": 3}], **settings)
    np.testing.assert_array_equal(short, plain[:, :3])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "grey"}, "expected numbers or pixels, found int32 tokens"),
        ({"name": "standardize"}, "expected numbers or pixels, found int32 tokens"),
    ],
)
def test_texts_are_no_images_or_numbers(tmp_path: Path, step: Any, message: str) -> None:
    texts(tmp_path)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, source="csv", path="rows.csv", preprocess=[step])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "tokenize"}, "expected texts as the one feature"),
        ({"name": "one_hot"}, "expected columns of a table"),
        ({"name": "crop", "size": [6, 3]}, "expected images of at least 6 x 3"),
    ],
)
def test_images_are_no_texts_or_columns(tmp_path: Path, step: Any, message: str) -> None:
    x = np.zeros((20, 5, 4), np.uint8)
    np.savez(tmp_path / "rows.npz", x=x, label=np.arange(20) % 2, client=np.arange(20) // 5)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, source="npz", path="rows.npz", preprocess=[step])


def test_the_length_is_that_of_training_texts_of_clients_that_take_part(tmp_path: Path) -> None:
    lines = [f'c{number % 4},"one two",{number % 2}' for number in range(40)]
    lines += [f'z{number},"{"word " * 500}",1' for number in range(3)]
    (tmp_path / "rows.csv").write_text("\n".join(["client,text,label", *lines]))
    step = {"name": "tokenize", "unit": "words"}
    settings = {"source": "csv", "path": "rows.csv", "preprocess": [step], "clients": 4}
    manifest, _, _ = prepared(tmp_path, **settings)
    assert manifest.clients == 4
    assert manifest.feature_shape == (2,)
