"""Converts features that were read from files to the input of a model: checks their shape, scales
pixels to 0..1, inverts drawings, pads sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedpipe.data.preprocess.fitted import AnyFitted
from fedpipe.data.preprocess.steps import FittedSteps, read_images
from fedpipe.data.sources.shape import shaped
from fedpipe.errors import DataError, shorten

if TYPE_CHECKING:
    from fedpipe.models.input_facts import InputFacts


@dataclass(frozen=True)
class ModelInput:
    """Input of one model.

    Attributes:
        facts: of the model.
        shape: of one example's features; None where any size is allowed.
        tokens: whether the features are tokens.
        invert: turn dark into light, beyond the model's own training data.
        not_features: columns of a table that are no features, for errors.
    """

    facts: "InputFacts"
    shape: tuple[int | None, ...]
    tokens: bool
    invert: bool
    not_features: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the fixed sizes of `shape`."""
        return tuple(size for size in self.shape if size is not None)

    @property
    def _image_dtype(self) -> str | None:
        return "int32" if self.tokens else self.facts.feature_dtype

    def from_image(self, file: Path) -> npt.NDArray[np.float32]:
        """Return an image file as a batch of one.

        Raises:
            DataError: it cannot be decoded, or has another size; or the model takes no images.
        """
        return self._numbers(
            _pixels(file, self.shape, self._image_dtype)[None], self.facts.inverted
        )

    def raw_image(self, file: Path, steps: FittedSteps) -> npt.NDArray[Any]:
        """Return an image file as a batch of one, as the steps of preprocessing take it.

        Raises:
            DataError: as those of `from_image`.
        """
        return self._turned(_pixels(file, steps.shape, steps.dtype, steps.images)[None])

    def raw_features(self, x: Any, steps: FittedSteps, file: Path, row: int) -> npt.NDArray[Any]:
        """Return rows of features as the steps of preprocessing take them; arguments and errors as
        those of `from_features`.
        """
        if isinstance(x, list):
            return padded(x)
        if steps.images and x.dtype == np.uint8 and x.ndim > 2:
            x = read_images(steps.images, x)
        if prod(x.shape[1:]) != prod(steps.shape):
            raise DataError(
                f"{file}: expected {prod(steps.shape)} numbers in a row, for features of "
                f"{size_text(steps.shape)}, found {prod(x.shape[1:])} from row {row} on. Columns "
                f"that are no features: {shorten(self.not_features)}."
            )
        raw = shaped(x, steps.shape, str(file))
        if steps.dtype == "uint8" and raw.dtype.kind == "f":
            if raw.min(initial=0) < 0 or raw.max(initial=0) > 1:
                raise DataError(
                    f"{file}: expected pixels as whole numbers 0..255 or fractions 0..1, found "
                    f"others from row {row} on. Convert them."
                )
            raw = np.rint(raw * 255)
        return self._turned(raw.astype(steps.dtype))

    def from_prepared(self, x: npt.NDArray[Any], file: Path, row: int) -> npt.NDArray[Any]:
        """Return rows of features that went through all steps of preprocessing."""
        if self.tokens:
            return self._sequences(x, file, row)
        return self._numbers(x, inverted=False, invert=False)

    def _turned(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return raw features, inverted if the training data were."""
        if self.facts.inverted != self.invert:
            return np.subtract(x.dtype.type(255 if x.dtype == np.uint8 else 1), x)
        return x

    def from_features(self, x: Any, file: Path, row: int) -> npt.NDArray[Any]:
        """Return rows of features.

        Args:
            x: array [n, ...], or a list of n sequences.
            file: their file, for errors.
            row: number of the first row, for errors.

        Raises:
            DataError: they have another size than the model takes.
        """
        if self.tokens:
            return self._sequences(x, file, row)
        width = prod(self.sizes)
        if isinstance(x, list) or x.dtype == np.int32:
            features = "sequences (texts or tokens)"
        elif prod(x.shape[1:]) != width:
            features = str(prod(x.shape[1:]))
        else:
            return self._numbers(shaped(x, self.sizes, str(file)), self.facts.inverted)
        raise DataError(
            f"{file}: expected {width} numbers in a row, for features of "
            f"{size_text(self.shape)}, found {features} from row {row} on. Columns that are no "
            f"features: {shorten(self.not_features)}."
        )

    def from_shards(self, column: Any, file: Path) -> npt.NDArray[Any]:
        """Return rows of the column `x` of shards, a pyarrow array of fixed-size binary values;
        they were inverted when they were prepared.

        Raises:
            DataError: they have another size than the model takes.
        """
        dtype = np.dtype(self.facts.feature_dtype or "uint8").newbyteorder("<")
        width, remainder = divmod(column.type.byte_width, dtype.itemsize)
        has_free_size = None in self.shape
        if remainder or (not has_free_size and width != prod(self.sizes)):
            raise DataError(
                f"{file}: expected shards of the model's features, {size_text(self.shape)}, found "
                f"{column.type} a row."
            )
        first_byte = column.offset * column.type.byte_width
        x = np.frombuffer(column.buffers()[1], dtype, len(column) * width, first_byte)
        shape = (len(column), *(size or width for size in self.shape))
        return self._numbers(x.reshape(shape), inverted=False)

    def _sequences(self, rows: Any, file: Path, row: int) -> npt.NDArray[np.int32]:
        """Return sequences padded with 0 to the longest."""
        if not isinstance(rows, list) and rows.dtype != np.int32:
            raise DataError(
                f"{file}: expected sequences (texts or tokens), found {rows.dtype} numbers from "
                f"row {row} on. Name another file."
            )
        x = padded(rows)
        largest = int(x.max(initial=0))
        if self.facts.tokens is not None and largest >= self.facts.tokens:
            raise DataError(
                f"{file}: expected tokens from 1 to {self.facts.tokens - 1}, found {largest} from "
                f"row {row} on."
            )
        return x

    def _numbers(
        self, x: npt.NDArray[Any], inverted: bool, invert: bool | None = None
    ) -> npt.NDArray[Any]:
        """Return float32, pixels as fractions, inverted if the training data were.

        `invert`: instead of `self.invert`.
        """
        if x.dtype.kind == "i":
            return x.astype(np.int32)
        values = x.astype(np.float32)
        if x.dtype == np.uint8:
            values /= np.float32(255)
        if inverted != (self.invert if invert is None else invert):
            return np.float32(1) - values
        return values


def padded(rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.int32]:
    """Return sequences as int32 [n, length of the longest], padded with 0."""
    x = np.zeros((len(rows), max(map(len, rows), default=1)), np.int32)
    for number, tokens in enumerate(rows):
        x[number, : len(tokens)] = tokens
    return x


def _pixels(
    file: Path,
    shape: tuple[int | None, ...],
    dtype: str | None,
    images: Sequence[AnyFitted] = (),
) -> npt.NDArray[Any]:
    """Return the pixels of an image file, uint8 of this shape.

    Raises:
        DataError: it cannot be decoded, or has another size; or the features are no pixels.
    """
    from fedpipe.data.sources.decode import decode_image_file, without_equal_channels

    if dtype not in (None, "uint8"):
        takes = "tokens" if dtype == "int32" else dtype
        raise DataError(
            f"{file}: expected a table or an NPZ file: the model takes {takes}, found an image."
        )
    pixels: npt.NDArray[Any] = decode_image_file(file).pixels
    if images:
        pixels = read_images(images, pixels[None])[0]
    if len(shape) == 2 or shape[2:] == (1,):
        pixels = without_equal_channels(pixels)
    if pixels.ndim == 2 and shape[2:] == (1,):
        pixels = pixels[..., None]
    if pixels.shape != shape:
        raise DataError(
            f"{file}: expected an image of {size_text(shape)}, found {size_text(pixels.shape)}. "
            "Resize or convert it."
        )
    return pixels


def size_text(shape: tuple[int | None, ...]) -> str:
    """Return a shape in words.

    >>> size_text((28, 28))
    '28 x 28 (grey)'
    """
    text = " x ".join("any" if size is None else str(size) for size in shape)
    kind = {2: " (grey)", 3: " (colour)"}.get(len(shape), "")
    return text + kind
