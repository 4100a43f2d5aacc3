"""One CSV file, read by pandas in chunks of bounded memory: docs/decisions/0009-reader-of-tables.md
says why pandas.

pandas splits the text into cells and turns cells into numbers. Here is what surrounds it: the
header, the size of chunks, and the place of an error as the user counts it: row 1 is the first
below the header, and line 1 the first of the file.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from fedpipe.config import DataConfig
from fedpipe.data.sources.csv_dialect import (
    DAMAGED,
    Dialect,
    is_blank,
    long_cells,
    no_header,
    open_text,
    separator_name,
    wrong_encoding,
)
from fedpipe.data.sources.places import BATCH_ROWS, unreadable
from fedpipe.data.sources.table_files import TablePart
from fedpipe.errors import DataError

CHUNK_SHARE = 8
"""A chunk of rows may take the limit divided by this as text; it is held as cells, as columns and
as one array.
"""


class _TooLongError(Exception):
    """A chunk of rows passed its share of the memory limit."""


class _Text(io.TextIOBase):
    """The decoded text of a file as pandas reads it: refuses zero bytes, and chunks that take too
    much.
    """

    def __init__(self, text: IO[str], path: Path, max_characters: int, lines: int) -> None:
        self._text = text
        self._path = path
        self._max_characters = max_characters
        self.lines = lines
        self.characters = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        body = self._text.read(-1 if size is None else size)
        self.characters += len(body)
        if "\0" in body:
            line = self.lines + body[: body.index("\0")].count("\n") + 1
            raise DataError(
                f"{self._path}: expected a text, found a zero byte (NUL) in line {line}. The file "
                "is damaged, or in another encoding: set data.encoding."
            )
        self.lines += body.count("\n")
        if self.characters > self._max_characters:
            raise _TooLongError
        return body


class CsvFile:
    """One CSV file of a table.

    Attributes:
        path: the file.
        partition: values of the columns that its folders name.
    """

    def __init__(self, config: DataConfig, part: TablePart, dialect: Dialect) -> None:
        self._config = config
        self._dialect = dialect
        self._max_bytes = config.memory_limit_mb * 1_000_000 // CHUNK_SHARE
        self._delivered_rows = 0
        self.path = part.path
        self.partition = part.partition

    # Header

    @cached_property
    def header(self) -> tuple[list[str], int]:
        """Names of the columns as they stand in the file, and the line that they are in; 0 if
        `data.column_names` has them.
        """
        with self._opened() as text:
            return self._read_header(text)

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns without spaces around them, and without single quotes."""
        names = [name.strip() for name in self.header[0]]
        if len(names) > 1 and all(re.fullmatch(r"'[^']+'", name) for name in names):
            return [name[1:-1] for name in names]
        return names

    def _read_header(self, text: IO[str]) -> tuple[list[str], int]:
        """Read up to the first row; return the names and the lines that were read."""
        if self._config.column_names is not None:
            return list(self._config.column_names), 0
        records = self._dialect.records(text)
        try:
            with long_cells():
                for record in records:
                    if not is_blank(record):
                        return record, records.line_num
        except csv.Error as err:
            raise unreadable(self.path, "a CSV file", err) from err
        raise no_header(self.path)

    @contextmanager
    def _opened(self) -> Iterator[IO[str]]:
        try:
            with open_text(self.path, self._dialect.encoding) as text:
                yield text
        except UnicodeError as err:
            raise wrong_encoding(self.path, self._dialect.encoding, err) from err
        except DAMAGED as err:
            raise unreadable(self.path, "a CSV file", err) from err

    # Rows, by pandas

    def frames(
        self, texts: Sequence[int], only: Sequence[int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield (number of the first row, DataFrame) with the columns' places as names.

        Args:
            texts: places of the columns that are read as texts.
            only: places of the columns that are read; all if None.
        """
        max_rows = BATCH_ROWS
        self._delivered_rows = 0
        while True:
            try:
                yield from self._frames(texts, only, max_rows)
                return
            except _TooLongError:
                if max_rows == 1:
                    raise DataError(
                        f"{self.path}: expected rows of at most {self._max_bytes // 1_000_000} MB "
                        f"under data.memory_limit_mb={self._config.memory_limit_mb}, found a "
                        f'longer one after row {self._delivered_rows}. Is a quote (") opened there '
                        "and never closed? Else raise data.memory_limit_mb."
                    ) from None
                max_rows = max(1, max_rows // 8)

    def _frames(
        self, texts: Sequence[int], only: Sequence[int] | None, max_rows: int
    ) -> Iterator[tuple[int, Any]]:
        """Yield the frames behind those that were delivered, of at most `max_rows` rows."""
        import pandas as pd

        skipped = self._delivered_rows
        width = len(self.names)
        row = 0
        with self._opened() as text:
            _, header_lines = self._read_header(text)
            source = _Text(text, self.path, self._max_bytes, header_lines)
            try:
                frames = self._parser(source, texts, only)
                rows = min(max_rows, 64)
                while True:
                    source.characters = 0
                    with _parser_warnings_raised():
                        frame = frames.get_chunk(rows)
                    if not len(frame):
                        return
                    if only is None and (frame[width] != "").any():
                        raise self.ragged_error()
                    first = max(skipped - row, 0)
                    if first < len(frame):
                        self._delivered_rows = row + len(frame)
                        yield row + first + 1, frame.iloc[first:]
                    row += len(frame)
                    row_bytes = max(1, source.characters // len(frame), width * 8)
                    rows = max(1, min(max_rows, self._max_bytes // 2 // row_bytes))
            except StopIteration:
                if only is None and source.lines - header_lines > row:
                    self._refuse_torn_rows()
            except pd.errors.EmptyDataError:
                return
            except IndexError:  # of pandas, for some columns of a file without rows
                if row:
                    raise
            except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as err:
                raise self.ragged_error(err) from err

    def _parser(self, source: _Text, texts: Sequence[int], only: Sequence[int] | None) -> Any:
        """Return pandas' parser. If all columns are read, one more takes surplus cells of a row."""
        import pandas as pd

        width = len(self.names)
        columns = range(width + (only is None))
        with _parser_warnings_raised():
            return pd.read_csv(
                source,
                sep=self._dialect.separator,
                decimal=self._dialect.decimal,
                skipinitialspace=self._dialect.skips_spaces,
                header=None,
                names=list(columns),
                usecols=None if only is None else sorted(set(only)),
                index_col=False,
                dtype={place: str for place in (*texts, width) if place in columns},
                na_filter=False,
                low_memory=False,
                engine="c",
                iterator=True,
            )

    # Rows with their lines, by Python's csv

    def records(self) -> Iterator[tuple[int, int, list[str]]]:
        """Yield (row, line, cells) of each row."""
        with self._opened() as text, long_cells():
            _, header_lines = self._read_header(text)
            records = self._dialect.records(text)
            row = 0
            line = header_lines + 1
            for record in records:
                if not is_blank(record):
                    row += 1
                    yield row, line, record
                line = header_lines + records.line_num + 1

    def record(self, row: int) -> tuple[int, list[str]] | None:
        """Return the line and the cells of a row; None if the file has fewer rows."""
        return next(
            ((line, cells) for number, line, cells in self.records() if number == row), None
        )

    def row_name(self, row: int) -> str:
        """Return the name of a row as the user counts it, with its line in the file."""
        record = self.record(row)
        if record is None:
            return f"row {row}"
        return f"row {row} (line {record[0]})"

    # Errors

    def _refuse_torn_rows(self) -> None:
        """Raise DataError if a cell begins with a quote that another cell's quote, lines below,
        seems to close: rows would be lost.
        """
        with self._opened() as text, long_cells():
            _, header_lines = self._read_header(text)
            records = self._dialect.records(text, strict=True)
            row = last_line = 0
            while True:
                try:
                    row += not is_blank(next(records))
                except StopIteration:
                    return
                except csv.Error:
                    row += 1
                    if records.line_num > last_line + 1:
                        raise DataError(
                            f"{self.path}: row {row} (line {header_lines + last_line + 1}): "
                            'expected the separator or the end of the line behind the quote (") '
                            "that closes a cell, found other text behind the one in line "
                            f"{header_lines + records.line_num}. Is a quote opened and never "
                            "closed? Where quotes are plain characters, put the cell into quotes "
                            'and double those in it ("").'
                        ) from None
                last_line = records.line_num

    def ragged_error(self, err: Exception | None = None) -> DataError:
        """Return the error of the first row that has not as many cells as there are columns."""
        if err is not None and "inside string" in str(err):
            rows = re.search(r"row (\d+)", str(err))
            place = f" in {self.row_name(int(rows[1]) + 1)}" if rows else ""
            return DataError(
                f'{self.path}: expected closed quotes, found a quote (") that is opened{place} '
                "and never closed. Correct it."
            )
        width = len(self.names)
        named = "data.column_names" if self._config.column_names else "the header"
        try:
            for row, line, cells in self.records():
                if len(cells) != width:
                    return DataError(
                        f"{self.path}: row {row} (line {line}): expected {width} cells, as "
                        f"many as {named} has, found {len(cells)}. {self._ragged_hint(cells)}"
                    )
        except csv.Error as broken:
            err = broken
        return unreadable(self.path, "a CSV file", err or ValueError("rows of differing length"))

    def _ragged_hint(self, cells: list[str]) -> str:
        digits = sum(cell.strip().lstrip("+-").isdigit() for cell in cells)
        separator = self._dialect.separator
        if separator == "," and len(cells) > len(self.names) and digits * 2 > len(cells):
            return (
                "Are commas decimal signs there? Then cells need another separator, or quotes and "
                "data.decimal=,. Else quote cells that hold a comma."
            )
        if len(cells) == 1:
            return (
                "Correct the line, or set data.separator: the file was read with "
                f"{separator_name(separator)}."
            )
        return "Correct the line; a cell that holds the separator needs quotes."


@contextmanager
def _parser_warnings_raised() -> Iterator[None]:
    """Raise pandas' warnings within the block: it warns where it drops cells."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        yield
