"""Reads examples without labels from a user's files: images, tables, arrays, shards, or files of
the model's own source.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from pydantic import ValidationError

from fedpipe.config import DataConfig
from fedpipe.data.preprocess.steps import refuse_gaps
from fedpipe.errors import DataError, shorten
from fedpipe.inference.model_input import ModelInput, size_text

if TYPE_CHECKING:
    from fedpipe.models.input_facts import InputFacts

_SHARD_COLUMNS = ["client_id", "x", "y", "source_row"]
_TARGET_COLUMN = "target"
"""Another column of the shards of multilabel and regression, the last one."""
_ARRAYS = (".npz",)
_TABLES = (".parquet", ".csv")
_WHOLE_SOURCES = ("sqlite", "leaf")
"""Sources with a file format of their own: their files are read with their labels."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputBatch:
    """Some examples of one file.

    Attributes:
        file: the file.
        first_row: number of the first example in the file, from 0; None of an image.
        x: input of the model, [n, ...]: float32, pixels in 0..1, or int32 tokens.
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
        *,
        project: Path | None = None,
        num_classes: int | None = None,
    ) -> None:
        """Read for a model of these facts.

        Args:
            facts: of the model.
            shape: of one example's features; None where any size is allowed.
            tokens: whether the features are tokens.
            config: the project's settings, for a model whose facts do not name how its training
                data were read.
            invert: turn dark into light, beyond the model's own training data.
            project: folder of the user's own sources.
            num_classes: classes of the model, to compare with those of shards.

        Raises:
            DataError: `invert` of tokens.
        """
        if tokens and invert:
            raise DataError(
                "--invert: expected a model of pixels or numbers, found one of tokens. Leave "
                "--invert away."
            )
        self._facts = facts
        self._project = project or Path.cwd()
        self._num_classes = num_classes
        dtype = facts.feature_dtype or ("int32" if tokens else "auto")
        self._config = _settings(facts, config).model_copy(
            update={"feature_dtype": dtype, "feature_shape": None}
        )
        columns = {*self._config.label_columns, self._config.client_column, "split", None}
        not_features = tuple(sorted(filter(None, columns)))
        self._input = ModelInput(facts, shape, tokens, invert, not_features)
        self._steps = facts.steps
        if self._steps is not None:
            self._config = self._config.model_copy(update={"feature_dtype": self._steps.dtype})

    @property
    def _reads_whole_files(self) -> bool:
        """Return whether the model's source has a file format of its own; a user's source without a
        path has none.
        """
        return self._config.source in _WHOLE_SOURCES or (
            ":" in self._config.source and self._facts.reading.get("path", "") is not None
        )

    def batches(self, files: Iterable[Path]) -> Iterator[InputBatch]:
        """Yield the examples of the files, in their order; of a folder of images, all images in it.

        Raises:
            DataError: a file does not exist, is of another kind, cannot be read, or its examples
                are not input of the model.
        """
        for file in files:
            yield from self._batches(file)

    def _batches(self, file: Path) -> Iterator[InputBatch]:
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
            yield self._image(file)
        elif suffix in _ARRAYS:
            yield from self._arrays(file)
        elif self._reads_whole_files and suffix not in _TABLES:
            yield from self._source(file)
        elif (kind := table_kind(file)) is not None:
            yield from self._table(file, kind)
        elif looks_like_image(file):
            yield self._image(file)
        else:
            raise DataError(
                f"{file}: expected an image, a table (CSV or Parquet), an NPZ file, or a file of "
                f"the model's source ({source}), found {suffix or 'a file without an ending'}. "
                "Convert it, or correct its name."
            )

    def _folder(self, folder: Path) -> Iterator[InputBatch]:
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
            yield self._image(image)

    def _image(self, file: Path) -> InputBatch:
        if self._steps is None:
            return InputBatch(file, None, self._input.from_image(file))
        raw = self._input.raw_image(file, self._steps)
        prepared = self._steps.apply(raw, project=self._project)
        return InputBatch(file, None, self._input.from_prepared(prepared, file, 0))

    def _rows(
        self, x: Any, file: Path, row: int, texts: Mapping[str, Sequence[str]] | None = None
    ) -> Iterator[InputBatch]:
        if not len(x):
            return
        if self._steps is None:
            yield InputBatch(file, row, self._input.from_features(x, file, row))
            return
        raw = self._input.raw_features(x, self._steps, file, row)
        prepared = self._steps.apply(raw, texts, self._project)
        refuse_gaps(prepared, self._steps.result)
        yield InputBatch(file, row, self._input.from_prepared(prepared, file, row))

    def _arrays(self, file: Path) -> Iterator[InputBatch]:
        from fedpipe.data.sources.npz_file import read_features

        yield from self._rows(read_features(self._config, file), file, 0)

    def _source(self, file: Path) -> Iterator[InputBatch]:
        """Read a file with the model's own source, in place of its training data."""
        from fedpipe.data.sources import open_source

        config = self._config.model_copy(update={"path": str(file.resolve())})
        row = 0
        for batch in open_source(config, self._project, self._facts.kind).batches():
            yield from self._rows(batch.x, file, row)
            row += len(batch.x)

    def _shards(self, file: Path, columns: Iterable[Any]) -> Iterator[InputBatch]:
        self._require_same_kind(file)
        row = 0
        for column in columns:
            yield InputBatch(file, row, self._input.from_shards(column, file))
            row += len(column)

    def _table(self, file: Path, kind: str) -> Iterator[InputBatch]:
        from fedpipe.data.sources.tabular import open_features

        if file.is_file() and (shards := _shard_batches(file)) is not None:
            yield from self._shards(file, shards)
            return
        config = self._config.model_copy(update={"source": kind, "preprocess": []})
        table = open_features(config, file, self._facts.columns, self._steps)
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
            yield from self._rows(rows.x, rows.file, rows.first_row - 1, table.texts())

    def _require_same_kind(self, file: Path) -> None:
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
        differing = self._facts.differences(manifest, self._input.invert)
        if self._num_classes is not None and manifest.outputs != self._num_classes:
            differing.append(f"{manifest.labels_in_words}, the model's {self._num_classes}")
        shape = tuple(manifest.feature_shape)
        if not self._input.tokens and shape != self._input.shape:
            differing.append(
                f"features of {size_text(shape)}, the model's {size_text(self._input.shape)}"
            )
        if differing:
            raise DataError(
                f"{file}: expected shards of the kind that the model was trained on, found "
                f"others: {'; '.join(differing)}. `fedpipe describe RUN` shows where a run's own "
                "shards are."
            )


def _settings(facts: "InputFacts", project: DataConfig) -> DataConfig:
    """Return the settings with which the model's training data were read; the project's if its
    facts do not name them.
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
    """Return the column `x` of a file of shards in batches; None if it is another file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            schema = opened.schema_arrow
    except (pa.ArrowException, OSError):
        return None
    names = [name for name in schema.names if name != _TARGET_COLUMN]
    if names != _SHARD_COLUMNS or not pa.types.is_fixed_size_binary(schema.field("x").type):
        return None

    def batches() -> Iterator[Any]:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(4096, columns=["x"], use_threads=False):
                yield batch.column(0)

    return batches()
