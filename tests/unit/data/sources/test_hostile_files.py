"""Files made to harm: links and names that lead out of a folder, bombs, damaged images and databases. One line of refusal each."""

import io
import json
import sqlite3
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpipe.config import DataConfig
from fedpipe.data.sources import open_source
from fedpipe.errors import DataError

FAST = settings(max_examples=60, deadline=None, derandomize=True)
SIZE = (5, 4)


def read(folder: Path, source: str, name: str, **changes: Any) -> list[tuple[Any, Any, Any]]:
    """Return (client, label, features) of each example, as the source gives them."""
    config = DataConfig(source=source, path=name, clients=None, **changes)
    found = []
    for batch in open_source(config, folder).batches():
        found += [
            (c, y, np.asarray(x))
            for c, y, x in zip(batch.clients or [], batch.y, batch.x, strict=True)
        ]
    return found


def refusal(read_it: Callable[[], Any]) -> str:
    """Return the one line of a refusal, empty if there is none. Any other exception is a failure."""
    try:
        read_it()
    except DataError as err:
        said = str(err)
    else:
        return ""
    assert "\n" not in said
    assert "expected" in said
    return said


def png(value: int = 0, size: tuple[int, int] = SIZE, mode: str = "L", kind: str = "PNG") -> bytes:
    from PIL import Image

    body = io.BytesIO()
    Image.new(mode, size, value if mode in ("L", "1", "P") else (value,) * len(mode)).save(
        body, kind
    )
    return body.getvalue()


def put(path: Path, body: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


folder_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12
).filter(
    lambda name: (
        not name.startswith(".")
        and len(name.encode()) < 200
        and name == unicodedata.normalize("NFC", name)
    )
)


@given(st.lists(st.tuples(folder_names, folder_names, st.integers(0, 255)), min_size=1, max_size=5))
@FAST
def test_images_of_any_client_and_label(rows: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "p"
        wanted = {(client, label): value for client, label, value in rows}
        for (client, label), value in wanted.items():
            put(root / client / label / "1.png", png(value))
        found: list[Any] = []
        said = refusal(lambda: found.extend(read(Path(name), "images", "p")))
        if said:  # labels that int32 cannot count, and no other
            assert all(label.isascii() and label.isdecimal() for _, label in wanted)
            assert any(int(label) > 2**31 - 1 for _, label in wanted)
            return
        assert len(found) == len(wanted)
        texts = not all(
            label.isascii() and label.isdecimal() and str(int(label)) == label
            for _, label in wanted
        )
        for client, label, x in found:
            named = [
                value
                for (c, one), value in wanted.items()
                if c == client and (one == label if texts else int(one) == label)
            ]
            assert int(x[0, 0]) in named
            assert x.shape == SIZE[::-1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
@given(data=st.data())
@FAST
def test_a_damaged_image_is_refused_or_an_image_still(kind: str, data: st.DataObject) -> None:
    whole = png(100, kind=kind)
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    with tempfile.TemporaryDirectory() as name:
        put(Path(name) / "p" / "a" / "1" / f"1.{kind.lower().replace('jpeg', 'jpg')}", cut)
        found: list[Any] = []
        if not refusal(lambda: found.extend(read(Path(name), "images", "p"))):
            assert [x.dtype for _, _, x in found] == [np.uint8]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "P", "CMYK"])
def test_every_kind_of_image_is_grey_or_colour(tmp_path: Path, mode: str) -> None:
    put(
        tmp_path / "p" / "a" / "1" / ("1.jpg" if mode == "CMYK" else "1.png"),
        png(0, mode=mode, kind="JPEG" if mode == "CMYK" else "PNG"),
    )
    ((_, _, x),) = read(tmp_path, "images", "p")
    assert x.shape == (SIZE[::-1] if mode in ("LA", "1") else (*SIZE[::-1], 3))


def test_what_is_no_image_is_not_read(tmp_path: Path) -> None:
    assert "found none" in refusal(
        lambda: put(tmp_path / "p" / "a" / "1" / "notes.txt", b"") and read(tmp_path, "images", "p")
    )
    (tmp_path / "p" / "a" / "1" / "1.png").mkdir()
    assert "found none (files that are no images: 1 (1 .txt))" in refusal(
        lambda: read(tmp_path, "images", "p")
    )


def claims(width: int, height: int) -> bytes:
    """A PNG of some bytes that says it is of this size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def test_an_image_that_unpacks_to_too_much_is_refused_before_it_is(tmp_path: Path) -> None:
    put(tmp_path / "p" / "a" / "1" / "1.png", claims(5000, 4000))
    assert "at most 8 MB when unpacked, found 5000 x 4000, 60 MB" in refusal(
        lambda: read(tmp_path, "images", "p", memory_limit_mb=64)
    )
    put(tmp_path / "p" / "a" / "1" / "1.png", claims(60_000, 60_000))
    assert "safe to unpack" in refusal(lambda: read(tmp_path, "images", "p"))


def test_large_images_come_in_small_batches(tmp_path: Path) -> None:
    for number in range(6):
        put(tmp_path / "p" / "a" / "1" / f"{number}.png", png(number, (1000, 2000)))
    config = DataConfig(source="images", path="p", clients=None, memory_limit_mb=64)
    batches = list(open_source(config, tmp_path).batches())
    # 2 MB each, 8 MB a batch.
    assert [len(batch.y) for batch in batches] == [4, 2]
    assert [int(x[0, 0]) for batch in batches for x in batch.x] == list(range(6))


@pytest.mark.parametrize("link", ["file", "client", "label", "loop"])
def test_links_that_lead_out_of_the_folder_of_images(tmp_path: Path, link: str) -> None:
    put(tmp_path / "p" / "a" / "1" / "1.png", png())
    put(tmp_path / "elsewhere" / "1" / "2.png", png())
    place, target = {
        "file": ("a/1/2.png", "elsewhere/1/2.png"),
        "client": ("b", "elsewhere"),
        "label": ("a/2", "elsewhere/1"),
        "loop": ("a/1/2.png", "p/a/1/2.png"),
    }[link]
    (tmp_path / "p" / place).symlink_to(tmp_path / target)
    message = (
        "found a link that leads nowhere" if link == "loop" else "found a link that leads out of it"
    )
    assert f"{place}: expected an image" in (text := refusal(lambda: read(tmp_path, "images", "p")))
    assert message in text


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    one = put(tmp_path / "p" / "a" / "1" / "1.png", png())
    (one.parent / "2.png").symlink_to(one)
    assert len(read(tmp_path, "images", "p")) == 2


def test_links_that_lead_out_of_leafs_folder(tmp_path: Path) -> None:
    body = json.dumps(
        {"users": ["u"], "num_samples": [1], "user_data": {"u": {"x": [[1.0]], "y": [0]}}}
    ).encode()
    put(tmp_path / "p" / "f.json", body)
    assert len(read(tmp_path, "leaf", "p")) == 1
    (tmp_path / "p" / "g.json").symlink_to(
        put(tmp_path / "elsewhere.json", body.replace(b'"u"', b'"v"'))
    )
    assert "g.json: expected a file inside" in refusal(lambda: read(tmp_path, "leaf", "p"))


@pytest.mark.parametrize("depth", [1000, 100_000])
def test_json_that_is_nested_too_deep(tmp_path: Path, depth: int) -> None:
    put(tmp_path / "f.json", b'{"users":' + b"[" * depth + b"]" * depth + b"}")
    assert refusal(lambda: read(tmp_path, "leaf", "f.json"))


@pytest.mark.parametrize("name", ["../out.npy", "/{}/out.npy", "x/../../out.npy"])
def test_names_in_an_npz_become_no_files(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    np.savez(folder / "f.npz", x=np.zeros((2, 2), np.float32), label=[0, 1], client=["a", "b"])
    body = io.BytesIO()
    np.save(body, np.zeros(3))
    with zipfile.ZipFile(folder / "f.npz", "a") as archive:
        archive.writestr(name.format(tmp_path), body.getvalue())
    assert len(read(folder, "npz", "f.npz")) == 2
    assert {path.name for path in tmp_path.rglob("*")} == {"inner", "f.npz"}


def npy(shape: tuple[int, ...], body: bytes, descr: str = "|u1") -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return header.getvalue() + body


@pytest.mark.parametrize("lie", ["shape", "member"])
def test_an_npz_that_lies_about_its_size(tmp_path: Path, lie: str) -> None:
    """Neither an array that says it is 100 GB nor a member that says it is 10 bytes and unpacks to 20 MB is taken."""
    with zipfile.ZipFile(tmp_path / "f.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "x.npy",
            npy((10**11, 1), b"1234")
            if lie == "shape"
            else npy((20_000_000, 1), bytes(20_000_000)),
        )
        archive.writestr("label.npy", npy((2,), bytes(2)))
        archive.writestr("client.npy", npy((2,), b"ab", "|S1"))
    if lie == "member":
        body = bytearray((tmp_path / "f.npz").read_bytes())
        size = struct.pack("<I", len(npy((20_000_000, 1), b"")) + 20_000_000)
        places = [place for place in range(len(body)) if body[place : place + 4] == size]
        assert len(places) == 2  # in the member's own header and in the table at the end
        for place in places:
            body[place : place + 4] = struct.pack("<I", 10)
        (tmp_path / "f.npz").write_bytes(body)
    assert refusal(lambda: read(tmp_path, "npz", "f.npz", memory_limit_mb=64))


def example(features: dict[str, Any]) -> bytes:
    import tensorflow as tf

    made = {}
    for name, values in features.items():
        if all(isinstance(value, bytes) for value in values):
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        elif all(isinstance(value, int) for value in values):
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        else:
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return bytes(tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString())


def database(path: Path, rows: list[tuple[Any, Any, Any]]) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)"
        )
        connection.executemany("INSERT INTO examples VALUES (?, ?, ?)", rows)
    connection.close()


anything = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=20)
)
numbers = st.lists(st.floats(width=32), min_size=1, max_size=3) | st.lists(
    st.integers(-5, 300), min_size=1, max_size=3
)
protos = st.builds(
    lambda x, label: example({"x": x, "label": label}),
    numbers | st.just([]) | st.just([b"text"]),
    st.just([0])
    | st.just([1])
    | st.just([-1])
    | st.just([b"cat"])
    | st.just([0, 1])
    | st.just([1.5]),
)


@pytest.fixture(scope="module")
def tensorflow() -> None:
    """Imported here: inside of a strategy it would count as a slow example."""
    import tensorflow  # noqa: F401


@pytest.mark.usefixtures("tensorflow")
@given(
    st.lists(
        st.tuples(st.sampled_from(["train", "test"]) | anything, anything, protos | anything),
        min_size=1,
        max_size=4,
    )
)
@FAST
def test_a_database_with_anything_in_it(rows: list[tuple[Any, Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        database(Path(name) / "f.sqlite", rows)
        found: list[Any] = []
        if not refusal(lambda: found.extend(read(Path(name), "sqlite", "f.sqlite"))):
            assert len(found) == len(rows)
            assert all(
                isinstance(client, str) and 0 < len(client) <= 1000 and np.isfinite(x).all()
                for client, _, x in found
            )


def test_a_database_in_which_a_view_takes_the_table_s_place(tmp_path: Path) -> None:
    path = tmp_path / "f.sqlite"
    database(
        path,
        [
            ("train", "a", example({"x": [1.0], "label": [0]})),
            ("train", "b", example({"x": [2.0], "label": [1]})),
        ],
    )
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE examples RENAME TO kept")
        connection.execute(
            "CREATE VIEW examples AS SELECT split_name, client_id, load_extension('x.so') AS serialized_example_proto FROM kept"
        )
    connection.close()
    assert "SQLite file of TFF's client data" in refusal(
        lambda: read(tmp_path, "sqlite", "f.sqlite")
    )


def parquet(folder: Path, x: Any, rows: int = 1, row_group_size: int | None = None) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = x if isinstance(x, dict) else {"x": x}
    table = pa.table({"client": ["a"] * rows, "label": [0] * rows, **columns})
    pq.write_table(table, folder / "p.parquet", compression="zstd", row_group_size=row_group_size)
    return folder / "p.parquet"


def test_parquet_of_a_kilobyte_that_decodes_to_more_than_the_limit(tmp_path: Path) -> None:
    import pyarrow as pa

    count = 10_000_000
    made = parquet(
        tmp_path, pa.ListArray.from_arrays([0, count], pa.array(np.ones(count, np.int64)))
    )
    assert made.stat().st_size < 5000
    said = refusal(lambda: read(tmp_path, "parquet", "p.parquet", memory_limit_mb=64))
    assert "row groups of at most 32 MB" in said
    assert "may take 80 MB" in said


def test_parquet_with_a_long_text_in_every_row_is_read_in_small_parts(tmp_path: Path) -> None:
    import pyarrow as pa

    rows, characters = 3000, 100_000  # 300 MB, spelled out
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["q" * characters])
    assert parquet(tmp_path, words, rows).stat().st_size < 100_000
    config = DataConfig(source="parquet", path="p.parquet", clients=None, memory_limit_mb=64)
    taken = pa.total_allocated_bytes()
    sizes = []
    for batch in open_source(config, tmp_path).batches():
        sizes.append(len(batch.x))
        assert pa.total_allocated_bytes() - taken < 10_000_000
        assert all(len(one) == characters for one in batch.x)
    assert sum(sizes) == rows
    assert max(sizes) <= 10


@pytest.mark.parametrize("limit", [64, 1024])
def test_wide_parquet_rows_come_in_batches_of_fewer_rows(tmp_path: Path, limit: int) -> None:
    import pyarrow as pa

    rows, width = 600, 5000
    x = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    parquet(tmp_path, pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), width), rows)
    config = DataConfig(source="parquet", path="p.parquet", clients=None, memory_limit_mb=limit)
    batches = [np.asarray(batch.x) for batch in open_source(config, tmp_path).batches()]
    assert (len(batches[0]) < 60) == (limit == 64)  # 20 kB a row, and a 64th of the limit a batch
    np.testing.assert_array_equal(np.concatenate(batches), x)


def test_texts_inside_of_lists_are_refused_before_they_are_read(tmp_path: Path) -> None:
    parquet(tmp_path, [["a", "b"]])
    assert "found texts in" in refusal(lambda: read(tmp_path, "parquet", "p.parquet"))
