"""Users' own files: what is right comes through unchanged, whatever else is one clear error."""

import io
import json
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedpipe.config import DataConfig
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import open_source
from fedpipe.errors import DataError

HARD_IDS = [
    "a/b",
    "../up",
    ".",
    "..",
    "a b",
    "zoë",
    "名前",
    "x" * 1000,
    "line\nbreak",
    "007",
    "-1",
    "CON",
    "a\\b",
    "'; --",
    "𝄞",
]
FAST = settings(max_examples=40, deadline=None, derandomize=True)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=0, max_size=8) | st.sampled_from(
    HARD_IDS
)
values = st.floats(width=32) | st.integers(-5, 300)


def read(folder: Path, source: str, name: str, **changes: Any) -> list[tuple[Any, Any, Any]]:
    """Return (client, label, features) of each example, as the source gives them."""
    config = DataConfig(source=source, path=name, clients=None, **changes)
    found = []
    for batch in open_source(config, folder).batches():
        clients = batch.clients or [None] * len(batch.y)
        found += [(c, y, np.asarray(x)) for c, y, x in zip(clients, batch.y, batch.x, strict=True)]
    return found


def found_or_refused(
    read_it: Callable[[], list[tuple[Any, Any, Any]]],
) -> tuple[list[tuple[Any, Any, Any]], str]:
    """Return the examples, or none and the one line of the refusal. Any other exception is a failure."""
    try:
        return read_it(), ""
    except DataError as err:
        said = str(err)
    assert "\n" not in said
    assert "expected" in said or "found" in said or "damaged" in said, said
    return [], said


def right_or_refused(
    read_it: Callable[[], list[tuple[Any, Any, Any]]], expected: list[tuple[Any, Any, Any]]
) -> None:
    """The law of every adapter."""
    found, refusal = found_or_refused(read_it)
    if refusal:
        return
    assert len(found) == len(expected)
    for (client, label, x), (wanted_client, wanted_label, wanted_x) in zip(
        found, expected, strict=True
    ):
        assert (client, label) == (wanted_client, wanted_label)
        np.testing.assert_array_equal(x, np.asarray(wanted_x, np.float32))


rows = st.lists(
    st.tuples(ids, st.integers(-1, 9), st.lists(values, min_size=2, max_size=2)),
    min_size=1,
    max_size=6,
)


@given(rows)
@FAST
def test_parquet(rows: list[tuple[str, int, list[float]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        columns = {"client": [r[0] for r in rows], "label": [r[1] for r in rows]}
        columns |= {f"p{i}": [float(r[2][i]) for r in rows] for i in range(2)}
        pq.write_table(pa.table(columns), Path(name) / "f")
        right_or_refused(lambda: read(Path(name), "parquet", "f"), rows)


@given(rows)
@FAST
def test_csv(rows: list[tuple[str, int, list[float]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        columns = {"client": [r[0] for r in rows], "label": [r[1] for r in rows]}
        columns |= {f"p{i}": [float(np.float32(r[2][i])) for r in rows] for i in range(2)}
        pc.write_csv(pa.table(columns), Path(name) / "f")
        right_or_refused(lambda: read(Path(name), "csv", "f"), rows)


@given(rows)
@FAST
def test_npz(rows: list[tuple[str, int, list[float]]]) -> None:
    # NumPy drops zeros at the end of a string; that is the file's loss, not the adapter's.
    rows = [(client.rstrip("\0"), label, x) for client, label, x in rows]
    with tempfile.TemporaryDirectory() as name:
        x = np.array([r[2] for r in rows], np.float64)
        np.savez(
            Path(name) / "f.npz",
            x=x,
            label=np.array([r[1] for r in rows]),
            client=np.array([r[0] for r in rows]),
        )
        right_or_refused(lambda: read(Path(name), "npz", "f.npz"), rows)


@given(
    st.lists(
        st.tuples(
            ids,
            st.lists(
                st.tuples(st.integers(-1, 9), st.lists(values, min_size=1, max_size=3)), max_size=4
            ),
        ),
        max_size=4,
    )
)
@example([("line\nbreak", []), ("line\nbreak", [])])
@FAST
def test_leaf(users: list[tuple[str, list[tuple[int, list[float]]]]]) -> None:
    names = [user for user, _ in users]
    data = {user: {"x": [x for _, x in part], "y": [y for y, _ in part]} for user, part in users}
    body = {
        "users": names,
        "num_samples": [len(data[user]["y"]) for user in names],
        "user_data": data,
    }
    expected = [
        (user, y, x) for user in data for y, x in zip(data[user]["y"], data[user]["x"], strict=True)
    ]
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "f.json").write_text(json.dumps(body), encoding="utf-8")
        right_or_refused(lambda: read(Path(name), "leaf", "f.json"), expected)


GOOD = {
    "client": ["a", "a", "b", "b"],
    "label": [0, 1, 0, 1],
    "p0": [0.0, 0.5, 1.0, 0.25],
    "p1": [1.0, 0.0, 0.5, 0.75],
}


def good_file(folder: Path, source: str) -> Path:
    path = (
        folder
        / {
            "parquet": "f.parquet",
            "csv": "f.csv",
            "npz": "f.npz",
            "leaf": "f.json",
            "sqlite": "f.sqlite",
        }[source]
    )
    x = np.array([GOOD["p0"], GOOD["p1"]]).T
    if source == "parquet":
        pq.write_table(pa.table(GOOD), path)
    elif source == "csv":
        pc.write_csv(pa.table(GOOD), path)
    elif source == "npz":
        np.savez_compressed(path, x=x, label=GOOD["label"], client=GOOD["client"])
    elif source == "leaf":
        parts = {
            user: [i for i, name in enumerate(GOOD["client"]) if name == user]
            for user in ("a", "b")
        }
        data = {
            user: {"x": x[part].tolist(), "y": [GOOD["label"][i] for i in part]}
            for user, part in parts.items()
        }
        path.write_text(json.dumps({"users": ["a", "b"], "num_samples": [2, 2], "user_data": data}))
    else:
        import tensorflow as tf

        with sqlite3.connect(path) as connection:
            connection.execute(
                "CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)"
            )
            for client, label, vector in zip(
                GOOD["client"], GOOD["label"], x.tolist(), strict=True
            ):
                features = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=vector))}
                features["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
                proto = tf.train.Example(
                    features=tf.train.Features(feature=features)
                ).SerializeToString()
                connection.execute("INSERT INTO examples VALUES ('train', ?, ?)", (client, proto))
        connection.close()
    return path


EXPECTED = [(c, y, [p, q]) for c, y, p, q in zip(*GOOD.values(), strict=True)]


@pytest.mark.parametrize("source", ["parquet", "csv", "npz", "leaf", "sqlite"])
def test_a_good_file_comes_through_and_a_damaged_one_is_refused(
    tmp_path: Path, source: str
) -> None:
    path = good_file(tmp_path, source)
    found = read(tmp_path, source, path.name)
    assert [(c, y, x.tolist()) for c, y, x in found] == EXPECTED
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    damaged = [b"", b"\x89PNG\r\n\x1a\n" + whole, whole[: len(whole) // 2], whole[:-1]]
    for _ in range(40):
        flipped = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            flipped[place] ^= int(rng.integers(1, 256))
        damaged.append(bytes(flipped))
    refused = 0
    for body in damaged:
        path.write_bytes(body)
        _, refusal = found_or_refused(lambda: read(tmp_path, source, path.name))
        refused += bool(refusal)
    assert (
        refused >= 3
    )  # the three that are cut or of another kind; a flipped bit may be a value like another


@pytest.mark.parametrize("source", ["parquet", "csv", "npz", "leaf"])
@pytest.mark.parametrize("column", ["client", "label"])
def test_a_missing_column_is_named(tmp_path: Path, source: str, column: str) -> None:
    path = good_file(tmp_path, source)
    if source == "leaf":
        path.write_text(
            path.read_text().replace({"client": '"users"', "label": '"y"'}[column], '"other"')
        )
        message = "users" if column == "client" else "lists x and y"
    else:
        message = f"{column}_column|the arrays x, label, client"
    changes = {} if source == "leaf" else {f"{column}_column": "nowhere"}
    with pytest.raises(DataError, match=message):
        read(tmp_path, source, path.name, **changes)


def test_nan_is_named_with_its_row(tmp_path: Path) -> None:
    pq.write_table(pa.table(GOOD | {"p0": [0.0, 1.0, float("nan"), 0.0]}), tmp_path / "f")
    with pytest.raises(DataError, match=r"row 3, column p0: .* found no value \(NaN\)"):
        read(tmp_path, "parquet", "f")


def test_no_id_becomes_a_path_and_all_come_back(tmp_path: Path) -> None:
    """From a file to shards and to resident files."""
    from fedpipe.data.resident import ResidentCache

    count = len(HARD_IDS) * 3
    x = np.arange(count * 4, dtype=np.float64).reshape(count, 4)
    table = {
        "client": [HARD_IDS[i % len(HARD_IDS)] for i in range(count)],
        "label": [i % 2 for i in range(count)],
    }
    pq.write_table(pa.table(table | {f"p{i}": x[:, i] for i in range(4)}), tmp_path / "f")
    prepare_shards(
        DataConfig(source="parquet", path="f", clients=None), tmp_path / "out" / "shards", tmp_path
    )
    population = Population.open(tmp_path / "out" / "shards")
    assert population.client_ids() == tuple(sorted(HARD_IDS))
    cache = ResidentCache.of(population, tmp_path / "out" / "cache", 10**9)
    for client in cache.clients(HARD_IDS):
        assert Path(client.path).resolve().is_relative_to(tmp_path / "out" / "cache")
    for client_id in HARD_IDS:
        got = np.concatenate(
            [population.examples(client_id, split).x for split in ("train", "test")]
        )
        mine = x[[i for i, name in enumerate(table["client"]) if name == client_id]]
        assert sorted(got.tolist()) == mine.tolist()
    assert {path.name for path in tmp_path.iterdir()} == {"f", "out"}


@pytest.mark.parametrize("bad", ["", "x" * 1001])
def test_an_id_of_no_or_too_many_characters_is_refused(tmp_path: Path, bad: str) -> None:
    pq.write_table(pa.table(GOOD | {"client": ["a", bad, "b", "b"]}), tmp_path / "f")
    with pytest.raises(
        DataError,
        match=r"1 to 1000 characters, found .* at row 2 \(the first row is 1\), column client",
    ):
        read(tmp_path, "parquet", "f")


def test_an_npz_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (300_000_000,)}
    )
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for _ in range(300):
            member.write(bytes(1_000_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 1_000_000
    with pytest.raises(DataError, match=r"memory_limit_mb=64, found 300 MB"):
        read(tmp_path, "npz", "bomb.npz", memory_limit_mb=64)


def test_an_npz_with_a_pickle_is_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "f.npz", x=np.zeros((2, 2)), label=[0, 1], client=np.array(["a", "b"], object)
    )
    with pytest.raises(DataError, match="without pickled objects"):
        read(tmp_path, "npz", "f.npz")


def images(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    from PIL import Image

    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size[::-1], len(name), np.uint8)).save(folder / name)


def test_images_are_read_and_what_is_no_image_is_named(tmp_path: Path) -> None:
    images(tmp_path / "p", {"anna/3/1.png": (4, 5), "anna/12/1.png": (4, 5), "b o/3/ä.png": (4, 5)})
    found = read(tmp_path, "images", "p")
    assert [(c, int(y)) for c, y, _ in found] == [("anna", 12), ("anna", 3), ("b o", 3)]
    assert all(x.shape == (5, 4) and x.dtype == np.uint8 for _, _, x in found)
    (tmp_path / "p" / "anna" / "3" / "2.png").write_bytes(b"GIF89a no image")
    with pytest.raises(DataError, match=r"2\.png: expected an image"):
        read(tmp_path, "images", "p")
    (tmp_path / "p" / "anna" / "3" / "2.png").unlink()
    images(tmp_path / "p", {"anna/3/2.png": (8, 8)})
    with pytest.raises(
        DataError,
        match=r"2\.png: expected an image like the first, 4 x 5 grey .*anna/12/1\.png\), found 8 x 8 grey",
    ):
        read(tmp_path, "images", "p")


def test_a_link_out_of_the_folder_and_a_bomb_of_pixels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "p", {"a/1/1.png": (4, 4)})
    images(tmp_path / "elsewhere", {"secret.png": (4, 4)})
    link = tmp_path / "p" / "a" / "1" / "2.png"
    link.symlink_to(tmp_path / "elsewhere" / "secret.png")
    with pytest.raises(DataError, match=r"2\.png: expected an image inside"):
        read(tmp_path, "images", "p")
    link.unlink()
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 7)
    with pytest.raises(DataError, match="expected an image that is safe to unpack"):
        read(tmp_path, "images", "p")


def test_sequences_keep_their_lengths_and_are_padded_with_zeros(tmp_path: Path) -> None:
    sequences = [[5], [7, 8, 9], [1, 2], [3, 3, 3, 3]]
    pq.write_table(
        pa.table({"client": ["a", "a", "b", "b"], "label": [0, 1, 0, 1], "tokens": sequences}),
        tmp_path / "f",
    )
    manifest = prepare_shards(
        DataConfig(source="parquet", path="f", clients=None), tmp_path / "shards", tmp_path
    )
    assert (manifest.feature_dtype, manifest.feature_shape, manifest.variable_length) == (
        "int32",
        (4,),
        True,
    )
    population = Population.open(tmp_path / "shards")
    got = [
        x.tolist()
        for c in "ab"
        for split in ("train", "test")
        for x in population.examples(c, split).x
    ]
    assert sorted(got) == sorted([one + [0] * (4 - len(one)) for one in sequences])


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (["u", 7], "expected names of users as texts, found '7'"),
        (["u", "u", "v"], r"found more than once: 'u'\. Merge"),
        (["u"], r"found in one of them alone: 'v'\."),
        (["u", "v", "w"], r"found in one of them alone: 'w'\."),
    ],
)
def test_users_of_leaf_that_do_not_match_are_named(
    tmp_path: Path, users: list[str | int], message: str
) -> None:
    part = {"x": [[0.5]], "y": [1]}
    body = {"users": users, "num_samples": [1] * len(users), "user_data": {"u": part, "v": part}}
    (tmp_path / "f.json").write_text(json.dumps(body))
    with pytest.raises(DataError, match=message):
        read(tmp_path, "leaf", "f.json")


def test_texts_are_their_bytes_plus_one(tmp_path: Path) -> None:
    part = {"x": ["ab", "é"], "y": ["c", "d"]}
    body = {"users": ["u"], "num_samples": [2], "user_data": {"u": part}}
    (tmp_path / "f.json").write_text(json.dumps(body))
    found = read(tmp_path, "leaf", "f.json")
    assert [(y, x.tolist()) for _, y, x in found] == [("c", [98, 99]), ("d", [196, 170])]


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("uint8", "row 2, column p0: expected a whole number from 0 to 255, .* found 0.5"),
        ("int32", "row 2, column p0: .*data.feature_dtype=int32"),
    ],
)
def test_features_that_do_not_fit_the_asked_dtype_are_named(
    tmp_path: Path, dtype: str, message: str
) -> None:
    pq.write_table(pa.table(GOOD), tmp_path / "f")
    with pytest.raises(DataError, match=message):
        read(tmp_path, "parquet", "f", feature_dtype=dtype)
    whole = GOOD | {"p0": [0, 255, 3, 4], "p1": [1, 2, 3, 4]}
    pq.write_table(pa.table(whole), tmp_path / "f")
    assert {x.dtype.name for _, _, x in read(tmp_path, "parquet", "f", feature_dtype=dtype)} == {
        dtype
    }
    assert {x.dtype.name for _, _, x in read(tmp_path, "parquet", "f")} == {"float32"}
