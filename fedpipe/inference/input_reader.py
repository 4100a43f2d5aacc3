"""Examples without labels from a user's own files, as a model takes them: images, tables, arrays,
or what the model's own source reads.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from fedpipe.config import DataConfig
from fedpipe.errors import DataError, shorten

if TYPE_CHECKING:
    from fedpipe.models.input_facts import InputFacts

_SHARD_COLUMNS = ["client_id", "x", "y", "source_row"]
_ARRAYS = (".npz",)
_TABLES = (".parquet", ".csv")
_WHOLE_SOURCES = ("sqlite", "leaf")
"""Sources whose files hold examples in a form of their own: they are read with their labels."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Some examples of one file.

    Attributes:
        file: where they are from.
        first_row: number of the first of them in the file, from 0; None of an image.
        x: [n, ...] as the model takes them: float32, pixels in 0..1, or int32 tokens.
    """

    file: Path
    first_row: int | None
    x: npt.NDArray[Any]


class Reader:
    """Reads files for one model."""

    def __init__(
        self,
        facts: "InputFacts",
        shape: tuple[int | None, ...],
        tokens: bool,
        config: DataConfig,
        invert: bool,
        project: Path | None = None,
        num_classes: int | None = None,
    ) -> None:
        """Take what the model says of its input.

        Args:
            facts: of the model.
            shape: of one example's features; None where any size is taken.
            tokens: whether the features are tokens.
            config: the project's settings; they count where the model does not say how its training
                data were read.
            invert: turn dark into light beyond what the model's own training data were.
            project: folder in which a source of the user's own is found.
            num_classes: classes that the model tells apart, to compare with shards.

        Raises:
            DataError: `invert` of tokens.
        """
        if tokens and invert:
            raise DataError(
                "--invert: expected a model of pixels or numbers, found one of tokens. Leave "
                "--invert away."
            )
        self._facts = facts
        self._shape = shape
        self._tokens = tokens
        self._invert = invert
        self._project = project or Path.cwd()
        self._num_classes = num_classes
        dtype = facts.feature_dtype or ("int32" if tokens else "auto")
        self._config = _settings(facts, config).model_copy(
            update={"feature_dtype": dtype, "feature_shape": None}
        )

    @property
    def _reads_whole_files(self) -> bool:
        """Return whether the model's source reads files in a form of its own; one of the user's own
        that was given no path reads none.
        """
        return self._config.source in _WHOLE_SOURCES or (
            ":" in self._config.source and self._facts.reading.get("path", "") is not None
        )

    def parts(self, files: list[Path]) -> Iterator[Part]:
        """Yield the examples of the files, in their order; of a folder of images, all images in it.

        Raises:
            DataError: a file is not there, is of another kind, cannot be read, or its examples are
                not what the model takes.
        """
        for file in files:
            yield from self._parts(file)

    def _parts(self, file: Path) -> Iterator[Part]:
        from fedpipe.data.sources.decode import image_suffixes, looks_like_image
        from fedpipe.data.sources.tabular import table_kind

        source = self._config.source
        suffix = file.suffix.lower()
        if not file.exists():
            raise DataError(
                f"{file}: expected a file or a folder, found nothing. Correct the path."
            )
        if file.is_dir():
            yield from self._folder(file)
        elif suffix in image_suffixes():
            yield Part(file, None, self._image(file))
        elif suffix in _ARRAYS:
            yield from self._arrays(file)
        elif self._reads_whole_files and suffix not in _TABLES:
            yield from self._source(file)
        elif (kind := table_kind(file)) is not None:
            yield from self._table(file, kind)
        elif looks_like_image(file):
            yield Part(file, None, self._image(file))
        else:
            raise DataError(
                f"{file}: expected an image, a table (CSV or Parquet), an NPZ file, or a file of "
                f"the model's source ({source}), found {suffix or 'a file without an ending'}. "
                "Convert it, or correct its name."
            )

    def _folder(self, folder: Path) -> Iterator[Part]:
        from fedpipe.data.manifest import MANIFEST_NAME
        from fedpipe.data.sources.image_folder import images_below
        from fedpipe.data.sources.tabular import table_kind

        if (folder / MANIFEST_NAME).is_file():
            raise DataError(
                f"{folder}: expected a file of these shards, found their folder. Name one, such "
                "as central-00000.parquet."
            )
        if self._reads_whole_files:
            yield from self._source(folder)
            return
        images, left_out = images_below(folder)
        kind = table_kind(folder)
        if kind is not None and not images:
            yield from self._table(folder, kind)
            return
        if not images:
            raise DataError(
                f"{folder}: expected a folder of images or of the files of a table, found "
                "neither. Name another."
            )
        for text in left_out:
            logger.warning("%s: left out: %s", folder, text)
        for image in images:
            yield Part(image, None, self._image(image))

    def _image(self, file: Path) -> npt.NDArray[np.float32]:
        from fedpipe.data.sources.decode import decode_image_file, without_equal_channels

        if self._tokens or self._facts.feature_dtype not in (None, "uint8"):
            takes = self._facts.feature_dtype or "tokens"
            raise DataError(
                f"{file}: expected a table or an NPZ file: the model takes {takes}, found an image."
            )
        pixels = decode_image_file(file).pixels
        if len(self._shape) == 2 or self._shape[2:] == (1,):
            pixels = without_equal_channels(pixels)
        if pixels.ndim == 2 and self._shape[2:] == (1,):
            pixels = pixels[..., None]
        if pixels.shape != self._shape:
            raise DataError(
                f"{file}: expected an image of {_size(self._shape)}, found {_size(pixels.shape)}. "
                "Resize or convert it."
            )
        return self._numbers(pixels[None], self._facts.inverted)

    def _arrays(self, file: Path) -> Iterator[Part]:
        from fedpipe.data.sources.arrays import read_features

        x = read_features(self._config, file)
        if len(x):
            yield Part(file, 0, self._features(x, file, 0))

    def _source(self, file: Path) -> Iterator[Part]:
        """Yield what the model's own source reads from a file in place of its training data."""
        from fedpipe.data.sources import open_source

        row = 0
        for batch in open_source(
            self._config.model_copy(update={"path": str(file.resolve())}), self._project
        ).batches():
            if len(batch.x):
                yield Part(file, row, self._features(batch.x, file, row))
            row += len(batch.x)

    def _table(self, file: Path, kind: str) -> Iterator[Part]:
        from fedpipe.data.sources.tabular import open_features

        if file.is_file() and (shards := _shard_batches(file)) is not None:
            self._refuse_other_shards(file)
            row = 0
            for column in shards:
                yield Part(
                    file, row, self._numbers(self._of_shard(file, column), inverted=False)
                )  # what prepared them has done it
                row += len(column)
            return
        table = open_features(
            self._config.model_copy(update={"source": kind}), file, self._facts.columns
        )
        if table.surplus:
            logger.warning(
                "%s: columns that the model does not know are left out: %s",
                file,
                shorten(table.surplus),
            )
        if not self._facts.columns and len(table.names) > 1:
            logger.warning(
                "%s: the model does not say the names of its features: columns are taken in the "
                "order of the file.",
                file,
            )
        for rows in table.rows():
            row = rows.first_row - 1
            if len(rows.x):
                yield Part(rows.file, row, self._features(rows.x, rows.file, row))

    def _ignored(self) -> set[str]:
        return {
            name
            for name in (self._config.label_column, self._config.client_column, "split")
            if name is not None
        }

    def _refuse_other_shards(self, file: Path) -> None:
        """Raise DataError if shards are of another kind than the model's training data."""
        from fedpipe.data.manifest import MANIFEST_NAME, read_manifest

        if not (file.parent / MANIFEST_NAME).is_file():
            logger.warning(
                "%s: shards without their %s: whether they are of the model's kind is not known.",
                file,
                MANIFEST_NAME,
            )
            return
        manifest = read_manifest(file.parent)
        differing = self._facts.differences(manifest, self._invert)
        if self._num_classes is not None and manifest.num_classes != self._num_classes:
            differing.append(f"{manifest.num_classes} classes, the model's {self._num_classes}")
        sizes = tuple(manifest.feature_shape)
        if not self._tokens and sizes != self._shape:
            differing.append(f"features of {_size(sizes)}, the model's {_size(self._shape)}")
        if differing:
            raise DataError(
                f"{file}: expected shards of the kind that the model was trained on, found "
                f"others: {'; '.join(differing)}. `fedpipe describe RUN` shows where a run's own "
                "shards are."
            )

    def _of_shard(self, file: Path, column: Any) -> npt.NDArray[Any]:
        dtype = np.dtype(self._facts.feature_dtype or "uint8").newbyteorder("<")
        sizes = [size for size in self._shape if size is not None]
        width = column.type.byte_width // dtype.itemsize
        if column.type.byte_width % dtype.itemsize or (
            len(sizes) == len(self._shape) and width != prod(sizes)
        ):
            raise DataError(
                f"{file}: expected shards of the model's features, {_size(self._shape)}, found "
                f"{column.type} a row."
            )
        body = np.frombuffer(
            column.buffers()[1], dtype, len(column) * width, column.offset * column.type.byte_width
        )
        return body.reshape(len(column), *(size or width for size in self._shape))

    def _features(self, x: Any, file: Path, row: int) -> npt.NDArray[Any]:
        """Return features, an array or sequences, as the model takes them."""
        if self._tokens:
            return self._sequences(x, file, row)
        sizes = [size for size in self._shape if size is not None]
        found = (
            "sequences (texts or tokens)"
            if isinstance(x, list) or x.dtype == np.int32
            else str(prod(x.shape[1:]))
        )
        if found != str(prod(sizes)):
            raise DataError(
                f"{file}: expected {prod(sizes)} numbers in a row, for features of "
                f"{_size(self._shape)}, found {found} from row {row} on. Columns that are no "
                f"features: {shorten(sorted(self._ignored()))}."
            )
        from fedpipe.data.sources.shape import shaped

        return self._numbers(shaped(x, tuple(sizes), str(file)), self._facts.inverted)

    def _sequences(self, rows: Any, file: Path, row: int) -> npt.NDArray[np.int32]:
        if not isinstance(rows, list) and rows.dtype != np.int32:
            raise DataError(
                f"{file}: expected sequences (texts or tokens), found {rows.dtype} numbers from "
                f"row {row} on. Name another file."
            )
        longest = max(map(len, rows), default=1)
        x = np.zeros((len(rows), longest), np.int32)
        for number, tokens in enumerate(rows):
            x[number, : len(tokens)] = tokens
        most = int(x.max(initial=0))
        if self._facts.tokens is not None and most >= self._facts.tokens:
            raise DataError(
                f"{file}: expected tokens from 1 to {self._facts.tokens - 1}, found {most} from "
                f"row {row} on."
            )
        return x

    def _numbers(self, x: npt.NDArray[Any], inverted: bool) -> npt.NDArray[Any]:
        """Return features as the model takes them: pixels as fractions, turned over where the
        training data were.
        """
        if x.dtype.kind == "i":
            return x.astype(np.int32)
        values = (
            x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)
        )
        if inverted != self._invert:
            return np.float32(1) - values
        return values


def _settings(facts: "InputFacts", project: DataConfig) -> DataConfig:
    """Return how the model's training data were read, as far as it says; else as the project's
    settings say.
    """
    if not facts.reading:
        return project
    try:
        settings = DataConfig.model_validate(dict(facts.reading))
    except ValidationError as err:
        logger.warning(
            "the model's settings for reading data are not those of this version; params.yaml is "
            "used: %s",
            err.errors()[0]["msg"],
        )
        return project
    return settings.model_copy(update={"memory_limit_mb": project.memory_limit_mb})


def _shard_batches(file: Path) -> Iterable[Any] | None:
    """Return the column `x` of a file of shards in batches, None if the file is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            schema = opened.schema_arrow
    except (pa.ArrowException, OSError):
        return None
    if schema.names != _SHARD_COLUMNS or not pa.types.is_fixed_size_binary(schema.field("x").type):
        return None

    def batches() -> Iterator[Any]:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(4096, columns=["x"], use_threads=False):
                yield batch.column(0)

    return batches()


def _size(shape: tuple[int | None, ...]) -> str:
    text = " x ".join("any" if size is None else str(size) for size in shape)
    if len(shape) in (2, 3):
        return f"{text} ({'grey' if len(shape) == 2 else 'colour'})"
    return text
