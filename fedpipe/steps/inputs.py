"""Examples without labels from a user's own files, as a model takes them: images one by one, or the rows of Parquet files."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.errors import DataError, shorten

if TYPE_CHECKING:
    from fedpipe.models.saved import InputFacts

IMAGES, TABLES = (".png", ".jpg", ".jpeg", ".bmp"), (".parquet",)
_SHARD_COLUMNS = ["client_id", "x", "y", "source_row"]


@dataclass(frozen=True)
class Part:
    """Some examples of one file.

    Attributes:
        file: where they are from.
        first_row: number of the first of them in the file; None of an image.
        x: [n, ...] as the model takes them: float32, pixels in 0..1, or int32 tokens.
    """

    file: Path
    first_row: int | None
    x: npt.NDArray[Any]


class Reader:
    """Reads files for one model."""

    def __init__(self, facts: "InputFacts", shape: tuple[int | None, ...], tokens: bool, config: DataConfig, invert: bool) -> None:
        """Take what the model says of its input.

        Args:
            facts: of the model.
            shape: of one example's features; None where any size is taken.
            tokens: whether the features are tokens.
            config: names the columns of a table that are no features.
            invert: turn dark into light beyond what the model's own training data were.

        Raises:
            DataError: `invert` of tokens.
        """
        if tokens and invert:
            raise DataError("--invert: expected a model of pixels or numbers, found one of tokens. Leave --invert away.")
        dtype = facts.feature_dtype or ("int32" if tokens else None)
        self._facts, self._shape, self._tokens, self._invert = facts, shape, tokens, invert
        self._config = config.model_copy(update={"feature_dtype": dtype or "auto"})

    def parts(self, files: list[Path]) -> Iterator[Part]:
        """Yield the examples of the files, in their order.

        Raises:
            DataError: a file is not there, is of another kind, cannot be read, or its examples are not what the model takes.
        """
        for file in files:
            if not file.is_file():
                raise DataError(f"{file}: expected an image or a Parquet file, found {'a folder' if file.is_dir() else 'nothing'}.")
            kind = file.suffix.lower()
            if kind in IMAGES:
                yield Part(file, None, self._image(file))
            elif kind in TABLES:
                yield from self._table(file)
            else:
                raise DataError(f"{file}: expected a name that ends in {', '.join(IMAGES + TABLES)}, found {kind or 'no ending'}.")

    def _image(self, file: Path) -> npt.NDArray[np.float32]:
        from fedpipe.data.sources.decode import decode_image_file, without_equal_channels

        if self._tokens or self._facts.feature_dtype not in (None, "uint8"):
            raise DataError(f"{file}: expected a Parquet file: the model takes {self._facts.feature_dtype or 'tokens'}, found an image.")
        pixels = decode_image_file(file).pixels
        if len(self._shape) == 2 or self._shape[2:] == (1,):
            pixels = without_equal_channels(pixels)
        if pixels.ndim == 2 and self._shape[2:] == (1,):
            pixels = pixels[..., None]
        if pixels.shape != self._shape:
            raise DataError(f"{file}: expected an image of {_size(self._shape)}, found {_size(pixels.shape)}. Resize or convert it.")
        return self._numbers(pixels[None], self._facts.inverted)

    def _table(self, file: Path) -> Iterator[Part]:
        import pyarrow as pa

        from fedpipe.data.sources.checks import unreadable
        from fedpipe.data.sources.parquet_file import parquet_batches
        from fedpipe.data.sources.tabular import SPLIT_COLUMN, features_of

        given = {self._config.label_column, self._config.client_column, SPLIT_COLUMN}
        row = 0
        try:
            for batch in parquet_batches(file, self._config.memory_limit_mb * 1_000_000):
                names = batch.schema.names
                if names == _SHARD_COLUMNS and pa.types.is_fixed_size_binary(batch.schema.field("x").type):
                    x = self._numbers(self._of_shard(file, batch.column("x")), inverted=False)  # what prepared them has done it
                else:
                    columns = [(name, batch.column(name)) for name in names if name not in given]
                    found = features_of(self._config, file, columns, row)
                    x = self._sequences(found, file, row) if self._tokens else self._rows(found, file, row)
                if batch.num_rows:
                    yield Part(file, row, x)
                row += batch.num_rows
        except (pa.ArrowException, OSError, UnicodeError) as err:
            raise unreadable(file, "a Parquet file", err) from err

    def _of_shard(self, file: Path, column: Any) -> npt.NDArray[Any]:
        dtype = np.dtype(self._facts.feature_dtype or "uint8").newbyteorder("<")
        sizes = [size for size in self._shape if size is not None]
        width = column.type.byte_width // dtype.itemsize
        if column.type.byte_width % dtype.itemsize or (len(sizes) == len(self._shape) and width != prod(sizes)):
            raise DataError(f"{file}: expected shards of the model's features, {_size(self._shape)}, found {column.type} a row.")
        body = np.frombuffer(column.buffers()[1], dtype, len(column) * width, column.offset * column.type.byte_width)
        return body.reshape(len(column), *(size or width for size in self._shape))

    def _rows(self, x: npt.NDArray[Any] | list[npt.NDArray[np.int32]], file: Path, row: int) -> npt.NDArray[Any]:
        sizes = [size for size in self._shape if size is not None]
        if isinstance(x, list) or x.dtype == np.int32 or x.shape[1] != prod(sizes):
            found = str(x.shape[1]) if isinstance(x, np.ndarray) and x.dtype != np.int32 else "texts or tokens"
            raise DataError(
                f"{file}: expected {prod(sizes)} numbers in a row, for features of {_size(self._shape)}, found {found} from row {row} on. "
                f"Columns that are no features: {shorten(sorted(self._ignored()))}."
            )
        return self._numbers(x.reshape(len(x), *sizes), self._facts.inverted)

    def _ignored(self) -> set[str]:
        return {name for name in (self._config.label_column, self._config.client_column, "split") if name is not None}

    def _sequences(self, rows: Any, file: Path, row: int) -> npt.NDArray[np.int32]:
        longest = max(map(len, rows), default=1)
        x = np.zeros((len(rows), longest), np.int32)
        for number, tokens in enumerate(rows):
            x[number, : len(tokens)] = tokens
        most = int(x.max(initial=0))
        if self._facts.tokens is not None and most >= self._facts.tokens:
            raise DataError(f"{file}: expected tokens from 1 to {self._facts.tokens - 1}, found {most} from row {row} on.")
        return x

    def _numbers(self, x: npt.NDArray[Any], inverted: bool) -> npt.NDArray[Any]:
        """Return features as the model takes them: pixels as fractions, turned over where the training data were."""
        if x.dtype.kind == "i":
            return x.astype(np.int32)
        values = x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)
        return np.float32(1) - values if inverted != self._invert else values


def _size(shape: tuple[int | None, ...]) -> str:
    text = " x ".join("any" if size is None else str(size) for size in shape)
    return f"{text} ({'grey' if len(shape) == 2 else 'colour'})" if len(shape) in (2, 3) else text
