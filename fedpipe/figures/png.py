"""Arrays of pixels as PNG, for pages that hold their pictures themselves."""

import base64
import io

import numpy as np
import numpy.typing as npt


def png(pixels: npt.NDArray[np.generic]) -> bytes:
    """Return the PNG of a picture, [height, width], [height, width, 1] or [height, width, 3].

    uint8 is taken as it is; of floats the lowest becomes 0 and the highest 255.
    """
    from PIL import Image

    values = pixels
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values.squeeze(-1)
    if values.dtype != np.uint8:
        floats = np.nan_to_num(values.astype(np.float64))
        low = floats.min()
        values = np.rint((floats - low) / (np.ptp(floats) or 1.0) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", optimize=True)
    return file.getvalue()


def data_uri(body: bytes) -> str:
    """Return the address of a PNG that holds the PNG itself."""
    return f"data:image/png;base64,{base64.b64encode(body).decode('ascii')}"
