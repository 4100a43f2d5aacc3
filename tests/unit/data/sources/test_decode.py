"""What one encoded image becomes: orientation, modes, and refusals."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from fedpipe.data.sources.decode import decode_image, decode_image_file
from fedpipe.errors import DataError

WIDE = np.repeat(np.arange(6, dtype=np.uint8)[None] * 40, 4, axis=0)  # 4 rows of 0, 40, ..., 200
WIDE[0] = 255

# How a camera that writes this EXIF orientation has turned the picture that a viewer shows.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [*STORED_AS, 0, 9])
def test_the_array_is_upright_whatever_the_exif_orientation(kind: str, orientation: int) -> None:
    image = Image.fromarray(WIDE)
    transpose = STORED_AS.get(orientation)
    exif = Image.Exif()
    exif[274] = orientation
    stored = image if transpose is None else image.transpose(transpose)
    np.testing.assert_array_equal(decode_image(encoded(stored, kind, exif=exif), "x"), WIDE)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "MPO"])
def test_formats_with_losses_are_turned_too(kind: str) -> None:
    image = Image.fromarray(np.kron(WIDE, np.ones((8, 8), np.uint8))).convert("RGB")
    exif = Image.Exif()
    exif[274] = 6
    turned = decode_image(
        encoded(image.transpose(Image.Transpose.ROTATE_90), kind, exif=exif, quality=100), "x"
    )
    assert turned.shape == (32, 48, 3)
    assert np.abs(turned.astype(int) - np.asarray(image)).mean() < 3


@pytest.mark.parametrize(
    "kind", ["PNG", "BMP", "GIF", "TIFF", "PPM", "PCX", "SGI", "ICO", "QOI", "JPEG2000", "DIB"]
)
def test_lossless_formats_give_the_pixels_that_were_saved(kind: str) -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:8, :, 0], rgb[8:, :, 2] = 255, 255
    options = {"sizes": [(16, 16)]} if kind == "ICO" else {}
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(rgb), kind, **options), "x"), rgb
    )


def test_one_bit_and_palette_and_cmyk_are_converted() -> None:
    black_white = WIDE > 100
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(black_white)), "x"), black_white * np.uint8(255)
    )
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(
        decode_image(encoded(palette), "x"), [[[10, 20, 30], [200, 100, 50]]]
    )
    cmyk = Image.new("CMYK", (2, 2), (255, 0, 0, 0))
    np.testing.assert_array_equal(decode_image(encoded(cmyk, "TIFF"), "x")[0, 0], [0, 255, 255])


def test_transparent_parts_are_laid_over_white() -> None:
    grey = Image.merge(
        "LA", [Image.new("L", (3, 1), 0), Image.fromarray(np.array([[255, 0, 51]], np.uint8))]
    )
    # 51 of 255 is a fifth of black over white: 255 * 0.8 = 204
    np.testing.assert_array_equal(decode_image(encoded(grey), "x"), [[0, 255, 204]])
    colour = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    colour.putpixel((1, 0), (255, 0, 0, 0))
    np.testing.assert_array_equal(
        decode_image(encoded(colour), "x"), [[[255, 0, 0], [255, 255, 255]]]
    )
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(
        decode_image(encoded(palette, transparency=0), "x"), [[[255] * 3, [9] * 3]]
    )
    keyed = Image.fromarray(np.array([[7, 8]], np.uint8))
    np.testing.assert_array_equal(decode_image(encoded(keyed, transparency=7), "x"), [[255, 8]])


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for kind in ("GIF", "TIFF", "PNG"):
        body = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(decode_image(body, "x")[0, 0], [255, 0, 0])


def deep_rgb() -> bytes:
    """Return a PNG of one pixel with three channels of 16 bits."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + b"\1\2" * 3))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "body",
    [
        encoded(Image.fromarray(np.full((2, 2), 40_000, np.uint16))),
        encoded(Image.fromarray(np.full((2, 2), 40_000, np.uint16)), "TIFF"),
        encoded(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "TIFF"),
        deep_rgb(),
        b"P6 1 1 65535\n" + bytes(6),
        b"P5 1 1 65535\n" + bytes(2),
    ],
    ids=["grey png", "grey tiff", "floats", "rgb png", "rgb ppm", "grey pgm"],
)
def test_more_than_8_bits_per_channel_are_refused(body: bytes) -> None:
    with pytest.raises(
        DataError,
        match=r"^a\.png: expected a grey or colour image of at most 8 bits per channel, found .*Convert",
    ):
        decode_image(body, "a.png")


def test_damaged_empty_foreign_and_huge_images_are_refused_by_name() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    with pytest.raises(DataError, match=r"^row 7: expected an image, found 0 bytes"):
        decode_image(b"", "row 7")
    with pytest.raises(
        DataError, match=r"^row 7: expected an image that Pillow reads, found another file"
    ):
        decode_image(b"id,label\n1,2\n", "row 7")
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        body = encoded(noise, kind)
        with pytest.raises(
            DataError, match=r"^row 7: expected a whole image, found a damaged or truncated one: "
        ):
            decode_image(body[: len(body) * 2 // 3], "row 7")
    with pytest.raises(
        DataError, match=r"^row 7: expected an image of at most 0 MB when unpacked, found 64 x 64"
    ):
        decode_image(encoded(noise), "row 7", most_bytes=1000)
    bomb = encoded(Image.new("1", (20_000, 20_000)))
    with pytest.raises(DataError, match=r"^row 7: expected an image that is safe to unpack"):
        decode_image(bomb, "row 7")


def test_bytes_that_any_format_would_take_are_no_image(tmp_path: Path) -> None:
    targa = encoded(
        Image.new("RGB", (4, 4), "red"), "TGA"
    )  # it has no mark: its ending alone says what it is
    with pytest.raises(DataError, match="expected an image that Pillow reads"):
        decode_image(targa, "x")
    for name, known in (("x.tga", True), ("x.png", False)):
        (tmp_path / name).write_bytes(targa)
        if known:
            assert decode_image_file(tmp_path / name).pixels[0, 0].tolist() == [255, 0, 0]
        else:
            with pytest.raises(DataError, match=r"x\.png: expected an image that Pillow reads"):
                decode_image_file(tmp_path / name)


def test_postscript_is_never_run() -> None:
    with pytest.raises(DataError, match="expected an image that Pillow reads"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "x.eps")


def test_a_color_profile_does_not_change_the_pixels() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (2, 2), (10, 200, 30))
    np.testing.assert_array_equal(
        decode_image(encoded(image, icc_profile=profile), "x"), np.asarray(image)
    )


def test_the_pointer_of_git_lfs_is_named() -> None:
    with pytest.raises(
        DataError, match=r"a\.png: expected an image, found the pointer .* Run `git lfs pull`\."
    ):
        decode_image(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 12\n", "a.png"
        )
