"""Columns of a table as the steps of `data.preprocess` take them: texts beside numbers, and empty
cells.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.preprocess import (
    ChooseSettings,
    DatesSettings,
    DropSettings,
    MissingSettings,
    OneHotSettings,
    OrdinalSettings,
)
from fedpipe.data.array_types import Array, Bools
from fedpipe.data.preprocess.examples import matching_columns
from fedpipe.data.preprocess.steps import FittedSteps
from fedpipe.data.sources.arrow_types import is_number
from fedpipe.data.sources.feature_checks import check_columns
from fedpipe.data.sources.places import BatchPlace
from fedpipe.data.sources.table import ignore_setting
from fedpipe.errors import DataError, shorten

_MOST_TEXTS = 1 << 24
"""Numbers that float32 tells apart."""


@dataclass(frozen=True)
class RawColumns:
    """What is unusual in the columns of features, by their names.

    Attributes:
        texts: columns that are read as texts.
        gaps: columns whose cells may be empty: they become NaN.
        dropped: those of them whose rows are left out then.
        skipped: columns of texts that a step leaves out: their texts are not kept.
    """

    texts: frozenset[str] = frozenset()
    gaps: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.texts or self.gaps)

    @classmethod
    def of_settings(
        cls, config: DataConfig, names: Sequence[str], holding_texts: Callable[[], Sequence[str]]
    ) -> "RawColumns":
        """Return what the steps in `data.preprocess` ask for.

        Args:
            config: the settings.
            names: of the columns of features.
            holding_texts: returns the names of those that hold texts; asked only if a step needs
                to know.

        Raises:
            DataError: a step names a column that is not there, or the settings contradict a step.
        """
        texts: set[str] = set()
        gaps: set[str] = set()
        dropped: set[str] = set()
        skipped: set[str] = set()
        for step in config.preprocess:
            if isinstance(step, OneHotSettings | OrdinalSettings) and step.columns is None:
                texts.update(set(names) & set(holding_texts()))
            elif isinstance(step, OneHotSettings | OrdinalSettings | DatesSettings):
                texts.update(matching_columns(step.columns, names, step.name))
            elif isinstance(step, ChooseSettings | DropSettings):
                is_drop = isinstance(step, DropSettings)
                left_out = [name for name in names if _names(step, name) == is_drop]
                skipped.update(set(left_out) & set(holding_texts()) - texts)
                names = [name for name in names if name not in left_out]
            elif isinstance(step, MissingSettings):
                columns = matching_columns(step.columns, names, step.name)
                gaps.update(columns)
                if step.by == "drop":
                    dropped.update(columns)
        raw = cls(
            frozenset(texts | skipped),
            frozenset(gaps | skipped),
            frozenset(dropped),
            frozenset(skipped),
        )
        if raw and config.feature_dtype not in ("auto", "float32"):
            raise DataError(
                f"data.feature_dtype={config.feature_dtype}: expected float32, as "
                "data.preprocess takes texts or empty cells. Set it to auto."
            )
        if raw and config.feature_shape is not None:
            raise DataError(
                f"data.feature_shape={config.feature_shape}: expected null, as data.preprocess "
                "takes texts or empty cells by their columns. Set it to null."
            )
        return raw

    @classmethod
    def of_fitted(cls, steps: FittedSteps | None) -> "RawColumns":
        """Return what the steps of a model ask for; rows with an empty cell are not left out."""
        if steps is None:
            return cls()
        return cls(frozenset(steps.texts), steps.gaps, skipped=frozenset(steps.skipped))


@dataclass
class TextCodes:
    """Numbers for the texts of columns, in the order in which they come.

    Attributes:
        texts: of each column its distinct texts; a text's number is its place.
    """

    texts: dict[str, list[str]] = field(default_factory=dict)
    _places: dict[str, dict[str, int]] = field(default_factory=dict)

    def encode(self, column: str, cells: Sequence[str | None]) -> Array:
        """Return float32 [n]: the number of each text, NaN for None."""
        places = self._places.setdefault(column, {})
        texts = self.texts.setdefault(column, [])
        numbers = np.empty(len(cells), np.float32)
        for row, cell in enumerate(cells):
            if cell is None:
                numbers[row] = np.nan
                continue
            number = places.setdefault(cell, len(texts))
            if number == len(texts):
                texts.append(cell)
            numbers[row] = number
        if len(texts) > _MOST_TEXTS:
            raise DataError(
                f"data.preprocess: expected at most {_MOST_TEXTS:,} different texts in the column "
                f"{column}, found more. Leave the column out: {ignore_setting([column])}."
            )
        return numbers


def checked_rows(
    config: DataConfig,
    raw: RawColumns,
    names: Sequence[str],
    x: Array,
    words: Mapping[str, Sequence[str | None]],
    codes: TextCodes,
    place: BatchPlace,
) -> Array:
    """Return float32 [n, columns]: finite numbers, NaN for empty cells, texts as their numbers.

    Args:
        config: the settings.
        raw: what is unusual in the columns.
        names: of the columns.
        x: float64 [n, columns]; NaN for an empty cell, and in columns of texts.
        words: the cells of the columns of texts, None for an empty one.
        codes: numbers of the texts.
        place: where they come from, for errors.
    """
    empty = np.isnan(x)
    numbers = check_columns(config, names, np.where(empty, 0, x), place).astype(np.float32)
    numbers[empty] = np.nan
    for number, name in enumerate(names):
        if name in words:
            cells = [""] * len(x) if name in raw.skipped else words[name]
            numbers[:, number] = codes.encode(name, cells)
    return numbers


def arrow_columns(
    raw: RawColumns, columns: Sequence[tuple[str, Any]], place: BatchPlace
) -> tuple[Array, dict[str, list[str | None]]]:
    """Return Arrow columns as `checked_rows` takes them.

    Raises:
        DataError: a value is missing where none may be, or a column is of another kind.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    x = np.full((place_rows(columns), len(columns)), np.nan)
    words = {}
    for number, (name, column) in enumerate(columns):
        values = column
        if pa.types.is_dictionary(column.type):
            values = column.dictionary_decode()
        if name not in raw.gaps and values.null_count:
            row = place.first_row + values.is_null().index(True).as_py()
            raise DataError(
                f"{place.source}: row {row}, column {name}: expected a value, found none (null). "
                "Fill it in, put {name: missing} into data.preprocess, or leave the column out: "
                f"{ignore_setting([name])}."
            )
        if name in raw.texts:
            words[name] = _texts_of(name, values, place)
        elif is_number(values.type):
            x[:, number] = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
        else:
            raise DataError(
                f"{place.source}: expected features that are numbers, found {name} "
                f"({values.type}). Encode it with {{name: one_hot, columns: [{name}]}} in "
                f"data.preprocess, or leave it out: {ignore_setting([name])}."
            )
    return x, words


def place_rows(columns: Sequence[tuple[str, Any]]) -> int:
    """Return the number of rows of Arrow columns."""
    return len(columns[0][1])


def _texts_of(name: str, values: Any, place: BatchPlace) -> list[str | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        texts: list[str | None] = pc.cast(values, pa.string()).to_pylist()
    except pa.ArrowException as err:
        raise DataError(
            f"{place.source}: expected texts in the column {name}, found {values.type}. Leave it "
            f"out: {ignore_setting([name])}."
        ) from err
    return texts


def _names(step: ChooseSettings | DropSettings, column: str) -> bool:
    return any(column == pattern or fnmatchcase(column, pattern) for pattern in step.columns)


def without_gaps(raw: RawColumns, names: Sequence[str], x: Array) -> Bools:
    """Return bool [n]: the rows that stay, those without an empty cell in a column of `dropped`."""
    columns = [number for number, name in enumerate(names) if name in raw.dropped]
    stays: Bools = ~np.isnan(x[:, columns]).any(axis=1)
    return stays


def dropped_note(count: int, raw: RawColumns) -> str:
    """Return how many rows were left out, and why."""
    return f"rows with an empty cell in {shorten(sorted(raw.dropped), 5)}: {count:,}"
