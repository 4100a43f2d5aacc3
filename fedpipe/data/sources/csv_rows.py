"""Some rows of a CSV file as values: labels and clients as Python values, features as numbers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Array, Bools, Floats
from fedpipe.data.sources.cell_kinds import (
    CellKind,
    hint_of_cell,
    is_misread_number,
    kind_of_cell,
    number_of_cell,
    values_of_cells,
)
from fedpipe.data.sources.csv_file import CsvFile
from fedpipe.data.sources.table import ignore_setting, yaml_text
from fedpipe.errors import DataError, shorten

_FLAGS = {"true": 1.0, "false": 0.0}
_SECOND_HEADER = "Were files joined with their headers? Remove the line."


@dataclass(frozen=True)
class CsvRows:
    """Some rows of one file.

    Attributes:
        config: the settings under `data`.
        names: of the table's columns.
        file: the file.
        columns: by place of the column in the table, its place in the file; columns that folders
            name have none.
        first_row: number of the first row in the file.
        frame: the cells; a DataFrame with the places in the file as names.
    """

    config: DataConfig
    names: Sequence[str]
    file: CsvFile
    columns: Mapping[int, int]
    first_row: int
    frame: Any

    def values(
        self, places: Sequence[int], kinds: Mapping[int, CellKind], as_text: Collection[int]
    ) -> dict[int, list[Any]]:
        """Return the values of columns by their place.

        Args:
            places: the columns.
            kinds: what they hold.
            as_text: those that stay as they are written.

        Raises:
            DataError: a cell is missing.
        """
        values = {}
        for place in places:
            cells = self._cells(place)
            values[place], gap = values_of_cells(
                cells, kinds[place], self.config.decimal, place in as_text
            )
            if gap is not None:
                raise self._cell_error(gap, place, str(cells[gap]), "a value")
        return values

    def _cells(self, place: int) -> Array:
        if place in self.columns:
            return np.asarray(self.frame[self.columns[place]].to_numpy())
        return np.full(len(self.frame), self.file.partition[self.names[place]] or "", object)

    def flags(self, places: Sequence[int]) -> Bools:
        """Return bool [columns], which of the columns at `places` are of true and false."""
        dtypes = [self.frame[self.columns[place]].dtype for place in places]
        return np.array([dtype.kind == "b" for dtype in dtypes], np.bool_)

    def words(self, place: int, gaps: Collection[int]) -> list[str | None]:
        """Return the texts of a column of features, None for an empty cell.

        Args:
            place: the column.
            gaps: columns whose cells may be empty.

        Raises:
            DataError: a cell of another column is empty.
        """
        texts = [str(cell).strip() or None for cell in self._cells(place).tolist()]
        if None in texts and place not in gaps:
            raise self._cell_error(texts.index(None), place, "", "a text")
        return texts

    def numbers(self, places: Sequence[int], flags: Bools, gaps: Collection[int] = ()) -> Array:
        """Return features as float64 [n, columns]; a column of true and false, and nothing else, is
        1 and 0.

        Args:
            places: the columns; folders name none of them.
            flags: bool [columns], which are of true and false.
            gaps: columns whose cells may be empty: NaN then.

        Raises:
            DataError: a cell is no number.
        """
        selected = self.frame[[self.columns[place] for place in places]]
        dtypes = np.array([dtype.kind for dtype in selected.dtypes])
        is_doubtful = (dtypes == "O") | ((dtypes == "b") != flags)
        if not is_doubtful.any():
            return np.asarray(selected.to_numpy(np.float64))
        parsed = {
            number: self._parsed(places, number, flags, gaps)
            for number in np.flatnonzero(is_doubtful).tolist()
        }
        numbers = [
            parsed.get(number, column) for number, (_, column) in enumerate(selected.items())
        ]
        return np.stack([np.asarray(column, np.float64) for column in numbers], axis=1)

    def _parsed(
        self, places: Sequence[int], number: int, flags: Bools, gaps: Collection[int]
    ) -> Floats:
        """Return the features of the column that is the `number`th of `places`."""
        texts = [str(cell) for cell in self._cells(places[number]).tolist()]
        if places[number] in gaps:
            values = [_number_or_gap(text, self.config.decimal) for text in texts]
        elif flags[number]:
            values = [_FLAGS.get(text.lower()) for text in texts]
        else:
            values = [number_of_cell(text, self.config.decimal) for text in texts]
        if None in values:
            self._refuse_columns_of_texts(places, flags)
            row = values.index(None)
            expected = "true or false" if flags[number] else "a number"
            raise self._cell_error(row, places[number], texts[row], expected)
        return np.array(values, np.float64)

    def _refuse_columns_of_texts(self, places: Sequence[int], flags: Bools) -> None:
        """Raise DataError that names all columns of texts, if there are any: columns most of whose
        cells look like no number.
        """
        examples = {}
        for place, is_flag in zip(places, flags, strict=True):
            cells = self._cells(place)
            if cells.dtype.kind != "O" or is_flag:
                continue
            words = [str(cell) for cell in cells.tolist() if self._is_word(str(cell))]
            if len(words) * 2 > len(cells):
                examples[self.names[place]] = words[0]
        if not examples:
            return
        shown = shorten([f"{name} ({text[:30]!r})" for name, text in examples.items()], 5)
        raise DataError(
            f"{self.file.path}: expected features that are numbers, found {len(examples)} "
            f"column{'s' if len(examples) > 1 else ''} of texts: {shown}, from row "
            f"{self.first_row} on. Leave them out with {ignore_setting(examples)}, or encode them "
            "as numbers: data.preprocess=[{name: one_hot}]."
        )

    def _is_word(self, text: str) -> bool:
        decimal = self.config.decimal
        return (
            kind_of_cell(text, decimal) is not CellKind.MISSING
            and number_of_cell(text, decimal) is None
            and not is_misread_number(text, decimal)
        )

    def refuse_words(self, place: int) -> None:
        """Raise DataError if a cell of a column of texts is no number."""
        for row, cell in enumerate(self._cells(place).tolist()):
            if number_of_cell(cell, self.config.decimal) is None:
                err = self._cell_error(row, place, cell, "a number")
                raise DataError(f"{err} If the column is of texts, set data.feature_dtype=int32.")

    def refuse_header(self, places: Sequence[int]) -> None:
        """Raise DataError if a row is the header again; among texts nothing else would show it."""
        inside = [place for place in places if place in self.columns]
        if len(inside) < 2:
            return
        is_header = np.logical_and.reduce(
            [self._cells(place) == self.names[place] for place in inside]
        )
        if is_header.any():
            row = self.file.row_name(self.first_row + int(is_header.argmax()))
            raise DataError(
                f"{self.file.path}: {row}: expected a row, found the header. {_SECOND_HEADER}"
            )

    def _cell_error(self, number: int, place: int, cell: str, expected: str) -> DataError:
        row = self.first_row + number
        record = self.file.record(row)
        if record is not None and len(record[1]) < len(self.file.names):
            return self.file.ragged_error()
        line = f" (line {record[0]})" if record is not None else ""
        name = self.names[place]
        shown = f"{cell[:60]!r}" if cell.strip() else "an empty cell"
        if cell.strip() and kind_of_cell(cell, self.config.decimal) is CellKind.MISSING:
            shown += ", which stands for no value"
        hint = hint_of_cell(cell, self.config.decimal, yaml_text(name))
        if cell.strip() == name:
            hint = _SECOND_HEADER
        elif name in (*self.config.label_columns, self.config.client_column):
            hint = "Fill in the value or remove the row."
        return DataError(
            f"{self.file.path}: row {row}{line}, column {name or place + 1}: expected {expected}, "
            f"found {shown}. {hint}"
        )


def _number_or_gap(text: str, decimal: str) -> float | None:
    """Return the number in a cell, NaN if it is empty or stands for no value, else None."""
    if kind_of_cell(text, decimal) is CellKind.MISSING:
        return float("nan")
    flag = _FLAGS.get(text.strip().lower())
    if flag is not None:
        return flag
    return number_of_cell(text, decimal)
