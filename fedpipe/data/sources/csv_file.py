"""CSV files, read by pandas in chunks of bounded memory: docs/decisions/0009-reader-of-tables.md
says why pandas.

pandas splits the text into cells and turns cells into numbers. Here is what surrounds it: encoding
and separator, the header, parts of a folder, and the place of what is wrong, as the user counts it:
row 1 is the first below the header, and line 1 the first of the file.
"""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import sys
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.data.sources.cells import (
    CellKind,
    hint_of_cell,
    is_misread_number,
    kind_of_cell,
    kind_of_column,
    number_of_cell,
    values_of_cells,
)
from fedpipe.data.sources.checks import BATCH_ROWS, unreadable
from fedpipe.data.sources.row_numbers import DistinctNumbers
from fedpipe.data.sources.table_files import (
    TablePart,
    content_of,
    table_parts,
    utf16_without_mark,
    wrong_content,
)
from fedpipe.errors import DataError, shorten

_OPENERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_CHARACTERS = 65_536
_SAMPLE_RECORDS = 50
_SEPARATORS = (",", ";", "\t", "|")
_CHUNK_SHARE = 8
"""A chunk of rows may take the limit divided by this as text; it is held as cells, as columns and
as one array.
"""
_NAMES = {"\t": "tab", " ": "space", ",": "comma", ";": "semicolon", "|": "pipe"}
_AGAIN = "Were files joined with their headers? Remove the line."
_NO_TABLE = (
    ("{", "JSON: convert it into a table, or set data.source=leaf for LEAF's"),
    ("[{", "JSON: convert it into a table"),
    (
        "<",
        "HTML or XML, such as the page that says why a download failed: open it, and download the "
        "file again",
    ),
    ("#", "a comment: remove the lines above the header"),
)
"""Beginnings of a header that is none, and what it is."""
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        separator: one character.
        encoding: as Python names it.
        decimal: `.` or `,`.
        spaced: whether a space follows each separator, and is no part of the cell.
        said: the same in words, with what was detected.
    """

    separator: str
    encoding: str
    decimal: str
    spaced: bool
    said: str


@dataclass(frozen=True)
class CsvChunk:
    """Some rows of one file.

    Attributes:
        part: the file.
        first_row: number of the first of them in the file; the first row below the header is 1.
        values: by place of the column, the values of the columns that were asked for as values.
        x: float64 [n, features], or texts if the only feature is a column of texts.
    """

    part: TablePart
    first_row: int
    values: dict[int, list[Any]]
    x: npt.NDArray[Any] | list[str]


class _TooLongError(Exception):
    """A chunk of rows passed its share of the memory limit."""


class _Text(io.TextIOBase):
    """The decoded text of a file as pandas reads it: refuses zero bytes, and chunks that take too
    much.
    """

    def __init__(self, text: IO[str], path: Path, most: int, lines: int) -> None:
        self._text = text
        self._path = path
        self._most = most
        self.lines = lines
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        body = self._text.read(size if size is not None else -1)
        self.taken += len(body)
        if "\0" in body:
            line = self.lines + body[: body.index("\0")].count("\n") + 1
            raise DataError(
                f"{self._path}: expected a text, found a zero byte (NUL) in line {line}. The file "
                "is damaged, or in another encoding: set data.encoding."
            )
        self.lines += body.count("\n")
        if self.taken > self._most:
            raise _TooLongError
        return body


class CsvTable:
    """A CSV file, or a folder of them with the same columns.

    Attributes:
        names: of the columns, without spaces around them; empty of a column without a name. Columns
            that folders `key=value` name come last.
        format: what was read and how, in words.
        left_out: what of the folder was not read, in words.
        notes: what was changed, in words.
    """

    def __init__(self, config: DataConfig, path: Path) -> None:
        """Find out how the file is written, and read the header.

        Raises:
            DataError: it is no CSV file, or cannot be read by the settings.
        """
        self._config = config
        self.path = path
        self._limit = config.memory_limit_mb * 1_000_000
        self.parts, self.left_out = table_parts(path, "csv")
        self.notes: list[str] = []
        first = self.parts[0]
        self.dialect = _dialect(config, first.path)
        header = self._header(first)
        self.names = [*header, *first.partition]
        self._width = len(header)
        if header != [name.strip() for name in header] or any(
            name != name.strip() for name in self._raw_header(first)
        ):
            self.notes.append("spaces around the names of columns were removed")
        numbers = [name for name in header if number_of_cell(name) is not None]
        if numbers and config.column_names is None:
            self.notes.append(
                f"columns are called {shorten(numbers, 3)}: if line {self._header_line} is no "
                "header, set data.column_names"
            )
        if self.dialect.spaced:
            self.notes.append("the space after each separator was removed")
        count = (
            f"{len(self.parts):,} CSV files in {path.name}"
            if path.is_dir()
            else f"CSV file {path.name}"
        )
        named = (
            "names from data.column_names"
            if config.column_names
            else f"header in line {self._header_line}"
        )
        self.format = f"{count}: {self.dialect.said}, {named}"

    # The header

    def _raw_header(self, part: TablePart) -> list[str]:
        with self._opened(part) as text:
            return self._read_header(text, part)[0]

    def _header(self, part: TablePart) -> list[str]:
        names = [name.strip() for name in self._raw_header(part)]
        if len(names) > 1 and all(re.fullmatch(r"'[^']+'", name) for name in names):
            names = [name[1:-1] for name in names]
        return names

    def _read_header(self, text: IO[str], part: TablePart) -> tuple[list[str], int]:
        """Return the names of the columns as they stand in the file and the lines that they take;
        the text stands at the first row.
        """
        if self._config.column_names is not None:
            return list(self._config.column_names), 0
        with _long_cells():
            records = csv.reader(
                text, delimiter=self.dialect.separator, skipinitialspace=self.dialect.spaced
            )
            try:
                for record in records:
                    if _is_blank(record):
                        continue
                    self._header_line = records.line_num
                    return record, records.line_num
            except csv.Error as err:
                raise unreadable(part.path, "a CSV file", err) from err
        raise DataError(
            f"{part.path}: expected a header and rows, found an empty file. Correct data.path or "
            "the file."
        )

    # Reading

    @contextmanager
    def _opened(self, part: TablePart) -> Iterator[IO[str]]:
        try:
            with _open_text(part.path, self.dialect.encoding) as text:
                yield text
        except UnicodeError as err:
            raise self._wrong_encoding(part, err) from err
        except _DAMAGED as err:
            raise unreadable(part.path, "a CSV file", err) from err

    def _frames(
        self, part: TablePart, texts: Sequence[int], only: Sequence[int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield (number of the first row, DataFrame) with the columns' places as names.

        Args:
            part: the file.
            texts: places of the columns that are read as texts.
            only: places of the columns that are read; all if None.
        """
        rows = BATCH_ROWS
        done = 0
        while True:
            try:
                yield from self._frames_of(part, texts, only, rows, done)
                return
            except _TooLongError:
                if rows == 1:
                    size = self._limit // _CHUNK_SHARE // 1_000_000
                    raise DataError(
                        f"{part.path}: expected rows of at most {size} MB under "
                        f"data.memory_limit_mb={self._limit // 1_000_000}, found a longer one "
                        f'after row {self._delivered}. Is a quote (") opened there and never '
                        "closed? Else raise data.memory_limit_mb."
                    ) from None
                rows = max(1, rows // 8)
                done = self._delivered

    def _frames_of(
        self,
        part: TablePart,
        texts: Sequence[int],
        only: Sequence[int] | None,
        most: int,
        skip: int,
    ) -> Iterator[tuple[int, Any]]:
        import pandas as pd

        self._delivered = skip
        budget = self._limit // _CHUNK_SHARE
        width = self._width
        names = list(
            range(width if only is not None else width + 1)
        )  # a column more takes what is too much in a row
        places = sorted(set(only)) if only is not None else None
        with self._opened(part) as text:
            _, lines = self._read_header(text, part)
            source = _Text(text, part.path, budget, lines)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", pd.errors.ParserWarning)
                    frames = pd.read_csv(
                        source,
                        sep=self.dialect.separator,
                        decimal=self.dialect.decimal,
                        skipinitialspace=self.dialect.spaced,
                        header=None,
                        names=names,
                        usecols=places,
                        index_col=False,
                        dtype={place: str for place in (*texts, width) if place in names},
                        na_filter=False,
                        low_memory=False,
                        engine="c",
                        iterator=True,
                    )
                    row = 0
                    rows = min(most, 64)
                    while True:
                        source.taken = 0
                        frame = frames.get_chunk(rows)
                        if not len(frame):
                            return
                        if only is None and (frame[width] != "").any():
                            raise self._ragged(part)
                        if row + len(frame) > skip:
                            first = max(skip - row, 0)
                            self._delivered = row + len(frame)
                            yield row + first + 1, frame.iloc[first:] if first else frame
                        row += len(frame)
                        per_row = max(1, source.taken // len(frame), self._width * 8)
                        rows = max(1, min(most, budget // 2 // per_row))
            except StopIteration:
                if only is None and source.lines - lines > row:
                    self._refuse_torn_rows(part)
                return
            except pd.errors.EmptyDataError:
                return
            except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as err:
                raise self._ragged(part, err) from err

    def kinds(self, places: Sequence[int]) -> dict[int, CellKind]:
        """Return what columns hold, by all of their cells."""
        seen: dict[int, set[CellKind]] = {place: set() for place in places}
        inside = [place for place in places if place < self._width]
        known: dict[int, set[str]] = {place: set() for place in places}
        self._only_numbers = dict.fromkeys(
            places, True
        )  # also such as 007, which is a text as a label
        self._words = dict.fromkeys(
            places, 0
        )  # distinct cells that are words, less those that are numbers, well written or not
        for part in self.parts:
            for place, value in self._constants(part, places).items():
                seen[place].add(
                    CellKind.MISSING if value is None else kind_of_cell(value, self.dialect.decimal)
                )
            order = self._order(part, self._header(part))
            columns = [order[place] for place in inside]
            for _, frame in self._frames(part, columns, columns) if inside else ():
                for place in inside:
                    for cell in set(frame[order[place]].unique()) - known[place]:
                        kind = kind_of_cell(cell, self.dialect.decimal)
                        seen[place].add(kind)
                        is_number = number_of_cell(cell, self.dialect.decimal) is not None
                        self._only_numbers[place] &= is_number
                        is_word = (
                            kind is CellKind.TEXT
                            and not is_number
                            and not is_misread_number(cell, self.dialect.decimal)
                        )
                        self._words[place] += 1 if is_word else -1
                        if len(known[place]) < 10_000:
                            known[place].add(cell)
        return {place: kind_of_column(kinds) for place, kinds in seen.items()}

    def sample(self, rows: int) -> dict[int, list[str]]:
        """Return the cells of the first file's first rows by the column's place."""
        with _long_cells():
            records = [
                cells
                for _, _, cells in islice(
                    self._records(self.parts[0]), rows if self._width <= 1000 else 10
                )
            ]
        columns = {
            place: [cells[place] for cells in records if len(cells) > place]
            for place in range(self._width)
        }
        named = [value or "" for value in self.parts[0].partition.values()]
        return columns | {self._width + number: [value] for number, value in enumerate(named)}

    def hint_of_header(self) -> str | None:
        """Return what to do if the header looks as if the file was read in a wrong way, else
        None.
        """
        header = self.names[: self._width]
        if self._config.column_names is not None:
            return None
        kind = next(
            (
                words
                for beginning, words in _NO_TABLE
                if header and header[0].lower().startswith(beginning)
            ),
            None,
        )
        if kind is not None:
            return f"Line {self._header_line} looks like {kind}"
        if len(header) == 1:
            for sign in (*_SEPARATORS, " "):
                if (
                    self._config.label_column in [name.strip() for name in header[0].split(sign)]
                    and sign != self.dialect.separator
                ):
                    return (
                        f"The file was read with the separator {_shown(self.dialect.separator)} "
                        "and has one column: set "
                        f"data.separator={'tab' if sign == chr(9) else repr(sign)}"
                    )
        record = next(((line, cells) for _, line, cells in self._records(self.parts[0])), None)
        if record is not None and len(record[1]) > self._width:
            return (
                f"The header in line {self._header_line} has {_count(self._width, 'cell')} and "
                f"line {record[0]} has {len(record[1])}: remove the lines above the header, or "
                "quote cells that hold the separator"
            )
        if len(header) == 1:
            return (
                f"The file was read with the separator {_shown(self.dialect.separator)} and has "
                "one column: set data.separator"
            )
        cells = [kind_of_cell(name, self.dialect.decimal) for name in header if name]
        numbers = sum(
            kind in (CellKind.WHOLE, CellKind.WHOLE_FLOAT, CellKind.NUMBER) for kind in cells
        )
        if numbers * 2 > len(cells):
            return (
                f"Line {self._header_line} looks like a row and no header: set data.column_names "
                f"to a list of {self._width} names, such as "
                f"[{', '.join(filter(None, (self._config.client_column, self._config.label_column, 'a', 'b')))}]"
            )
        return None

    def numbers_rows(self, place: int, gaps: bool) -> bool:
        """Return whether a column numbers the rows of all files, in any order; with `gaps`, numbers
        may be missing.
        """
        numbers = DistinctNumbers(self._limit // _CHUNK_SHARE)
        for part in self.parts:
            own = self._order(part, self._header(part))[place]
            for _, frame in self._frames(part, (), [own]):
                column = frame[own].to_numpy()
                if column.dtype.kind not in "iu" or not numbers.add(column):
                    return False
        return numbers.number_rows(gaps)

    def chunks(
        self,
        given: Sequence[int],
        features: Sequence[int],
        kinds: dict[int, CellKind],
        names: Sequence[int] = (),
    ) -> Iterator[CsvChunk]:
        """Yield all rows.

        Args:
            given: places of the columns that are asked for as values.
            features: places of the columns of features.
            kinds: what `kinds` returns of `given`, and of the feature if there is only one.
            names: those of `given` that are names: whole floats become whole numbers, all else
                stays as it is written.

        Raises:
            DataError: a cell is missing, or a feature is no number; a row has too many or too few
                cells; the file is damaged.
        """
        self._as_text = {place for place in names if kinds[place] is not CellKind.WHOLE_FLOAT}
        ignored = sorted(set(range(len(self.names))) - {*given, *features})
        as_numbers = (
            self._config.feature_dtype != "int32"
            and len(features) == 1
            and self._only_numbers[features[0]]
        )
        if (
            len(features) == 1
            and kinds[features[0]] is CellKind.TEXT
            and not (as_numbers and features[0] < self._width)
        ):
            self._refuse_numbers_with_words(features[0])
            yield from self._text_chunks(given, features[0], ignored, kinds)
            return
        inside = [place for place in features if place < self._width]
        flags: npt.NDArray[np.bool_] | None = None
        for part in self.parts:
            constants = self._constants(part, [*given, *features])
            header = self._header(part)
            order = self._order(part, header)
            fixed = {
                place: self._fixed_feature(part, place, value)
                for place, value in constants.items()
                if place in features
            }
            for row, frame in self._frames(
                part, [order[place] for place in (*given, *ignored) if place < self._width]
            ):
                values = self._values(part, row, frame, given, order, constants, kinds)
                columns = [order[place] for place in inside]
                if flags is None:
                    flags = np.array(
                        [frame[column].dtype.kind == "b" for column in columns], np.bool_
                    )
                x = self._numbers(part, row, frame, columns, flags)
                if fixed:
                    by_place = {place: x[:, number] for number, place in enumerate(inside)}
                    by_place |= {
                        place: np.full(len(frame), value) for place, value in fixed.items()
                    }
                    x = np.stack([by_place[place] for place in features], axis=1)
                yield CsvChunk(part, row, values, x)

    def _refuse_numbers_with_words(self, feature: int) -> None:
        """Raise DataError if the only feature is a column of texts most of whose cells are numbers,
        and no setting says so.
        """
        if (
            self._words[feature] > 0
            or self._config.feature_dtype == "int32"
            or feature >= self._width
        ):
            return
        for part in self.parts:
            column = self._order(part, self._header(part))[feature]
            for row, frame in self._frames(part, [column], [column]):
                for place, cell in enumerate(frame[column].tolist()):
                    if number_of_cell(cell, self.dialect.decimal) is None:
                        err = self._cell_error(part, row + place, feature, cell, "a number")
                        raise DataError(
                            f"{err} If the column is of texts, set data.feature_dtype=int32."
                        )

    def _text_chunks(
        self, given: Sequence[int], feature: int, ignored: Sequence[int], kinds: dict[int, CellKind]
    ) -> Iterator[CsvChunk]:
        for part in self.parts:
            constants = self._constants(part, [*given, feature])
            order = self._order(part, self._header(part))
            texts = [order[place] for place in (*given, *ignored, feature) if place < self._width]
            for row, frame in self._frames(part, texts):
                self._refuse_header(
                    part,
                    row,
                    frame,
                    [place for place in (*given, feature) if place < self._width],
                    order,
                )
                values = self._values(part, row, frame, [*given, feature], order, constants, kinds)
                yield CsvChunk(part, row, values, values.pop(feature))

    def _refuse_header(
        self, part: TablePart, row: int, frame: Any, places: list[int], order: dict[int, int]
    ) -> None:
        """Raise DataError if a row is the header again; among texts nothing else would show it."""
        if len(places) < 2:
            return
        repeated = np.logical_and.reduce(
            [frame[order[place]].to_numpy() == self.names[place] for place in places]
        )
        if repeated.any():
            raise DataError(
                f"{part.path}: {self.where(part, row + int(repeated.argmax()))}: expected a row, "
                f"found the header. {_AGAIN}"
            )

    def _order(self, part: TablePart, header: list[str]) -> dict[int, int]:
        """Return for each column of the table its place in one of the files."""
        own = self.names[: self._width]
        if header == own:
            return {place: place for place in range(self._width)}
        surplus = sorted(set(header) - set(own))
        missing = sorted(set(own) - set(header))
        if surplus or missing or len(header) != len(own):
            raise DataError(
                f"{part.path}: expected the columns of {self.parts[0].path.name}, found "
                f"{_differing(missing, surplus)}. Correct the file, or move it elsewhere."
            )
        places: dict[str, list[int]] = {}
        for place, name in enumerate(header):
            places.setdefault(name, []).append(place)
        return {place: places[name].pop(0) for place, name in enumerate(own)}

    def _constants(self, part: TablePart, places: Sequence[int]) -> dict[int, str | None]:
        """Return the values of the columns that the folders of a file name."""
        values = list(part.partition.values())
        return {place: values[place - self._width] for place in places if place >= self._width}

    def _fixed_feature(self, part: TablePart, place: int, value: str | None) -> float:
        number = None if value is None else number_of_cell(value)
        if number is None:
            raise DataError(
                f"{part.path}: expected a number in the folder {self.names[place]}=..., found "
                f"{value or 'no value'!r}. Encode it, or leave it out: "
                f"data.ignore_columns=[{self.names[place]}]."
            )
        return number

    def _values(
        self,
        part: TablePart,
        row: int,
        frame: Any,
        given: Sequence[int],
        order: dict[int, int],
        constants: dict[int, str | None],
        kinds: dict[int, CellKind],
    ) -> dict[int, list[Any]]:
        values = {}
        for place in given:
            fixed = place in constants
            cells = (
                np.full(len(frame), constants[place] or "", object)
                if fixed
                else frame[order[place]].to_numpy()
            )
            values[place], gap = values_of_cells(
                cells, kinds[place], self.dialect.decimal, place in self._as_text
            )
            if gap is not None:
                raise self._cell_error(part, row + gap, place, str(cells[gap]), "a value")
        return values

    def _numbers(
        self,
        part: TablePart,
        row: int,
        frame: Any,
        columns: list[int],
        flags: npt.NDArray[np.bool_],
    ) -> npt.NDArray[Any]:
        """Return the features of a chunk as float64 [n, columns]; a column of true and false, and
        nothing else, is 1 and 0.

        Args:
            part, row: where the chunk begins.
            frame: the chunk.
            columns: places of the features in this file.
            flags: bool [columns], which columns are of true and false.
        """
        selected = frame[columns]
        kinds = np.array([dtype.kind for dtype in selected.dtypes])
        doubtful = np.flatnonzero((kinds == "O") | ((kinds == "b") != flags))
        if not len(doubtful):
            return np.asarray(selected.to_numpy(np.float64))
        numbers = {}
        for number in doubtful.tolist():
            column = columns[number]
            texts = [str(cell) for cell in selected[column].tolist()]
            values = [
                _flag(text) if flags[number] else number_of_cell(text, self.dialect.decimal)
                for text in texts
            ]
            if None in values:
                bad = values.index(None)
                self._refuse_columns_of_texts(part, row, selected, flags)
                place = self.names.index(self._header(part)[column])
                raise self._cell_error(
                    part,
                    row + bad,
                    place,
                    texts[bad],
                    "true or false" if flags[number] else "a number",
                )
            numbers[column] = np.array(values, np.float64)
        return np.stack(
            [
                numbers[column] if column in numbers else selected[column].to_numpy(np.float64)
                for column in columns
            ],
            axis=1,
        )

    def _refuse_columns_of_texts(
        self, part: TablePart, row: int, frame: Any, flags: npt.NDArray[np.bool_]
    ) -> None:
        """Raise DataError that names all columns of texts, if there are any: columns most of whose
        cells look like no number.
        """
        header = self._header(part)
        found = []
        for column, is_flag in zip(frame.columns, flags, strict=True):
            if frame[column].dtype.kind != "O" or is_flag:
                continue
            texts = [str(cell) for cell in frame[column].tolist()]
            others = [text for text in texts if self._is_plain_text(text)]
            if len(others) * 2 > len(texts):
                found.append((header[column], others[0]))
        if not found:
            return
        named = [f"{name} ({text[:30]!r})" for name, text in found]
        names = ", ".join(yaml_text(name) for name, _ in found[:20])
        raise DataError(
            f"{part.path}: expected features that are numbers, found {len(found)} "
            f"column{'s' if len(found) > 1 else ''} of texts: {shorten(named, 5)}, from row {row} "
            f"on. Leave them out with data.ignore_columns=[{names}], or encode them as numbers."
        )

    def _is_plain_text(self, text: str) -> bool:
        decimal = self.dialect.decimal
        kind = kind_of_cell(text, decimal)
        return (
            kind is not CellKind.MISSING
            and number_of_cell(text, decimal) is None
            and not is_misread_number(text, decimal)
        )

    # What is wrong, and where

    def _records(self, part: TablePart) -> Iterator[tuple[int, int, list[str]]]:
        """Yield (row, line, cells) of each row; the row that is a header is not counted."""
        with self._opened(part) as text, _long_cells():
            _, lines = self._read_header(text, part)
            records = csv.reader(
                text, delimiter=self.dialect.separator, skipinitialspace=self.dialect.spaced
            )
            row = 0
            line = lines
            for record in records:
                begins = line + 1
                line = lines + records.line_num
                if _is_blank(record):
                    continue
                row += 1
                yield row, begins, record

    def where(self, part: TablePart, row: int) -> str:
        """Return the name of a row as the user counts it, with its line in the file."""
        line = next((line for number, line, _ in self._records(part) if number == row), None)
        if line is None:
            return f"row {row}"
        return f"row {row} (line {line})"

    def _refuse_torn_rows(self, part: TablePart) -> None:
        """Raise DataError if a cell begins with a quote that another cell's quote, lines below,
        seems to close: rows would be lost.
        """
        with self._opened(part) as text, _long_cells():
            _, lines = self._read_header(text, part)
            records = csv.reader(
                text,
                delimiter=self.dialect.separator,
                skipinitialspace=self.dialect.spaced,
                strict=True,
            )
            row = end = 0
            while True:
                try:
                    row += not _is_blank(next(records))
                except StopIteration:
                    return
                except csv.Error:
                    row += 1
                    if records.line_num > end + 1:
                        raise DataError(
                            f"{part.path}: row {row} (line {lines + end + 1}): expected the "
                            'separator or the end of the line behind the quote (") that closes a '
                            "cell, found other text behind the one in line "
                            f"{lines + records.line_num}. Is a quote opened and never closed? "
                            "Where quotes are plain characters, put the cell into quotes and "
                            'double those in it ("").'
                        ) from None
                end = records.line_num

    def _cell_error(
        self, part: TablePart, row: int, place: int, cell: str, expected: str
    ) -> DataError:
        record = next(
            ((line, cells) for number, line, cells in self._records(part) if number == row), None
        )
        if record is not None and len(record[1]) < self._width:
            return self._ragged(part)
        where = f"row {row} (line {record[0]})" if record is not None else f"row {row}"
        name = self.names[place]
        kind = kind_of_cell(cell, self.dialect.decimal)
        found = "an empty cell" if not cell.strip() else f"{cell[:60]!r}"
        if kind is CellKind.MISSING and cell.strip():
            found += ", which stands for no value"
        hint = hint_of_cell(cell, self.dialect.decimal, yaml_text(name))
        if cell.strip() == name:
            hint = _AGAIN
        elif name in (self._config.label_column, self._config.client_column):
            hint = "Fill in the value or remove the row."
        return DataError(
            f"{part.path}: {where}, column {name or place + 1}: expected {expected}, found "
            f"{found}. {hint}"
        )

    def _ragged(self, part: TablePart, err: Exception | None = None) -> DataError:
        """Return the error of the first row that has not as many cells as there are columns."""
        named = "data.column_names" if self._config.column_names else "the header"
        if err is not None and "inside string" in str(err):
            rows = re.search(r"row (\d+)", str(err))
            place = f" in {self.where(part, int(rows[1]) + 1)}" if rows else ""
            return DataError(
                f'{part.path}: expected closed quotes, found a quote (") that is opened{place} '
                "and never closed. Correct it."
            )
        try:
            for row, line, cells in self._records(part):
                if len(cells) != self._width:
                    return DataError(
                        f"{part.path}: row {row} (line {line}): expected {self._width} cells, as "
                        f"many as {named} has, found {len(cells)}. {self._ragged_hint(cells)}"
                    )
        except csv.Error as broken:
            err = broken
        return unreadable(part.path, "a CSV file", err or ValueError("rows of differing length"))

    def _ragged_hint(self, cells: list[str]) -> str:
        digits = sum(cell.strip().lstrip("+-").isdigit() for cell in cells)
        if self.dialect.separator == "," and len(cells) > self._width and digits * 2 > len(cells):
            return (
                "Are commas decimal signs there? Then cells need another separator, or quotes and "
                "data.decimal=,. Else quote cells that hold a comma."
            )
        if len(cells) == 1:
            return (
                "Correct the line, or set data.separator: the file was read with "
                f"{_shown(self.dialect.separator)}."
            )
        return "Correct the line; a cell that holds the separator needs quotes."

    def _wrong_encoding(self, part: TablePart, err: UnicodeError) -> DataError:
        """Return the error that names the first byte that is not of the encoding."""
        encoding = self.dialect.encoding.removesuffix("-sig")
        place = "other bytes"
        if not encoding.startswith(("utf-16", "utf-32")):
            with _open_binary(part.path) as file:
                for line, body in enumerate(file, 1):
                    try:
                        body.decode(encoding)
                    except UnicodeError as bad:
                        byte = body[bad.start] if isinstance(bad, UnicodeDecodeError) else body[0]
                        place = f"the byte 0x{byte:02x} in line {line}, which is none"
                        break
        else:
            place = "no byte order mark" if "BOM" in str(err) else f"bytes that are none ({err})"
        advice = "cp1252 (Windows) or latin-1" if encoding == "utf-8" else "utf-8"
        return DataError(
            f"{part.path}: expected a text in {encoding}, found {place}. Set data.encoding to the "
            f"file's, for example {advice}, or save the file as UTF-8."
        )


def _differing(missing: list[str], surplus: list[str]) -> str:
    texts = [f"no column {shorten(missing, 3)}"] if missing else []
    texts += [f"a column {shorten(surplus, 3)} more"] if surplus else []
    return " and ".join(texts) or "another number of columns"


def yaml_text(name: str) -> str:
    """Return a column's name as it is written in a list of `-S data.ignore_columns=[...]`."""
    if re.fullmatch(r"[A-Za-z_][\w .()/-]*", name) and name.lower() not in (
        "true",
        "false",
        "yes",
        "no",
        "null",
    ):
        return name
    return repr(name)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _flag(text: str) -> float | None:
    return {"true": 1.0, "false": 0.0}.get(text.lower())


def _shown(separator: str) -> str:
    return _NAMES.get(separator, repr(separator))


def _is_blank(record: list[str]) -> bool:
    return not record or (len(record) == 1 and not record[0].strip())


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


@contextmanager
def _open_binary(path: Path) -> Iterator[IO[bytes]]:
    content = content_of(path)
    if content in _OPENERS:
        with _OPENERS[content](path, "rb") as file:
            yield file
    elif content == "text":
        with path.open("rb") as plain:
            yield plain
    elif content == "empty":
        raise DataError(
            f"{path}: expected a header and rows, found an empty file. Correct data.path or the "
            "file."
        )
    else:
        raise wrong_content(path, "a CSV file", content)


@contextmanager
def _open_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    with _open_binary(path) as file, io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        yield text


def _dialect(config: DataConfig, path: Path) -> Dialect:
    try:
        with _open_binary(path) as file:
            head = file.read(4 * _SAMPLE_CHARACTERS)
    except _DAMAGED as err:
        raise unreadable(path, "a CSV file", err) from err
    encoding, said = _encoding(config, path, head)
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        sample = decoder.decode(head)[:_SAMPLE_CHARACTERS]
    except UnicodeError:
        sample = head.decode("latin-1")[
            :_SAMPLE_CHARACTERS
        ]  # reading it says where the encoding is wrong
    separator = config.separator or _separator(config, sample, len(sample) == _SAMPLE_CHARACTERS)
    origin = "" if config.separator else " (detected)"
    line = next((line for line in sample.splitlines() if line.strip()), "")
    spaced = bool(
        re.fullmatch(
            rf"[^{re.escape(separator)}]+({re.escape(separator)} [^{re.escape(separator)}]*)+", line
        )
    )
    said = (
        f"separator {_shown(separator)}{origin}, encoding {said}, decimal sign "
        f"{'comma' if config.decimal == ',' else 'point'}"
    )
    return Dialect(separator, encoding, config.decimal, spaced and separator != " ", said)


def _encoding(config: DataConfig, path: Path, head: bytes) -> tuple[str, str]:
    """Return the encoding of a text as Python names it, and in words."""
    mark = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    chosen = codecs.lookup(config.encoding).name if config.encoding else None
    if chosen is None:
        if mark is not None:
            return mark, f"{mark.removesuffix('-sig')} (byte order mark)"
        guess = utf16_without_mark(head[:4096])
        if guess is not None:
            raise DataError(
                f"{path}: expected UTF-8, found what looks like UTF-16 without a byte order mark. "
                f"Set data.encoding={guess}."
            )
        return "utf-8-sig", "utf-8"  # of a folder, another file may have the mark
    if mark is not None:
        family = mark.removesuffix("-sig")
        if not chosen.startswith(family):
            raise DataError(
                f"{path}: expected {config.encoding}, as data.encoding says, found the byte order "
                f"mark of {family}. Set data.encoding={family} or null."
            )
        return mark, f"{family} (byte order mark)"
    guess = utf16_without_mark(head[:4096])
    if guess is not None and not chosen.startswith(("utf-16", "utf-32")):
        raise DataError(
            f"{path}: expected {config.encoding}, as data.encoding says, found what looks like "
            f"UTF-16. Set data.encoding={guess}."
        )
    return "utf-8-sig" if chosen == "utf-8" else chosen, f"{config.encoding}"


def _separator(config: DataConfig, sample: str, cut: bool) -> str:
    """Return the separator that gives the first rows one number of cells; where several do, the one
    that gives more cells.
    """
    wanted = {name.lower() for name in (config.label_column, config.client_column) if name}
    scores = []
    for separator in (*_SEPARATORS, " "):
        try:
            with _long_cells():
                rows = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
                records = [
                    record for record in islice(rows, _SAMPLE_RECORDS + 1) if not _is_blank(record)
                ]
        except csv.Error:
            continue
        if cut and 1 < len(records) <= _SAMPLE_RECORDS:
            records = records[:-1]
        if not records:
            continue
        width = len(records[0])
        alike = sum(len(record) == width for record in records) / len(records)
        named = {cell.strip().lower() for cell in records[0]} >= wanted
        if separator == " " and (
            alike < 1 or len(records) < 2 or any("" in record for record in records)
        ):
            continue  # a text, or columns set with spaces
        scores.append((width > 1 and alike == 1, named, width > 1, alike, width, separator))
    if any(score[4] > 1 for score in scores if score[5] != " "):
        scores = [score for score in scores if score[5] != " " or (score[0] and score[1])]
    best = max(scores, key=lambda score: score[:5], default=None)
    if best is not None and best[4] > 1:
        return best[5]
    return ","
