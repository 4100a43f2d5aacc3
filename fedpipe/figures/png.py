"""Arrays of pixels as PNG, for pages that hold their pictures themselves."""

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

MOST_SIDE = 256
"""Pixels: larger ones are no thumbnails."""


def is_image(shape: tuple[int, ...], dtype: str) -> bool:
    """Return whether features of this shape and dtype are pictures small enough to show: grey or in
    three colours.

    >>> is_image((28, 28), "uint8"), is_image((32, 32, 3), "float32"), is_image((784,), "uint8"), is_image((80, 1), "int32")
    (True, True, False, False)
    """
    if (
        dtype not in ("uint8", "float32")
        or len(shape) not in (2, 3)
        or not 2 <= min(shape[:2]) <= max(shape[:2]) <= MOST_SIDE
    ):
        return False
    return len(shape) == 2 or shape[2] in (1, 3)


def png(pixels: npt.NDArray[np.generic]) -> bytes:
    """Return the PNG of a picture, [height, width], [height, width, 1] or [height, width, 3].

    uint8 is taken as it is; of floats the lowest becomes 0 and the highest 255.
    """
    values = pixels.squeeze(-1) if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    if values.dtype != np.uint8:
        floats = np.nan_to_num(values.astype(np.float64))
        low = float(floats.min())
        high = float(floats.max())
        values = np.rint((floats - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    height, width = values.shape[:2]
    kind = 0 if values.ndim == 2 else 2
    rows = np.ascontiguousarray(values).reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(body, 9))
        + _chunk(b"IEND", b"")
    )


def data_uri(body: bytes) -> str:
    """Return a PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(body).decode('ascii')}"


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
