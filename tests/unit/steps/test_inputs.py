"""What a user's files become before a model sees them, and what is refused: real files, no model."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fedpipe.config import DataConfig
from fedpipe.errors import DataError
from fedpipe.models.saved import InputFacts
from fedpipe.steps.inputs import Reader

PIXELS = InputFacts("uint8")


def read(file, facts=PIXELS, shape=(2, 3), tokens=False, invert=False, **settings):
    parts = list(Reader(facts, shape, tokens, DataConfig(**settings), invert).parts([Path(file)]))
    return np.concatenate([part.x for part in parts]), [part.first_row for part in parts]


@pytest.fixture
def png(tmp_path):
    def make(values, mode=None, name="x.png"):
        path = tmp_path / name
        Image.fromarray(np.asarray(values, np.uint8), mode).save(path)
        return path

    return make


@pytest.fixture
def parquet(tmp_path):
    def make(**columns):
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return make


GREY = [[0, 51, 102], [153, 204, 255]]


def test_an_image_becomes_fractions(png):
    x, rows = read(png(GREY))
    np.testing.assert_allclose(x, [[[0, 0.2, 0.4], [0.6, 0.8, 1]]], rtol=1e-6)
    assert (x.dtype, rows) == (np.float32, [None])


def test_grey_kept_as_colour_is_grey_and_colour_is_not(png):
    x, _ = read(png(np.repeat(np.array(GREY)[..., None], 3, axis=2)))
    assert x.shape == (1, 2, 3)
    colour = np.zeros((2, 3, 3), np.uint8)
    colour[..., 0] = 255
    with pytest.raises(DataError, match=r"x\.png: expected an image of 2 x 3 \(grey\), found 2 x 3 x 3 \(colour\)"):
        read(png(colour))
    assert read(png(colour), shape=(2, 3, 3))[0].shape == (1, 2, 3, 3)


@pytest.mark.parametrize(("inverted", "invert"), [(True, False), (False, True)])
def test_drawings_are_turned_over_once(png, inverted, invert):
    x, _ = read(png(GREY), InputFacts("uint8", inverted), invert=invert)
    np.testing.assert_allclose(x[0, 0], [1, 0.8, 0.6], rtol=1e-6)
    assert read(png(GREY), InputFacts("uint8", inverted=True), invert=True)[0][0, 0, 0] == 0


def test_rows_of_lists_and_of_columns_without_label_and_client(parquet):
    lists = pa.array([[0, 51, 102, 153, 204, 255], [255] * 6], pa.list_(pa.uint8()))
    x, rows = read(parquet(client=["a", "b"], pixels=lists, label=[1, 2], split=["train", "test"]))
    np.testing.assert_allclose(x[0], [[0, 0.2, 0.4], [0.6, 0.8, 1]], rtol=1e-6)
    assert (x.shape, rows) == ((2, 2, 3), [0])
    x, _ = read(parquet(who=["a"], a=[0.5], b=[-1.5]), InputFacts("float32"), (2,), client_column="who")
    assert x.tolist() == [[0.5, -1.5]]


def test_shards_are_read_as_they_are(tmp_path):
    schema = pa.schema([("client_id", pa.string()), ("x", pa.binary(6)), ("y", pa.int32()), ("source_row", pa.int64())])
    table = pa.table([["a", "a"], [bytes([0, 51, 102, 153, 204, 255])] * 2, [1, 2], [0, 1]], schema=schema)
    pq.write_table(table, tmp_path / "test-00000.parquet")
    x, _ = read(tmp_path / "test-00000.parquet", InputFacts("uint8", inverted=True))
    np.testing.assert_allclose(x[1], [[0, 0.2, 0.4], [0.6, 0.8, 1]], rtol=1e-6)
    with pytest.raises(DataError, match=r"expected shards of the model's features, 4, found fixed_size_binary\[6\]"):
        read(tmp_path / "test-00000.parquet", InputFacts("uint8"), (4,))


def test_sequences_are_padded_and_their_tokens_known(parquet):
    tokens = pa.array([[1, 2, 3], [4]], pa.list_(pa.int64()))
    x, _ = read(parquet(text=tokens), InputFacts("int32", tokens=5), (None,), tokens=True)
    assert x.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert read(parquet(text=["ab"]), InputFacts("int32"), (None,), tokens=True)[0].tolist() == [[98, 99]]
    with pytest.raises(DataError, match="expected tokens from 1 to 3, found 4"):
        read(parquet(text=tokens), InputFacts("int32", tokens=4), (None,), tokens=True)


def test_what_does_not_fit_is_refused(png, parquet, tmp_path):
    with pytest.raises(DataError, match=r"expected an image of 28 x 28 \(grey\), found 2 x 3 \(grey\)"):
        read(png(GREY), shape=(28, 28))
    with pytest.raises(DataError, match="expected 6 numbers in a row, for features of 2 x 3"):
        read(parquet(pixels=pa.array([[1, 2]], pa.list_(pa.uint8()))))
    for texts in (["ab", "abc"], pa.array([[1, 2], [3]], pa.list_(pa.int64()))):
        with pytest.raises(DataError, match="expected 2 numbers in a row, for features of 2, found texts or tokens from row 0 on"):
            read(parquet(text=texts), InputFacts(), (2,))
    with pytest.raises(DataError, match="expected features that fit uint8, found others at row 1"):
        read(parquet(pixels=pa.array([[1, 2, 3, 4, 5, 999]], pa.list_(pa.int64(), 6))))
    with pytest.raises(DataError, match="expected features that are numbers, found name"):
        read(parquet(name=["x"], a=[1]), InputFacts("float32"), (2,))
    with pytest.raises(DataError, match="the model takes float32, found an image"):
        read(png(GREY), InputFacts("float32"))
    with pytest.raises(DataError, match="--invert: expected a model of pixels"):
        read(parquet(text=["ab"]), InputFacts("int32"), (None,), tokens=True, invert=True)
    for name, words in (("gone.png", "found nothing"), (".", "found a folder"), ("notes.txt", r"found \.txt")):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(DataError, match=words):
            read(tmp_path / name)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"broken\.parquet: expected a Parquet file"):
        read(tmp_path / "broken.parquet")
