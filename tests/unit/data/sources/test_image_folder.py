"""A folder of images as people have it: hidden files, every format, names of any kind, images at the wrong place."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedpipe.config import DataConfig
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import open_source
from fedpipe.data.sources.base import SourceSummary
from fedpipe.errors import DataError


def save(
    path: Path, value: int = 100, mode: str = "L", size: tuple[int, int] = (8, 6), **options: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path, **options)


def read(root: Path, **settings: Any) -> tuple[list[tuple[str | None, str, Any]], SourceSummary]:
    """Return client, label and pixels of each image below `root`, and the summary."""
    source = open_source(DataConfig(source="images", path=str(root), **settings), root)
    examples: list[tuple[str | None, str, Any]] = []
    for batch in source.batches():
        clients = batch.clients or [None] * len(batch.y)
        examples += zip(clients, map(str, batch.y), batch.x, strict=True)
    assert source.summary is not None
    return examples, source.summary()


def refusal(root: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(root, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_hidden_and_system_files_are_left_out_and_counted(tmp_path: Path) -> None:
    root = tmp_path / "pics"
    for client in ("c0", "c1"):
        for label in ("0", "1"):
            save(root / client / label / "a.png")
    save(root / "c0" / ".ipynb_checkpoints" / "a-checkpoint.png")
    save(root / ".thumbnails" / "0" / "a.png")
    save(root / "__MACOSX" / "c0" / "0" / "a.png")
    save(root / "c1" / "@eaDir" / "a.png")
    for name in ("c0/0/._a.png", "c0/.DS_Store", "c1/1/Thumbs.db", "desktop.ini"):
        (root / name).write_bytes(b"\0\5\x16\7 no image")
    examples, summary = read(root)
    assert [(client, label) for client, label, _ in examples] == [
        ("c0", "0"),
        ("c0", "1"),
        ("c1", "0"),
        ("c1", "1"),
    ]
    assert summary.left_out == (
        "hidden or system files and folders: 8 (.thumbnails, __MACOSX, c0/.DS_Store (+5))",
    )
    manifest = prepare_shards(
        DataConfig(source="images", path=str(root), clients=None),
        tmp_path / "s" / "shards",
        tmp_path,
    )
    assert (manifest.clients, manifest.num_classes) == (2, 2)
    assert manifest.understood == summary


def test_clients_in_any_format_take_part(tmp_path: Path) -> None:
    names = [
        "a.png",
        "b.PNG",
        "c.gif",
        "d.bmp",
        "e.tif",
        "f.tiff",
        "g.pgm",
        "h.pcx",
        "i.tga",
        "j.jpg",
        "k.jpeg",
        "l.jp2",
        "m.im",
        "n.dib",
    ]
    for number, name in enumerate(names):
        save(tmp_path / f"client {number:02}" / "x" / name)
    for number, (name, kind) in enumerate(
        {"o.webp": "WEBP", "p.avif": "AVIF", "q.qoi": "QOI"}.items(), len(names)
    ):
        save(tmp_path / f"client {number:02}" / "x" / name, mode="RGB", format=kind)
    examples, summary = read(tmp_path)
    assert [client for client, _, _ in examples] == [f"client {number:02}" for number in range(17)]
    for _, _, pixels in examples:
        assert pixels.shape == (6, 8)
        assert np.abs(pixels.astype(int) - 100).max() <= 2
    assert (
        "images stored in colour with equal channels, taken as grey: 4" in summary.notes
    )  # a GIF has a palette
    assert summary.features == "images of 8 x 6 grey (width x height)"


def test_webp_first_gives_the_same_as_webp_last(tmp_path: Path) -> None:
    save(tmp_path / "p" / "a" / "1" / "1.webp", mode="RGB", lossless=True)
    save(tmp_path / "p" / "b" / "1" / "1.png")
    save(tmp_path / "q" / "a" / "1" / "1.png")
    save(tmp_path / "q" / "b" / "1" / "1.webp", mode="RGB", lossless=True)
    for root in ("p", "q"):
        examples, _ = read(tmp_path / root)
        np.testing.assert_array_equal(
            [pixels for _, _, pixels in examples], np.full((2, 6, 8), 100)
        )


def test_files_without_an_ending_are_images_by_their_beginning(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1" / "0001", format="PNG")
    save(tmp_path / "a" / "1" / "0002.dat", format="JPEG", quality=100)
    save(tmp_path / "a" / "1" / "0003.jpg", format="PNG")  # an ending that is wrong
    save(tmp_path / "a" / "1" / "0001.png~", format="PNG")
    examples, summary = read(tmp_path)
    assert len(examples) == 3
    assert summary.left_out == ("files that are no images: 1 (1 .png~)",)


def test_files_that_are_no_images_are_counted_by_kind(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1" / "1.png")
    for name in (
        "readme.txt",
        "a/labels.csv",
        "a/1/notes.txt",
        "a/1/model.h5",
        "a/1/empty",
        "b/2/only.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image" if name != "a/1/empty" else b"")
    (tmp_path / "c").mkdir()
    examples, summary = read(tmp_path)
    assert len(examples) == 1
    files, folders = summary.left_out
    assert files.startswith("files that are no images: 6 (2 .txt, ")
    assert all(kind in files for kind in ("1 .csv", "1 .h5", "1 .json", "1 without an ending"))
    assert folders == "folders without images, which are no client or label: 3 (b, b/2, c)"


@pytest.mark.parametrize("name", ["1.heic", "1.SVG", "1.dcm", "1.eps", "1.nef"])
def test_images_that_cannot_be_read_do_not_vanish(tmp_path: Path, name: str) -> None:
    save(tmp_path / "a" / "1" / "1.png")
    (tmp_path / "b" / "1").mkdir(parents=True)
    (tmp_path / "b" / "1" / name).write_bytes(b"something")
    assert (
        f"b/1/{name}: expected an image that Pillow reads, found .{name.split('.')[1].lower()}. Convert it"
        in refusal(tmp_path)
    )


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        ("x.png", "set data.path to the folder"),
        ("a/x.png", "set data.client_column=null"),
        ("a/1/more/x.png", "set data.path to the folder"),
    ],
)
def test_images_at_another_depth_are_refused(tmp_path: Path, place: str, remedy: str) -> None:
    save(tmp_path / "a" / "1" / "1.png")
    save(tmp_path / place)
    message = refusal(tmp_path)
    assert f"expected images as client/label/image, found {place}. " in message
    assert remedy in message


def test_without_clients_the_folders_are_the_labels(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(10):
            save(tmp_path / label / f"{number}.png", number)
    examples, _ = read(tmp_path, client_column=None)
    assert [(client, label) for client, label, _ in examples] == [(None, "cat")] * 10 + [
        (None, "dog")
    ] * 10
    config = DataConfig(
        source="images", path=str(tmp_path), client_column=None, clients=2, partition="iid"
    )
    manifest = prepare_shards(config, tmp_path / "s" / "shards", tmp_path)
    assert (manifest.clients, manifest.vocabulary) == (2, ("cat", "dog"))


def test_labels_with_leading_zeros_stay_texts(tmp_path: Path) -> None:
    for label in ("007", "008", "010"):
        save(tmp_path / "a" / label / "1.png")
        save(tmp_path / "b" / label.lstrip("0") / "1.png")
    assert [label for client, label, _ in read(tmp_path)[0] if client == "a"] == [
        "007",
        "008",
        "010",
    ]
    manifest = prepare_shards(
        DataConfig(source="images", path=str(tmp_path), clients=None),
        tmp_path / "s" / "shards",
        tmp_path,
    )
    assert manifest.vocabulary == ("007", "008", "010", "10", "7", "8")


def test_one_name_in_two_unicode_forms_is_one_client_and_one_label(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    save(tmp_path / "a" / composed / "1.png")
    save(tmp_path / composed / composed / "1.png")
    save(tmp_path / decomposed / decomposed / "2.png")
    assert [
        (client, label)
        for client, label, _ in sorted(read(tmp_path)[0], key=lambda one: str(one[0]))
    ] == [
        ("Zoë", "Zoë"),
        ("Zoë", "Zoë"),
        ("a", "Zoë"),
    ]


def test_names_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9", b"1")
    try:
        os.makedirs(folder)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    save(tmp_path / "x.png")
    os.rename(tmp_path / "x.png", os.path.join(os.fsdecode(folder), "1.png"))
    assert "UTF-8" in refusal(tmp_path)


def test_grey_among_colour_and_colour_among_grey_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "p" / "a" / "1" / "1.png")
    colour = tmp_path / "p" / "b" / "1" / "1.png"
    colour.parent.mkdir(parents=True)
    Image.new("RGB", (8, 6), (200, 0, 0)).save(colour)
    message = "expected an image like the first, 8 x 6 grey (width x height) (a/1/1.png), found 8 x 6 in colour (width x height)"
    assert f"b/1/1.png: {message}. Resize or convert it" in refusal(tmp_path / "p")
    colour.rename(tmp_path / "p" / "a" / "1" / "0.png")
    assert "a/1/1.png: expected an image like the first, 8 x 6 in colour" in refusal(tmp_path / "p")


def test_orientation_and_transparency_are_counted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    save(tmp_path / "a" / "1" / "1.png")
    save(tmp_path / "a" / "1" / "2.jpg", size=(6, 8), exif=exif)  # turned: 8 x 6 as the others
    save(tmp_path / "a" / "1" / "3.png", transparency=100)
    save(tmp_path / "a" / "1" / "4.gif", save_all=True, append_images=[Image.new("L", (8, 6), 7)])
    _, summary = read(tmp_path)
    assert summary.notes == (
        "images stored in colour with equal channels, taken as grey: 1",  # a GIF has a palette
        "images turned upright as their EXIF orientation says: 1",
        "images with several frames or pages, the first taken: 1",
        "images with transparent pixels, blended onto white: 1",
    )


def test_a_second_reading_gives_the_same_counts(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1" / "1.png")
    (tmp_path / "a" / "1" / "1.txt").touch()
    source = open_source(DataConfig(source="images", path=str(tmp_path)), tmp_path)
    assert source.summary is not None
    for _ in range(2):
        assert sum(len(batch.y) for batch in source.batches()) == 1
        assert source.summary().left_out == ("files that are no images: 1 (1 .txt)",)
