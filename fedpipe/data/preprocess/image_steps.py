"""Fitted steps for images: size, colour, and the scale of a channel. Pillow resizes."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedpipe.data.array_types import Array
from fedpipe.data.preprocess.base import FittedStep
from fedpipe.data.preprocess.examples import Examples
from fedpipe.errors import DataError

_FLOATS = Annotated[float, Field(allow_inf_nan=False)]
_SIZE = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]

_GREY_WEIGHTS = (19595, 38470, 7471)
"""Weights of red, green and blue by 2**16, ITU-R 601-2: Pillow's `convert("L")`."""


class Resized(FittedStep):
    """Images of another size, by Pillow's bilinear filter, which averages where it shrinks.

    Attributes:
        size: height and width.
    """

    name: Literal["resize"]
    size: _SIZE

    def apply(self, examples: Examples) -> Examples:
        """Return the images in this size."""
        from PIL import Image

        images = examples.x
        if images.shape[1:3] == self.size:
            return examples
        height, width = self.size
        result = np.empty((len(images), height, width, *images.shape[3:]), np.uint8)
        for number, image in enumerate(images):
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            result[number] = np.asarray(resized)
        return examples.with_x(result)

    def lines(self) -> list[str]:
        """Return the size."""
        return [f"resize: to {self.size[0]} x {self.size[1]} (height x width)"]


class Cropped(FittedStep):
    """The middle of each image.

    Attributes:
        size: height and width.
    """

    name: Literal["crop"]
    size: _SIZE

    def apply(self, examples: Examples) -> Examples:
        """Return the middles. Raises DataError of images that are smaller."""
        height, width = examples.x.shape[1:3]
        if height < self.size[0] or width < self.size[1]:
            raise DataError(
                f"data.preprocess, step crop: expected images of at least {self.size[0]} x "
                f"{self.size[1]} (height x width), found {height} x {width}. Put {{name: resize}} "
                "before it."
            )
        top = (height - self.size[0]) // 2
        left = (width - self.size[1]) // 2
        return examples.with_x(
            np.ascontiguousarray(
                examples.x[:, top : top + self.size[0], left : left + self.size[1]]
            )
        )

    def lines(self) -> list[str]:
        """Return the size."""
        return [f"crop: the middle {self.size[0]} x {self.size[1]} (height x width)"]


class Grey(FittedStep):
    """Colour images in grey; grey ones stay."""

    name: Literal["grey"]

    def apply(self, examples: Examples) -> Examples:
        """Return images [n, height, width]."""
        if examples.x.ndim == 3:
            return examples
        sums = examples.x.astype(np.uint32) @ np.array(_GREY_WEIGHTS, np.uint32)
        return examples.with_x(((sums + 0x8000) >> 16).astype(np.uint8))

    def lines(self) -> list[str]:
        """Return the name."""
        return ["grey"]


class Normalized(FittedStep):
    """(x - mean) / std of each channel.

    Attributes:
        mean, std: of each channel, pixels as 0..1.
    """

    name: Literal["normalize"]
    mean: tuple[_FLOATS, ...]
    std: tuple[_FLOATS, ...]

    def apply(self, examples: Examples) -> Examples:
        """Return the images as float32."""
        x = channels(examples.numbers())
        mean = np.array(self.mean, np.float32)
        std = np.array(self.std, np.float32)
        return examples.with_x(((x - mean) / std).reshape(examples.x.shape))

    def lines(self) -> list[str]:
        """Return mean and standard deviation of each channel."""
        figures = [
            f"channel {number} mean {mean:.6g}, std {std:.6g}"
            for number, (mean, std) in enumerate(zip(self.mean, self.std, strict=True))
        ]
        return [f"normalize: {'; '.join(figures)}"]


def channels(x: Array) -> Array:
    """Return images [n, height, width, channels]; one channel of grey ones."""
    if x.ndim == 3:
        return x[..., None]
    return x
