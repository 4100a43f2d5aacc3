"""Rows of a table whose columns have their roles, as batches of a source; and their summary."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import compress
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.data.array_types import Array, Bools, Int32s
from fedpipe.data.sources.arrow_features import features_of
from fedpipe.data.sources.arrow_types import is_image, is_number, is_text
from fedpipe.data.sources.base import Batch, SourceSummary
from fedpipe.data.sources.cell_kinds import CellKind, number_of_cell
from fedpipe.data.sources.column_roles import Roles
from fedpipe.data.sources.csv_table import CsvTable
from fedpipe.data.sources.decode import image_size
from fedpipe.data.sources.feature_checks import check_columns, check_sequences
from fedpipe.data.sources.label_checks import check_ids, check_split_names
from fedpipe.data.sources.parquet_table import ParquetTable
from fedpipe.data.sources.places import BatchPlace
from fedpipe.data.sources.raw_columns import (
    RawColumns,
    TextCodes,
    arrow_columns,
    checked_rows,
    dropped_note,
    without_gaps,
)
from fedpipe.data.sources.row_numbers import RowNumberColumns
from fedpipe.data.sources.table import TableRows, ignore_setting
from fedpipe.data.sources.table_images import ImageColumn
from fedpipe.data.sources.target_checks import check_flags, joined_columns, labels_of_kind
from fedpipe.errors import DataError, shorten

_IMAGE_FILE = re.compile(r".{1,1000}\.(png|jpe?g|gif|bmp|webp|tiff?)", re.I)
_NUMBER_LIST = re.compile(r"[\[(]?\s*-?[\d.]+([\s,;]+-?[\d.]+)+\s*[\])]?")


class TableReader:
    """Reads the rows of a table whose columns have their roles."""

    def __init__(
        self,
        config: DataConfig,
        table: CsvTable | ParquetTable,
        roles: Roles,
        kind: TaskKind = "classification",
        raw: RawColumns | None = None,
    ) -> None:
        """Take a table.

        Args:
            config: the settings under `data`.
            table: the table.
            roles: of its columns.
            kind: of the labels.
            raw: which columns of features hold texts or may have empty cells; None: as the steps
                in `data.preprocess` say.
        """
        self._config = config
        self._kind = kind
        self._raw = raw
        self._codes = TextCodes()
        self._dropped = 0
        self._table = table
        self._roles = roles
        self._names = [table.names[place] for place in roles.features]
        self._kinds: dict[int, CellKind] = {}
        self._numbering = RowNumberColumns()
        self._texts_like_lists = self._texts_like_files = True
        self._form = ""

    def batches(self) -> Iterator[Batch]:
        """Yield the rows as a source's batches. Raises DataError."""
        roles = self._roles
        for rows in self.rows():
            batch = Batch(
                rows.x,
                self._labels(rows),
                self._checked(check_ids, rows, roles.client),
                self._checked(check_split_names, rows, roles.split),
            )
            if rows.stays is not None:
                self._dropped += int((~rows.stays).sum())
                batch = _rows_that_stay(batch, rows.stays)
            yield batch

    @property
    def texts(self) -> dict[str, list[str]]:
        """Return the distinct texts of each column of texts beside numbers, of the rows so far."""
        return self._codes.texts

    @cached_property
    def raw(self) -> RawColumns:
        """Return which columns of features hold texts or may have empty cells."""
        if self._raw is not None:
            return self._raw
        return RawColumns.of_settings(self._config, self._names, self._names_of_texts)

    def _names_of_texts(self) -> list[str]:
        places = self._roles.features
        if isinstance(self._table, ParquetTable):
            types = self._table.types
            return [self._table.names[place] for place in places if is_text(types[place])]
        kinds = self._table.kinds(places)
        return [self._table.names[place] for place in places if kinds[place] is CellKind.TEXT]

    def _places_in(self, names: Collection[str]) -> list[int]:
        return [place for place in self._roles.features if self._table.names[place] in names]

    def _labels(self, rows: TableRows) -> Any:
        """Return the labels of the kind, of several columns side by side; None without labels."""
        check: Callable[[Any, BatchPlace], Any] = partial(labels_of_kind, kind=self._kind)
        places = self._roles.labels
        if len(places) > 1 and self._kind == "multilabel":
            check = check_flags
        if self._kind == "regression" and isinstance(self._table, CsvTable):
            rows = replace(rows, values=rows.values | self._numbers(rows))
        columns = [self._checked(check, rows, place) for place in places]
        if len(columns) > 1:
            return joined_columns(columns)
        return columns[0] if columns else None

    def _numbers(self, rows: TableRows) -> dict[int, list[Any]]:
        """Return the labels of a CSV in which texts that are numbers, such as 007, are numbers."""
        decimal = self._config.decimal
        columns = {}
        for place in self._roles.labels:
            values = rows.values[place]
            numbers = [
                number_of_cell(value, decimal) if isinstance(value, str) else value
                for value in values
            ]
            columns[place] = [
                value if number is None else number
                for value, number in zip(values, numbers, strict=True)
            ]
        return columns

    def _checked(
        self, check: Callable[[Any, BatchPlace], Any], rows: TableRows, place: int | None
    ) -> Any:
        """Return `check` of a column's values, None if there is no such column."""
        if place is None:
            return None

        def row_name(row: int) -> str:
            name = f"row {row} (the first row is 1)"
            if isinstance(self._table, CsvTable):
                name = self._table.row_name(rows.file, row)
            return f"{name}, column {self._table.names[place]}"

        return check(rows.values[place], BatchPlace(rows.file, rows.first_row, row_name=row_name))

    def rows(self) -> Iterator[TableRows]:
        """Yield the rows with their features. Raises DataError."""
        rows = None
        for rows in self._read(self._table):
            x = rows.x
            if isinstance(x, np.ndarray) and x.shape[1:] == (len(self._names),) and not self.raw:
                self._numbering.add(x)
            yield rows
        if rows is None:
            raise DataError(
                f"{self._table.path}: expected rows below the header, found none. Correct "
                "data.path or the file."
            )

    def _read(self, table: CsvTable | ParquetTable) -> Iterator[TableRows]:
        if isinstance(table, CsvTable):
            return self._csv_rows(table)
        first = self._roles.features[0]
        if len(self._names) == 1 and is_image(table.types[first]):
            return self._image_rows(table, first)
        return self._parquet_rows(table)

    def _csv_rows(self, table: CsvTable) -> Iterator[TableRows]:
        roles = self._roles
        raw = self.raw
        only_feature = roles.features if len(roles.features) == 1 and not raw else ()
        self._kinds = table.kinds([*roles.given, *only_feature])
        words = self._places_in(raw.texts)
        gaps = self._places_in(raw.gaps)
        for chunk in table.chunks(
            roles.given, roles.features, self._kinds, roles.named, words, gaps
        ):
            row_name = partial(table.row_name, chunk.path)
            place = BatchPlace(chunk.path, chunk.first_row, counted_from=1)
            x: Array | list[Int32s]
            if isinstance(chunk.x, list):
                self._look_at_texts(chunk.x)
                x = check_sequences(chunk.x, place)
            else:
                place = BatchPlace(chunk.path, chunk.first_row, row_name=row_name)
                if raw:
                    texts = {table.names[place]: cells for place, cells in chunk.words.items()}
                    x = self._raw_rows(chunk.x, texts, place)
                else:
                    x = check_columns(self._config, self._names, chunk.x, place)
            yield TableRows(chunk.path, chunk.first_row, x, chunk.values, self._stays(x))

    def _raw_rows(
        self, x: Array, words: Mapping[str, Sequence[str | None]], place: BatchPlace
    ) -> Array:
        return checked_rows(self._config, self.raw, self._names, x, words, self._codes, place)

    def _stays(self, x: Array | list[Int32s]) -> Bools | None:
        if not self.raw.dropped or isinstance(x, list):
            return None
        return without_gaps(self.raw, self._names, x)

    def _parquet_rows(self, table: ParquetTable) -> Iterator[TableRows]:
        roles = self._roles
        for chunk in table.chunks([*roles.given, *roles.features], roles.named):
            columns = [(table.names[place], chunk.columns[place]) for place in roles.features]
            place = BatchPlace(chunk.path, chunk.first_row, counted_from=1)
            x: Array | list[Int32s]
            if self.raw:
                x = self._raw_rows(*arrow_columns(self.raw, columns, place), place)
                values = {place: chunk.columns[place].to_pylist() for place in roles.given}
                yield TableRows(chunk.path, chunk.first_row, x, values, self._stays(x))
                continue
            x = features_of(self._config, columns, place)
            first = columns[0][1]
            if isinstance(x, list) and is_text(first.type):
                self._look_at_texts(first.slice(0, 100).to_pylist())
            elif isinstance(x, list):
                self._form = f"sequences in the column {self._names[0]}"
            elif not is_number(first.type):
                size = " x ".join(map(str, x.shape[1:]))
                self._form = f"lists of {size} numbers in the column {self._names[0]}"
            values = {place: chunk.columns[place].to_pylist() for place in roles.given}
            yield TableRows(chunk.path, chunk.first_row, x, values)

    def _image_rows(self, table: ParquetTable, place: int) -> Iterator[TableRows]:
        column = ImageColumn(table, place, self._config.memory_limit_mb * 1_000_000)
        for rows in column.rows(self._roles.given, self._roles.named):
            self._form = f"images of {image_size(column.shape)} in the column {self._names[0]}"
            yield rows

    # Summary

    def _look_at_texts(self, texts: Sequence[str]) -> None:
        self._form = f"texts in the column {self._names[0]}, their bytes as tokens"
        first = texts[:100]
        self._texts_like_files = self._texts_like_files and all(map(_IMAGE_FILE.fullmatch, first))
        self._texts_like_lists = self._texts_like_lists and all(
            _NUMBER_LIST.fullmatch(text[:10_000]) for text in first
        )

    def summary(self) -> SourceSummary:
        """Return what was understood, after the rows were read."""
        roles = self._roles
        notes = list(roles.notes)
        numbering = [self._names[place] for place in self._numbering.places()]
        if numbering:
            notes.append(
                f"the column {shorten(numbering)} numbers the rows and is a feature: if it is a "
                f"row number, leave it out with {ignore_setting(numbering)}"
            )
        is_text_column = self._form.startswith("texts")
        if is_text_column and self._texts_like_lists:
            notes.append(
                f"the texts in {self._names[0]} look like lists of numbers and were read as "
                "characters: write the numbers into columns, or as lists into Parquet"
            )
        if is_text_column and self._texts_like_files:
            notes.append(
                f"the texts in {self._names[0]} look like names of image files and were read as "
                "characters: set data.source=images, or put the bytes of the images into Parquet"
            )
        left_out = [dropped_note(self._dropped, self.raw)] if self._dropped else []
        count = len(roles.features) - len(self.raw.texts)
        columns = f"{count:,} column{'s' if count != 1 else ''} of numbers"
        if self.raw.texts:
            columns += f" and {len(self.raw.texts):,} of texts or dates"
        features = [self._form or f"{columns}: {shorten(self._names, 5)}"]
        if len(roles.labels) > 1:
            names = [self._table.names[place] for place in roles.labels]
            features.append(f"{len(names)} labels from {shorten(names, 5)}")
        elif roles.labels:
            place = roles.labels[0]
            features.append(f"label from {self._table.names[place]}{self._type_of(place)}")
        if roles.client is not None:
            name = self._table.names[roles.client]
            features.append(f"client from {name}{self._type_of(roles.client)}")
        return SourceSummary(
            format=self._table.format,
            features="; ".join(features),
            left_out=(*roles.left_out, *left_out),
            notes=tuple(notes),
            columns=() if self._form else tuple(self._names),
        )

    def _type_of(self, place: int) -> str:
        types = self._table.types if isinstance(self._table, ParquetTable) else self._kinds
        return f" ({types[place]})"


def _rows_that_stay(batch: Batch, stays: Bools) -> Batch:
    """Return a batch without the rows that are left out."""

    def chosen(values: Any) -> Any:
        if values is None:
            return None
        if isinstance(values, np.ndarray):
            return values[stays]
        return list(compress(values, stays.tolist()))

    return replace(
        batch,
        x=chosen(batch.x),
        y=chosen(batch.y),
        clients=chosen(batch.clients),
        is_test=chosen(batch.is_test),
    )
