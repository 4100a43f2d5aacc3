"""Decodes one image to an array of uint8: the same rules for training and for `fedpipe
predict`, for files and for columns.

docs/sources.md states the rules for users. Pillow reads the files.
"""

import io
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from fedpipe.data.array_types import Pixels
from fedpipe.data.sources.table_files import LFS_POINTER
from fedpipe.errors import DataError
from fedpipe.redact import hide

MOST_BYTES = 128_000_000
"""Default limit of what one image may take when unpacked, counted as three channels."""

NOT_READ = frozenset({"EPS", "BUFR", "GRIB", "HDF5", "WMF", "MPEG"})
"""What Pillow names but cannot decode by itself; EPS is a program, which Ghostscript would run."""

_COMMON = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
_ORIENTATION = 274
"""EXIF's tag; 1 is upright, 2 to 8 are turned or mirrored."""
_GREY = frozenset({"1", "L", "LA", "La"})
_COLOUR = frozenset({"RGB", "RGBX", "RGBA", "RGBa", "P", "PA", "CMYK", "YCbCr", "HSV"})
_ALPHA = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})


@dataclass(frozen=True)
class DecodedImage:
    """One image.

    Attributes:
        pixels: uint8 [height, width] if grey, [height, width, 3] if in colour.
        conversions: what was done to it beyond decoding, in words that follow `images`.
    """

    pixels: Pixels
    conversions: tuple[str, ...] = ()


def decode_image(data: bytes, where: str, most_bytes: int = MOST_BYTES) -> Pixels:
    """Return one encoded image (PNG, JPEG, WebP, TIFF, ...) as uint8 [height, width] if grey,
    [height, width, 3] if in colour.

    EXIF orientation is applied. Grey modes (1 bit, 8 bits) stay grey; palette, CMYK, YCbCr and HSV
    become RGB without regard to a colour profile. Transparent pixels are blended onto white. Of an
    animation or a file of several pages it is the first.

    Args:
        data: the encoded image.
        where: names it in errors: a file, or a file with row and column.
        most_bytes: limit of height x width x 3.

    Raises:
        DataError: it is empty, damaged, no image, too large, or has more than 8 bits per channel.
    """
    return _decode(io.BytesIO(data), where, most_bytes, marked_formats()).pixels


def decode_image_file(file: Path, most_bytes: int = MOST_BYTES) -> DecodedImage:
    """Return the image in a file by the rules of `decode_image`; the encoded file is not held in
    memory.
    """
    try:
        with file.open("rb") as stream:
            return _decode(stream, str(file), most_bytes, _formats_of(file))
    except OSError as err:
        reason = err.strerror or err
        raise DataError(
            f"{file}: expected an image, cannot read it: {reason}. Correct its permissions, or "
            "replace it."
        ) from err


def without_equal_channels(pixels: Pixels) -> Pixels:
    """Return [height, width] of a colour image whose three channels are equal, any other image as
    it is.
    """
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    return pixels


def image_size(shape: tuple[int | None, ...]) -> str:
    """Return how a text names the size of an image.

    >>> image_size((24, 32, 3))
    '32 x 24 in colour (width x height)'
    """
    height, width = shape[:2]
    return f"{width} x {height} {'in colour' if len(shape) == 3 else 'grey'} (width x height)"


def is_stored_grey(file: Path) -> bool:
    """Return whether a file's header names a grey mode; False where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(file, formats=_formats_of(file)) as image:
            return image.mode in _GREY
    except Exception:  # decoding it will say what is wrong
        return False


@cache
def image_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read."""
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in NOT_READ)


@cache
def marked_formats() -> tuple[str, ...]:
    """Return the formats that are known by their first bytes, the common ones first; a few others
    fit any bytes.
    """
    from PIL import Image

    marked = [name for name in image_formats() if Image.OPEN[name][1] is not None]
    return tuple(sorted(marked, key=lambda name: name not in _COMMON))


def _formats_of(file: Path) -> tuple[str, ...]:
    """Return the formats that a file may be in: those known by their first bytes, and the one of
    its ending.
    """
    from PIL import Image

    named = Image.registered_extensions().get(file.suffix.lower())
    unmarked = named is not None and named in image_formats() and named not in marked_formats()
    if unmarked:
        return (str(named), *marked_formats())
    return marked_formats()


@cache
def image_suffixes() -> frozenset[str]:
    """Return the endings of file names, in lower case and with the dot, of the formats that are
    read.
    """
    from PIL import Image

    formats = image_formats()
    return frozenset(
        suffix
        for suffix, name in Image.registered_extensions().items()
        if name in formats or name == "APNG"
    )


def looks_like_image(file: Path) -> bool:
    """Return whether a file begins as an image of a format that is read, under any name."""
    from PIL import Image

    try:
        with Image.open(file, formats=marked_formats()):
            return True
    except Exception:  # Pillow's readers raise anything on foreign bytes
        return False


def _decode(
    stream: IO[bytes], where: str, most_bytes: int, formats: tuple[str, ...]
) -> DecodedImage:
    from PIL import Image, UnidentifiedImageError

    if not stream.read(1):
        raise DataError(f"{where}: expected an image, found 0 bytes. Replace or remove it.")
    stream.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(stream, formats=formats) as image:
                _refuse_large(image, where, most_bytes)
                _refuse_deep(image, where)
                return _convert(image)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise DataError(
            f"{where}: expected an image that is safe to unpack, found one that is too large: "
            f"{err} Resize it."
        ) from err
    except UnidentifiedImageError as err:
        stream.seek(0)
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise DataError(
                f"{where}: expected an image, found the pointer that Git LFS has in its place. "
                "Run `git lfs pull`."
            ) from err
        raise DataError(
            f"{where}: expected an image that Pillow reads, found another file. Convert it to "
            "PNG, or remove it."
        ) from err
    except Exception as err:  # OSError, SyntaxError, zlib.error, ...: Pillow, of damaged files
        reason = hide(" ".join(str(err).split()))[:200] or type(err).__name__
        raise DataError(
            f"{where}: expected a whole image, found a damaged or truncated one: {reason}. "
            "Replace or remove it."
        ) from err


def _refuse_large(image: Any, where: str, most_bytes: int) -> None:
    size = image.width * image.height * 3
    if size > most_bytes:
        raise DataError(
            f"{where}: expected an image of at most {most_bytes / 1e6:.0f} MB when unpacked, "
            f"found {image.width} x {image.height}, {size / 1e6:.0f} MB. Resize it, or raise "
            "data.memory_limit_mb."
        )


def _refuse_deep(image: Any, where: str) -> None:
    """Refuse more than 8 bits per channel, also where Pillow would drop the lower bits without a
    word: 16-bit RGB is of mode RGB.
    """
    if image.mode not in _GREY | _COLOUR:
        depth = f"mode {image.mode}"
    elif any(_is_deep(tile) for tile in getattr(image, "tile", ())):
        depth = "16 bits per channel"
    else:
        return
    raise DataError(
        f"{where}: expected a grey or colour image of at most 8 bits per channel, found {depth}. "
        "Convert it to 8 bits: only you know which values are to become 0 and 255."
    )


def _is_deep(tile: Any) -> bool:
    """Return whether the decoder's arguments name a raw mode of 16 bits or a PPM maximum above
    255.
    """
    codec = tile[0]
    arguments = tile[3]
    values = arguments if isinstance(arguments, tuple) else (arguments,)
    if codec in ("ppm", "ppm_plain"):
        return len(values) > 1 and isinstance(values[1], int) and values[1] > 255
    return any(isinstance(value, str) and ";16" in value for value in values)


def _convert(image: Any) -> DecodedImage:
    from PIL import ImageOps

    conversions = []
    if getattr(image, "is_animated", False):
        conversions.append("with several frames or pages, the first taken")
    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        conversions.append("turned upright as their EXIF orientation says")
    upright = ImageOps.exif_transpose(image)
    is_grey = upright.mode in _GREY
    if upright.mode in _ALPHA or "transparency" in upright.info:
        upright, transparent = _over_white(upright)
        if transparent:
            conversions.append("with transparent pixels, blended onto white")
    mode = "L" if is_grey and upright.mode != "RGBA" else "RGB"
    pixels = np.asarray(upright.convert(mode))
    if is_grey and pixels.ndim == 3:
        pixels = pixels[..., 0]
    return DecodedImage(pixels, tuple(conversions))


def _over_white(image: Any) -> tuple[Any, bool]:
    """Return an image with an alpha channel as RGBA without transparent parts, and whether it had
    any.
    """
    from PIL import Image

    with_alpha = image.convert("RGBA")
    if with_alpha.getchannel("A").getextrema() == (255, 255):
        return with_alpha, False
    return Image.alpha_composite(Image.new("RGBA", with_alpha.size, "white"), with_alpha), True
