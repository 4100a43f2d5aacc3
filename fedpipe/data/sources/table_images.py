"""A column of encoded images in a Parquet table."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fedpipe.data.array_types import Pixels
from fedpipe.data.sources.decode import decode_image, image_size, without_equal_channels
from fedpipe.data.sources.parquet_table import ParquetChunk, ParquetTable
from fedpipe.data.sources.table import TableRows
from fedpipe.errors import DataError

_IMAGE_SHARE = 8
"""A batch of decoded images may take the limit divided by this."""


class ImageColumn:
    """Reads a column of images: uint8 [h, w] if all are grey, else [h, w, 3], all of one size.

    Attributes:
        shape: of the images, once the first was read.
    """

    def __init__(self, table: ParquetTable, place: int, max_bytes: int) -> None:
        """Take the column; `max_bytes` is what the readers of the table may take."""
        self.shape: tuple[int, ...] = ()
        self._table = table
        self._place = place
        self._max_bytes = max_bytes // _IMAGE_SHARE

    def rows(self, given: Sequence[int], names: Sequence[int]) -> Iterator[TableRows]:
        """Yield the rows.

        Args:
            given: places of other columns, whose values come with the images.
            names: those of them that are names.

        Raises:
            DataError: an image is missing, damaged, too large, or of another size than the first.
        """
        for chunk in self._table.chunks([*given, self._place], names):
            values = {place: chunk.columns[place].to_pylist() for place in given}
            images: list[Pixels] = []
            start = 0
            for number, (where, pixels) in enumerate(self._decoded(chunk), 1):
                images.append(self._like_first(where, pixels))
                is_last = number == len(chunk.columns[self._place])
                if is_last or (len(images) + 1) * images[-1].nbytes > self._max_bytes:
                    slices = {place: column[start:number] for place, column in values.items()}
                    yield TableRows(chunk.path, chunk.first_row + start, np.stack(images), slices)
                    start = number
                    images = []

    def _decoded(self, chunk: ParquetChunk) -> Iterator[tuple[str, Pixels]]:
        """Yield each cell's place, in words, and its image."""
        for row, cell in enumerate(chunk.columns[self._place], chunk.first_row):
            where = f"{chunk.path}, row {row}, column {self._table.names[self._place]}"
            yield where, decode_image(_image_bytes(cell.as_py(), where), where, self._max_bytes)

    def _like_first(self, where: str, pixels: Pixels) -> Pixels:
        if not self.shape:
            grey = without_equal_channels(pixels)
            is_grey = grey is pixels or (grey.ndim == 2 and self._all_grey())
            self.shape = grey.shape if is_grey else pixels.shape
        if len(self.shape) == 2:
            pixels = without_equal_channels(pixels)
        if pixels.shape != self.shape:
            raise DataError(
                f"{where}: expected an image like the first, {image_size(self.shape)}, found "
                f"{image_size(pixels.shape)}. Resize or convert it."
            )
        return pixels

    def _all_grey(self) -> bool:
        """Return whether all images are grey or have three equal channels: the first of colour
        images may be all black.
        """
        return all(
            without_equal_channels(pixels).ndim == 2
            for chunk in self._table.chunks([self._place])
            for _, pixels in self._decoded(chunk)
        )


def _image_bytes(cell: Any, where: str) -> bytes:
    if isinstance(cell, dict):
        if cell.get("bytes") is None and cell.get("path"):
            raise DataError(
                f"{where}: expected the bytes of an image, found only the path "
                f"{cell['path'][:100]!r}. Save the table with the images in it, or use "
                "data.source=images."
            )
        cell = cell.get("bytes")
    if cell is None:
        raise DataError(
            f"{where}: expected an image, found no value. Fill it in or remove the row."
        )
    return bytes(cell)
