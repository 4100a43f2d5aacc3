"""What a user's files become before a model sees them, and what is refused: real files, no model."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fedpipe.config import DataConfig
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import DataError
from fedpipe.inference.input_reader import Reader
from fedpipe.models.input_facts import InputFacts

PIXELS = InputFacts("uint8")


def read(file, facts=PIXELS, shape=(2, 3), tokens=False, invert=False, **settings):
    parts = list(Reader(facts, shape, tokens, DataConfig(**settings), invert).batches([Path(file)]))
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
    with pytest.raises(
        DataError, match=r"x\.png: expected an image of 2 x 3 \(grey\), found 2 x 3 x 3 \(colour\)"
    ):
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
    x, _ = read(
        parquet(who=["a"], a=[0.5], b=[-1.5]), InputFacts("float32"), (2,), client_column="who"
    )
    assert x.tolist() == [[0.5, -1.5]]


def test_shards_are_read_as_they_are(tmp_path):
    schema = pa.schema(
        [
            ("client_id", pa.string()),
            ("x", pa.binary(6)),
            ("y", pa.int32()),
            ("source_row", pa.int64()),
        ]
    )
    table = pa.table(
        [["a", "a"], [bytes([0, 51, 102, 153, 204, 255])] * 2, [1, 2], [0, 1]], schema=schema
    )
    pq.write_table(table, tmp_path / "test-00000.parquet")
    x, _ = read(tmp_path / "test-00000.parquet", InputFacts("uint8", inverted=True))
    np.testing.assert_allclose(x[1], [[0, 0.2, 0.4], [0.6, 0.8, 1]], rtol=1e-6)
    rows_per_batch = 4096
    many = pa.concat_tables([table] * rows_per_batch)
    pq.write_table(many, tmp_path / "train-00000.parquet")
    x, rows = read(tmp_path / "train-00000.parquet", InputFacts("uint8"))
    assert (len(x), rows) == (2 * rows_per_batch, [0, rows_per_batch])
    with pytest.raises(
        DataError, match=r"expected shards of the model's features, 4, found fixed_size_binary\[6\]"
    ):
        read(tmp_path / "test-00000.parquet", InputFacts("uint8"), (4,))


def test_sequences_are_padded_and_their_tokens_known(parquet):
    tokens = pa.array([[1, 2, 3], [4]], pa.list_(pa.int64()))
    x, _ = read(parquet(text=tokens), InputFacts("int32", tokens=5), (None,), tokens=True)
    assert x.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert read(parquet(text=["ab"]), InputFacts("int32"), (None,), tokens=True)[0].tolist() == [
        [98, 99]
    ]
    with pytest.raises(DataError, match="expected tokens from 1 to 3, found 4"):
        read(parquet(text=tokens), InputFacts("int32", tokens=4), (None,), tokens=True)


def test_what_does_not_fit_is_refused(png, parquet, tmp_path):
    with pytest.raises(
        DataError, match=r"expected an image of 28 x 28 \(grey\), found 2 x 3 \(grey\)"
    ):
        read(png(GREY), shape=(28, 28))
    with pytest.raises(DataError, match="expected 6 numbers in a row, for features of 2 x 3"):
        read(parquet(pixels=pa.array([[1, 2]], pa.list_(pa.uint8()))))
    for texts in (["ab", "abc"], pa.array([[1, 2], [3]], pa.list_(pa.int64()))):
        with pytest.raises(
            DataError,
            match=r"expected 2 numbers in a row, for features of 2, found sequences \(texts or tokens\) from row 0 on",
        ):
            read(parquet(text=texts), InputFacts(), (2,))
    with pytest.raises(DataError, match="expected features that fit uint8, found others at row 1"):
        read(parquet(pixels=pa.array([[1, 2, 3, 4, 5, 999]], pa.list_(pa.int64(), 6))))
    with pytest.raises(DataError, match="expected features that are numbers, found name"):
        read(parquet(name=["x"], a=[1]), InputFacts("float32"), (2,))
    with pytest.raises(DataError, match="the model takes float32, found an image"):
        read(png(GREY), InputFacts("float32"))
    with pytest.raises(DataError, match="--invert: expected a model of pixels"):
        read(parquet(text=["ab"]), InputFacts("int32"), (None,), tokens=True, invert=True)
    for name, words in (("gone.png", "found nothing"), ("notes.xyz", r"found \.xyz")):
        (tmp_path / "notes.xyz").touch()
        with pytest.raises(DataError, match=words):
            read(tmp_path / name)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"broken\.parquet: expected a Parquet file"):
        read(tmp_path / "broken.parquet")


NAMED = InputFacts("float32", source="csv", columns=("a", "b"))


def test_columns_are_found_by_name_in_any_order(parquet, caplog):
    expected = read(parquet(a=[1.0, 2.0], b=[3.0, 4.0]), NAMED, (2,))[0]
    assert expected.tolist() == [[1, 3], [2, 4]]
    for columns in (
        {"b": [3.0, 4.0], "a": [1.0, 2.0]},
        {"label": ["x", "y"], "b": [3.0, 4.0], "client": ["c", "c"], "a": [1, 2]},
    ):
        assert read(parquet(**columns), NAMED, (2,))[0].tolist() == expected.tolist()
    assert not caplog.records
    assert (
        read(parquet(id=[7, 8], b=[3.0, 4.0], a=[1.0, 2.0]), NAMED, (2,))[0].tolist()
        == expected.tolist()
    )
    assert "x.parquet: columns that the model does not know are left out: id" in caplog.text


def test_missing_columns_are_named_with_surplus_ones(parquet):
    with pytest.raises(
        DataError,
        match=r"expected the 2 columns .* found no b; columns that the model does not know: B, c\. Add or rename",
    ):
        read(parquet(a=[1.0], B=[2.0], c=[3.0]), NAMED, (2,))


def test_the_runs_own_columns_count_and_not_the_projects(parquet):
    facts = replace(
        NAMED, reading={"source": "csv", "client_column": "who", "label_column": "species"}
    )
    x, _ = read(
        parquet(who=["u"], b=[2.0], species=["setosa"], a=[1.0]),
        facts,
        (2,),
        client_column="client",
        label_column="label",
    )
    assert x.tolist() == [[1, 2]]


def test_a_model_that_knows_no_names_says_so(parquet, caplog):
    assert read(parquet(b=[1.0], a=[2.0]), InputFacts("float32"), (2,))[0].tolist() == [[1, 2]]
    assert "columns are taken in the order of the file" in caplog.text


def test_arrays_are_read_with_or_without_labels(tmp_path):
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "labelled.npz", x=x.reshape(2, 2, 3), label=[0, 1], client=["a", "b"])
    for name in ("x.npz", "labelled.npz"):
        found, rows = read(tmp_path / name, InputFacts("float32", source="npz"))
        np.testing.assert_array_equal(found, x.reshape(2, 2, 3))
        assert rows == [0]
    np.savez(tmp_path / "turned.npz", x=x.reshape(2, 3, 2))
    with pytest.raises(DataError, match="would tear the rows apart"):
        read(tmp_path / "turned.npz", InputFacts("float32", source="npz"))


def test_a_folder_of_images_is_read_image_by_image(png, tmp_path, caplog):
    for number, name in enumerate(["c/1/b.png", "c/1/a.png", "d.png"]):
        (tmp_path / "pics" / name).parent.mkdir(parents=True, exist_ok=True)
        png(np.full((2, 3), 51 * number, np.uint8), name=f"pics/{name}")
    (tmp_path / "pics" / "._d.png").write_bytes(b"x")
    (tmp_path / "pics" / "notes.txt").touch()
    parts = list(Reader(PIXELS, (2, 3), False, DataConfig(), False).batches([tmp_path / "pics"]))
    assert [
        (str(part.file.relative_to(tmp_path / "pics")), round(float(part.x[0, 0, 0]), 3))
        for part in parts
    ] == [
        ("c/1/a.png", 0.2),
        ("c/1/b.png", 0.0),
        ("d.png", 0.4),
    ]
    assert "left out: files that are no images: 1 (1 .txt)" in caplog.text


def test_what_the_models_own_source_reads_is_taken(tmp_path):
    body = {
        "users": ["u"],
        "num_samples": [2],
        "user_data": {"u": {"x": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1]}},
    }
    (tmp_path / "new.json").write_text(json.dumps(body))
    assert read(
        tmp_path / "new.json",
        InputFacts("float32", source="leaf", reading={"source": "leaf"}),
        (2,),
    )[0].tolist() == [
        [1, 2],
        [3, 4],
    ]
    (tmp_path / "readings_of_mine.py").write_text(
        "import numpy as np\nfrom fedpipe.data.sources import Batch, Source\n"
        "def lines(config, project):\n"
        "    x = np.array([[float(v) for v in line.split()] for line in open(config.path)], np.float32)\n"
        "    return Source(lambda: [Batch(x[n : n + 1], np.zeros(1, int)) for n in range(len(x))])\n"
    )
    (tmp_path / "new.readings").write_text("1 2\n3 4\n5 6\n")
    facts = InputFacts(
        "float32", source="readings_of_mine:lines", reading={"source": "readings_of_mine:lines"}
    )
    parts = list(
        Reader(facts, (2,), False, DataConfig(), False, project=tmp_path).batches(
            [tmp_path / "new.readings"]
        )
    )
    assert np.concatenate([part.x for part in parts]).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert [part.first_row for part in parts] == [0, 1, 2]

    drawn = replace(
        facts, reading={**facts.reading, "path": None}
    )  # it read no file in training: it would draw its training data again
    (tmp_path / "new.readings").write_text("")
    with pytest.raises(DataError, match=r"expected an image, a table .*, found \.readings"):
        list(
            Reader(drawn, (2,), False, DataConfig(), False, project=tmp_path).batches(
                [tmp_path / "new.readings"]
            )
        )


@pytest.mark.parametrize(
    "kind",
    [
        "the model's",
        "old facts",
        "another source",
        "another shape",
        "other labels",
        "another convention",
    ],
)
def test_shards_of_another_kind_are_refused(tmp_path, kind):
    data = {"client": ["a", "a", "b", "b"], "label": ["x", "y", "x", "y"]}
    np.savez(tmp_path / "f.npz", x=np.arange(24, dtype=np.uint8).reshape(4, 2, 3), **data)
    manifest = prepare_shards(
        DataConfig(source="npz", path="f.npz", clients=None), tmp_path / "out" / "shards", tmp_path
    )
    model = SimpleNamespace(tokens=None)
    facts = InputFacts.of(manifest, model)
    other, shape = {
        "the model's": (facts, (2, 3)),
        "old facts": (InputFacts("uint8", labels=("x", "y")), (2, 3)),
        "another source": (replace(facts, source="mnist5k"), (2, 3)),
        "another shape": (facts, (6,)),
        "other labels": (replace(facts, labels=("x", "z")), (2, 3)),
        "another convention": (replace(facts, pixel_convention="ink=1.0"), (2, 3)),
    }[kind]
    file = tmp_path / "out" / "shards" / "train-00000.parquet"
    if kind in ("the model's", "old facts"):
        assert read(file, other, shape)[0].shape == (2, 2, 3)
        return
    named = {
        "another source": "source npz, the model's mnist5k",
        "another shape": "features of 2 x 3 .*, the model's 6",
        "other labels": "labels x, y, the model's x, z",
    }
    with pytest.raises(
        DataError,
        match=f"expected shards of the kind that the model was trained on, found others: {named.get(kind, 'pixel convention')}",
    ):
        read(file, other, shape)


def test_what_the_facts_say_survives_the_store():
    facts = InputFacts(
        "uint8", True, ("a",), None, "csv", None, ("x", "y"), {"source": "csv", "label_column": "z"}
    )
    assert InputFacts.read(json.loads(json.dumps(facts.to_json()))) == facts
    assert InputFacts.read({"feature_dtype": "uint8", "columns": 7, "reading": []}) == InputFacts(
        "uint8"
    )


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("a,b\n1.5,3\n2,4\n", {}),
        ("b,client,a,label\n3,u,1.5,x\n4,u,2,y\n", {}),
        ("b;a\n3;1,5\n4;2\n", {"separator": ";", "decimal": ","}),
        ('note,b,a\n"two\nlines",3,1.5\nx,4,2\n', {"ignore_columns": ["note"]}),
    ],
)
def test_csv_files_are_read_as_the_training_data_were(tmp_path, text, reading):
    (tmp_path / "new.csv").write_text(text)
    facts = replace(NAMED, reading={"source": "csv", **reading})
    x, rows = read(tmp_path / "new.csv", facts, (2,))
    assert (x.tolist(), x.dtype, rows) == ([[1.5, 3], [2, 4]], np.float32, [0])


def test_a_folder_of_parts_is_one_table_with_names(tmp_path):
    for number, columns in enumerate(({"a": [1.0], "b": [2.0]}, {"b": [4.0], "a": [3.0]})):
        (tmp_path / "parts").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), tmp_path / "parts" / f"part-{number}.parquet")
    assert read(tmp_path / "parts", NAMED, (2,))[0].tolist() == [[1, 2], [3, 4]]
    (tmp_path / "parts" / "manifest.json").touch()
    with pytest.raises(DataError, match="expected a file of these shards, found their folder"):
        read(tmp_path / "parts", NAMED, (2,))


def test_what_a_model_keeps_of_a_csv_is_what_predict_needs(tmp_path):
    lines = ["who;height;species;width", *(f"u{i % 3};{i},5;{'ab'[i % 2]};{i}" for i in range(30))]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    config = DataConfig(
        source="csv",
        path="train.csv",
        client_column="who",
        label_column="species",
        decimal=",",
        clients=None,
    )
    manifest = prepare_shards(config, tmp_path / "out" / "shards", tmp_path)
    facts = InputFacts.read(
        json.loads(
            json.dumps(InputFacts.of(manifest, SimpleNamespace(tokens=None), config).to_json())
        )
    )
    assert (facts.columns, facts.labels) == (("height", "width"), ("a", "b"))
    (tmp_path / "new.csv").write_text("width;height\n7;1,5\n8;2,5\n")
    assert read(tmp_path / "new.csv", facts, (2,))[0].tolist() == [[1.5, 7], [2.5, 8]]
    pq.write_table(pa.table({"width": [7], "height": [1.5]}), tmp_path / "new.parquet")
    assert read(tmp_path / "new.parquet", facts, (2,))[0].tolist() == [[1.5, 7]]
    (tmp_path / "new.csv").write_text("width;length\n7;1,5\n")
    with pytest.raises(
        DataError, match="found no height; columns that the model does not know: length"
    ):
        read(tmp_path / "new.csv", facts, (2,))


def test_pixels_in_columns_become_the_models_image_whatever_their_order(tmp_path):
    pixels = {f"p{i}": [i * 51] for i in range(6)}
    facts = InputFacts(
        "uint8",
        source="csv",
        columns=tuple(pixels),
        reading={"source": "csv", "feature_shape": [2, 3]},
    )
    expected = np.arange(6).reshape(1, 2, 3) / 5
    for names in (list(pixels), list(reversed(pixels))):
        (tmp_path / "new.csv").write_text(
            ",".join(names) + "\n" + ",".join(str(pixels[name][0]) for name in names) + "\n"
        )
        np.testing.assert_allclose(read(tmp_path / "new.csv", facts)[0], expected, rtol=1e-6)
