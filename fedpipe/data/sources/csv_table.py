"""A CSV file, or a folder of them with the same columns, as one table."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Array, Bools
from fedpipe.data.sources.cell_kinds import (
    NUMBER_KINDS,
    CellKind,
    is_misread_number,
    kind_of_cell,
    kind_of_column,
    number_of_cell,
)
from fedpipe.data.sources.csv_dialect import SEPARATORS, detect_dialect, long_cells, separator_name
from fedpipe.data.sources.csv_file import CHUNK_SHARE, CsvFile
from fedpipe.data.sources.csv_rows import CsvRows
from fedpipe.data.sources.table import Table, differing_columns, ignore_setting, number_rows
from fedpipe.data.sources.table_files import table_parts
from fedpipe.errors import DataError, shorten

_KNOWN_CELLS = 10_000
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
"""First characters of files that are no tables, and what the file is then."""


@dataclass(frozen=True)
class CsvChunk:
    """Some rows of one file.

    Attributes:
        path: the file.
        first_row: number of the first of them in the file; the first row below the header is 1.
        values: by place of the column, the values of the columns that were asked for as values.
        x: float64 [n, features], or texts if the only feature is a column of texts.
        words: by place of the column, the texts of columns of texts beside numbers, None for an
            empty cell; `x` is NaN there.
    """

    path: Path
    first_row: int
    values: dict[int, list[Any]]
    x: Array | list[str]
    words: dict[int, list[str | None]] = field(default_factory=dict)


@dataclass
class _ColumnContent:
    """What the cells of a column are.

    Attributes:
        kinds: kinds that occur.
        only_numbers: whether all cells are numbers, also such as 007, which is a text as a label.
        words: distinct cells that are words, less those that are numbers, well written or not.
        known: cells that were looked at, as many as are remembered.
    """

    kinds: set[CellKind] = field(default_factory=set)
    only_numbers: bool = True
    words: int = 0
    known: set[str] = field(default_factory=set)

    def add(self, cells: Iterable[str], decimal: str) -> None:
        """Take the distinct cells of some rows."""
        for cell in set(cells) - self.known:
            kind = kind_of_cell(cell, decimal)
            self.kinds.add(kind)
            is_number = number_of_cell(cell, decimal) is not None
            self.only_numbers &= is_number
            is_word = kind is CellKind.TEXT and not is_number
            self.words += 1 if is_word and not is_misread_number(cell, decimal) else -1
            if len(self.known) < _KNOWN_CELLS:
                self.known.add(cell)


class CsvTable(Table):
    """A CSV file, or a folder of them with the same columns: names without spaces around them,
    empty for a column without a name.
    """

    def __init__(self, config: DataConfig, path: Path) -> None:
        """Find out how the file is written, and read the header.

        Raises:
            DataError: it is no CSV file, or cannot be read by the settings.
        """
        self._config = config
        self._contents: defaultdict[int, _ColumnContent] = defaultdict(_ColumnContent)
        self.path = path
        parts, self.left_out = table_parts(path, "csv")
        self._dialect = detect_dialect(config, parts[0].path)
        self._files = [CsvFile(config, part, self._dialect) for part in parts]
        first = self._files[0]
        self._width = len(first.names)
        self.names = [*first.names, *first.partition]
        self.notes = self._header_notes(first)
        count = f"CSV file {path.name}"
        if path.is_dir():
            count = f"{len(parts):,} CSV files in {path.name}"
        named = f"header in line {first.header[1]}"
        if config.column_names:
            named = "names from data.column_names"
        self.format = f"{count}: {self._dialect.description}, {named}"

    def _header_notes(self, file: CsvFile) -> list[str]:
        header, line = file.header
        notes = []
        if file.names != [name.strip() for name in file.names] or any(
            name != name.strip() for name in header
        ):
            notes.append("spaces around the names of columns were removed")
        numbers = [name for name in file.names if number_of_cell(name) is not None]
        if numbers and self._config.column_names is None:
            notes.append(
                f"columns are called {shorten(numbers, 3)}: if line {line} is no "
                "header, set data.column_names"
            )
        if self._dialect.skips_spaces:
            notes.append("the space after each separator was removed")
        return notes

    def sample(self, rows: int) -> dict[int, list[str]]:
        """Return the cells of the first file's first rows by the column's place."""
        first = self._files[0]
        if self._width > 1000:
            rows = 10
        columns: dict[int, list[str]] = {place: [] for place in range(self._width)}
        with long_cells():
            for _, _, cells in islice(first.records(), rows):
                for place, cell in enumerate(cells[: self._width]):
                    columns[place].append(cell)
        named = enumerate(first.partition.values(), self._width)
        return columns | {place: [value or ""] for place, value in named}

    def header_hint(self) -> str | None:
        """Return what to do if the header looks as if the file was read in a wrong way, else
        None.
        """
        if self._config.column_names is not None:
            return None
        header = self.names[: self._width]
        line = self._files[0].header[1]
        for beginning, words in _NO_TABLE:
            if header[0].lower().startswith(beginning):
                return f"Line {line} looks like {words}"
        one_column = (
            f"The file was read with the separator {separator_name(self._dialect.separator)} and "
            "has one column: set data.separator"
        )
        if len(header) == 1:
            for sign in (*SEPARATORS, " "):
                names = [name.strip() for name in header[0].split(sign)]
                if set(self._config.label_columns) & set(names) and sign != self._dialect.separator:
                    return f"{one_column}={'tab' if sign == chr(9) else repr(sign)}"
        row = next(self._files[0].records(), None)
        if row is not None and len(row[2]) > self._width:
            return (
                f"The header in line {line} has {self._width} "
                f"cell{'s' if self._width != 1 else ''} and line {row[1]} has {len(row[2])}: "
                "remove the lines above the header, or quote cells that hold the separator"
            )
        if len(header) == 1:
            return one_column
        kinds = [kind_of_cell(name, self._config.decimal) for name in header if name]
        if sum(kind in NUMBER_KINDS for kind in kinds) * 2 > len(kinds):
            examples = (self._config.client_column, *self._config.label_columns, "a", "b")
            return (
                f"Line {line} looks like a row and no header: set data.column_names "
                f"to a list of {self._width} names, such as [{', '.join(filter(None, examples))}]"
            )
        return None

    def row_name(self, path: Path, row: int) -> str:
        """Return the name of a row as the user counts it, with its line in the file."""
        file = next(file for file in self._files if file.path == path)
        return file.row_name(row)

    def numbers_rows(self, place: int, gaps: bool) -> bool:
        """Return whether a column numbers the rows of all files, in any order; with `gaps`, numbers
        may be missing.
        """

        def parts() -> Iterator[Array]:
            for file in self._files:
                column = self._columns(file)[place]
                for _, frame in file.frames((), [column]):
                    yield frame[column].to_numpy()

        return number_rows(parts(), self._config.memory_limit_mb * 1_000_000 // CHUNK_SHARE, gaps)

    # Cells of whole columns

    def kinds(self, places: Sequence[int]) -> dict[int, CellKind]:
        """Return what columns hold, judged by all of their cells."""
        decimal = self._config.decimal
        self._contents.clear()
        contents = {place: self._contents[place] for place in places}
        for file in self._files:
            columns = self._columns(file)
            inside = {place: columns[place] for place in places if place in columns}
            for place in set(places) - set(inside):
                contents[place].kinds.add(
                    kind_of_cell(file.partition[self.names[place]] or "", decimal)
                )
            read = list(inside.values())
            for _, frame in file.frames(read, read) if inside else ():
                for place, column in inside.items():
                    contents[place].add(frame[column].unique(), decimal)
        return {place: kind_of_column(content.kinds) for place, content in contents.items()}

    def _refuse_numbers_with_words(self, place: int) -> None:
        """Raise DataError if the only feature is a column of texts most of whose cells are numbers,
        and no setting says so.
        """
        has_words = self._contents[place].words > 0
        if has_words or self._config.feature_dtype == "int32" or place >= self._width:
            return
        for file in self._files:
            columns = self._columns(file)
            for row, frame in file.frames([columns[place]], [columns[place]]):
                self._rows(file, columns, row, frame).refuse_words(place)

    # Rows

    def chunks(
        self,
        given: Sequence[int],
        features: Sequence[int],
        kinds: Mapping[int, CellKind],
        names: Sequence[int] = (),
        words: Sequence[int] = (),
        gaps: Sequence[int] = (),
    ) -> Iterator[CsvChunk]:
        """Yield all rows.

        Args:
            given: places of the columns that are asked for as values.
            features: places of the columns of features.
            kinds: what `kinds` returns of `given`, and of the feature if there is only one.
            names: those of `given` that are names: whole floats become whole numbers, all else
                stays as it is written.
            words: those of `features` that are texts beside numbers.
            gaps: those of `features` whose cells may be empty: NaN, or None among `words`.

        Raises:
            DataError: another cell is missing, or a feature is no number; a row has too many or too
                few cells; the file is damaged.
        """
        as_text = {place for place in names if kinds[place] is not CellKind.WHOLE_FLOAT}
        feature = None
        if not words and not gaps:
            feature = self._text_feature(features, kinds)
        numbers = set(features) - {feature, *words}
        texts = [place for place in range(self._width) if place not in numbers]
        if feature is not None:
            self._refuse_numbers_with_words(feature)
        flags: Bools | None = None
        inside = [place for place in features if place < self._width and place not in words]
        for file in self._files:
            columns = self._columns(file)
            constants = {}
            if feature is None:
                constants = {
                    place: self._constant_feature(file, place)
                    for place in features
                    if place >= self._width and place not in words
                }
                constants |= dict.fromkeys(words, np.nan)
            for row, frame in file.frames([columns[place] for place in texts]):
                rows = self._rows(file, columns, row, frame)
                if feature is not None:
                    rows.refuse_header([*given, feature])
                    values = rows.values([*given, feature], kinds, as_text)
                    yield CsvChunk(file.path, row, values, values.pop(feature))
                    continue
                values = rows.values(given, kinds, as_text)
                if flags is None:
                    flags = rows.flags(inside)
                x = rows.numbers(inside, flags, gaps)
                for place in sorted(constants, key=features.index):
                    x = np.insert(x, features.index(place), constants[place], axis=1)
                texts_of = {place: rows.words(place, gaps) for place in words}
                yield CsvChunk(file.path, row, values, x, texts_of)

    def _text_feature(self, features: Sequence[int], kinds: Mapping[int, CellKind]) -> int | None:
        """Return the place of the only feature if it is a column of texts, else None."""
        if len(features) != 1 or kinds[features[0]] is not CellKind.TEXT:
            return None
        is_inside = features[0] < self._width and self._config.feature_dtype != "int32"
        if is_inside and self._contents[features[0]].only_numbers:
            return None
        return features[0]

    def _rows(self, file: CsvFile, columns: dict[int, int], row: int, frame: Any) -> CsvRows:
        return CsvRows(self._config, self.names, file, columns, row, frame)

    def _columns(self, file: CsvFile) -> dict[int, int]:
        """Return for each column of the table its place in one of the files."""
        expected = self.names[: self._width]
        differences = differing_columns(file.names, expected)
        if differences or len(file.names) != len(expected):
            raise DataError(
                f"{file.path}: expected the columns of {self._files[0].path.name}, found "
                f"{differences or 'another number of columns'}. Correct the file, or move it "
                "elsewhere."
            )
        places = defaultdict(list)
        for place, name in enumerate(file.names):
            places[name].append(place)
        return {place: places[name].pop(0) for place, name in enumerate(expected)}

    def _constant_feature(self, file: CsvFile, place: int) -> float:
        """Return the number that a file's folders name."""
        name = self.names[place]
        cell = file.partition[name]
        number = number_of_cell(cell or "")
        if number is None:
            raise DataError(
                f"{file.path}: expected a number in the folder {name}=..., found "
                f"{cell or 'no value'!r}. Encode it, or leave it out: {ignore_setting([name])}."
            )
        return number
