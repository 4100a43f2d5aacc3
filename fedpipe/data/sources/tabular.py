"""Sources `parquet` and `csv`: one row an example, one column the client, one the label, the others
the features.

pandas reads CSV, pyarrow Parquet. An optional column `split` holds train or test. Columns are known
by their names.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source, SourceSummary
from fedpipe.data.sources.cells import CellKind
from fedpipe.data.sources.checks import (
    check_features,
    check_ids,
    check_labels,
    check_sequences,
    check_tests,
    own_path,
)
from fedpipe.data.sources.csv_file import CsvTable, yaml_text
from fedpipe.data.sources.decode import decode_image, without_equal_channels
from fedpipe.data.sources.parquet_file import ParquetTable, is_image_type
from fedpipe.data.sources.row_numbers import RowNumberColumns
from fedpipe.data.sources.table_files import TablePart, content_of
from fedpipe.errors import DataError, shorten

SPLIT_COLUMN = "split"

_INDEX = re.compile(r"|Unnamed: \d+(_level_\d+|\.\d+)*|__index_level_\d+__")
"""Names that pandas gives to an index when it writes a table, and to a column without a name when
it reads one.
"""
_PERHAPS_INDEX = re.compile(
    r"index|level_\d+|id|idx|row|rows|row_?(id|num|number|names?|index)|rownames?|observation|obs|no|nr",
    re.I,
)
"""Names of columns that are left out if they number the rows."""
_NUMBERS_WITH_GAPS = re.compile(r"index|level_\d+|id|idx|row_?(id|num|number|index)", re.I)
"""Those of them that are left out as well where the numbers have gaps, as of a part of the rows."""
_IMAGE_FILE = re.compile(r".{1,1000}\.(png|jpe?g|gif|bmp|webp|tiff?)", re.I)
_IMAGE_SHARE = 8
"""A batch of decoded images may take the limit divided by this."""


@dataclass(frozen=True)
class Roles:
    """What each column of a table is, by its place.

    Attributes:
        label, client, split: places, or None.
        features: places, in the table's order.
        left_out: why other columns are not read, in words.
        notes: what was guessed, in words.
    """

    label: int | None
    client: int | None
    split: int | None
    features: tuple[int, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def given(self) -> list[int]:
        """Return the places of label, client and split, those that there are."""
        return [place for place in (self.label, self.client, self.split) if place is not None]


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of features.

    Attributes:
        file: where they are from.
        first_row: number of the first of them in the file; the file's first row is 1.
        x: as the source gives them: uint8, int32 or float32 [n, ...], or n sequences int32.
    """

    file: Path
    first_row: int
    x: npt.NDArray[Any] | list[npt.NDArray[np.int32]]


def open_parquet(config: DataConfig, project: Path) -> Source:
    """Return the rows of a Parquet file, or of a folder of them.

    Raises:
        DataError: the file is not there, is no Parquet file, lacks a column, or has row groups too
            large for `data.memory_limit_mb`.
    """
    return _source(config, own_path(config, project))


def open_csv(config: DataConfig, project: Path) -> Source:
    """Return the rows of a CSV file, or of a folder of them; a client's name stays as it is
    written, so `007` is not 7.

    Raises:
        DataError: the file is not there, is no CSV file, or lacks a column.
    """
    return _source(config, own_path(config, project))


def open_table(config: DataConfig, path: Path) -> CsvTable | ParquetTable:
    """Return a table, opened by the settings: its columns' names, and how it is read. Raises
    DataError if it cannot be.
    """
    if config.source == "parquet":
        return ParquetTable(config, path)
    return CsvTable(config, path)


def table_kind(path: Path) -> str | None:
    """Return the source that reads a file or a folder as a table, `csv` or `parquet`; None if
    neither does.
    """
    if path.is_dir():
        files = sorted(
            file
            for file in path.rglob("*")
            if file.is_file() and not file.name.startswith((".", "_"))
        )[:1000]
        kinds = Counter(filter(None, (table_kind(file) for file in files)))
        if kinds:
            return kinds.most_common(1)[0][0]
        return None
    content = content_of(path)
    if content == "parquet":
        return "parquet"
    if content in ("text", "gzip", "bzip2", "xz") and path.suffix.lower() not in (
        ".json",
        ".yaml",
        ".xml",
        ".html",
    ):
        return "csv"
    return None


@dataclass(frozen=True)
class TableFeatures:
    """The features of a table without its labels and clients: what a model predicts from.

    Attributes:
        names: of the columns of features, in the model's order.
        surplus: columns that the table has beside them, its columns of label, client and split left
            aside.
        rows: yields the rows; raises DataError where a cell is missing or no number.
    """

    names: tuple[str, ...]
    surplus: tuple[str, ...]
    rows: Callable[[], Iterator[FeatureRows]]


def open_features(config: DataConfig, path: Path, columns: Sequence[str] = ()) -> TableFeatures:
    """Open a table by the settings that a model's training data were read with, and find the
    model's features by their names.

    Args:
        config: the settings; `source` says whether this table is `csv` or `parquet`.
        path: a file, or a folder of files.
        columns: names of the features in the order that the model takes them; () takes the table's
            own, as in training. The table may have them in any order.

    Raises:
        DataError: it cannot be read, or a column is missing or there twice.
    """
    table = open_table(config, path)
    names = set(columns)
    if columns:
        counts = Counter(table.names)
        given = {config.label_column, config.client_column, SPLIT_COLUMN}
        surplus = tuple(
            dict.fromkeys(name for name in table.names if name and name not in names | given)
        )
        missing = [name for name in columns if name not in counts]
        if missing:
            beside = (
                f"; columns that the model does not know: {shorten(surplus)}" if surplus else ""
            )
            raise DataError(
                f"{path}: expected the {len(columns)} columns that the model was trained on, "
                f"found no {shorten(missing)}{beside}. Add or rename them; their order does not "
                "matter."
            )
        twins = [name for name in dict.fromkeys(columns) if counts[name] > 1]
        if twins:
            raise DataError(
                f"{path}: expected each column once, found {shorten(twins)} twice. Rename or "
                "remove one."
            )
        places = {name: place for place, name in enumerate(table.names)}
        roles = Roles(None, None, None, tuple(places[name] for name in columns))
    else:
        surplus = ()
        roles = assign_roles(config, table, labelled=False)
        roles = replace(roles, label=None, client=None, split=None)

    def rows() -> Iterator[FeatureRows]:
        for part in _Reader(config, table, roles).rows():
            yield FeatureRows(part.part.path, part.first_row, part.x)

    return TableFeatures(tuple(table.names[place] for place in roles.features), surplus, rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(yaml_text(name) for name in names[:20])


# What each column is


def assign_roles(
    config: DataConfig, table: CsvTable | ParquetTable, labelled: bool = True
) -> Roles:
    """Return what each column of a table is, by the settings.

    Args:
        config: the settings under `data`.
        table: the table.
        labelled: whether it must have the columns of label and client.

    Raises:
        DataError: a column that the settings name is not there or there twice, or no column is a
            feature.
    """
    names = table.names
    ignored = (
        _matching(config.ignore_columns, names, "ignore_columns", table.path)
        if labelled
        else _existing(config.ignore_columns, names)
    )
    _refuse_twins(table, ignored)
    places = {name: place for place, name in enumerate(names) if place not in ignored}
    if labelled:
        _refuse_missing(config, table, places)
    label = places.get(config.label_column)
    client = places.get(config.client_column) if config.client_column is not None else None
    if label is not None and label == client:
        raise DataError(
            f"data.label_column and data.client_column are both {config.label_column}. Name two "
            "columns."
        )
    split = places.get(SPLIT_COLUMN)
    taken = {label, client, split}
    chosen = _chosen(config, names, table.path, taken, labelled)
    left_out = (
        [f"columns that data.ignore_columns names: {shorten(names[place] for place in ignored)}"]
        if ignored
        else []
    )
    others = [place for place in range(len(names)) if place not in ignored and place not in taken]
    if chosen is not None:
        unnamed = [place for place in others if place not in chosen]
        if unnamed:
            left_out.append(
                "columns that data.feature_columns does not name: "
                f"{shorten(names[place] or '(no name)' for place in unnamed)}"
            )
        features = [place for place in others if place in chosen]
    else:
        features, reasons = _without_index(table, others)
        left_out += reasons
        features, reasons = _images_alone(table, features)
        left_out += reasons
    if not features:
        raise DataError(
            f"{table.path}: expected columns of features beside client and label, found none. Add "
            "them, or correct data.feature_columns and data.ignore_columns."
        )
    notes = [*table.notes]
    if split is not None:
        notes.append(f"the column {SPLIT_COLUMN} says which rows train and which test")
    return Roles(label, client, split, tuple(features), (*table.left_out, *left_out), tuple(notes))


def _refuse_twins(table: CsvTable | ParquetTable, ignored: set[int]) -> None:
    names = Counter(name for place, name in enumerate(table.names) if name and place not in ignored)
    twins = [name for name, count in names.items() if count > 1]
    if twins:
        places = [str(place + 1) for place, name in enumerate(table.names) if name == twins[0]]
        hint = table.hint_of_header() if isinstance(table, CsvTable) else None
        if hint:
            raise DataError(
                f"{table.path}: expected each column's name once, found {shorten(twins)} more "
                f"than once. {hint}."
            )
        raise DataError(
            f"{table.path}: expected each column's name once, found {shorten(twins)} more than "
            f"once ({twins[0]}: columns {shorten(places, 3)}). Rename them, or leave them out: "
            f"data.ignore_columns=[{_listed(twins)}]."
        )


def _matching(
    patterns: Sequence[str] | None, names: Sequence[str], setting: str, path: Path
) -> set[int]:
    """Return the places of the columns that names or patterns name. Raises DataError if one of them
    names none.
    """
    found: set[int] = set()
    known = set(names)
    for pattern in patterns or ():
        exact = pattern in known
        places = [
            place
            for place, name in enumerate(names)
            if (name == pattern if exact else fnmatchcase(name, pattern))
        ]
        if not places:
            raise DataError(
                f"{path}: data.{setting} names {pattern!r}, found no such column among "
                f"{_near(pattern, names)}"
            )
        found.update(places)
    return found


def _existing(patterns: Sequence[str] | None, names: Sequence[str]) -> set[int]:
    patterns = patterns or ()
    return {
        place
        for place, name in enumerate(names)
        if any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)
    }


def _near(name: str, names: Sequence[str]) -> str:
    close = _closest(name, names)
    return (
        f"{shorten(known or '(no name)' for known in names)}. "
        f"{f'Did you mean {close}?' if close else 'Correct it.'}"
    )


def _closest(name: str, names: Sequence[str]) -> str | None:
    """Return the name that may have been meant: the same in other case or with other signs, or
    spelled nearly so.
    """
    plain = {re.sub(r"[\W_]", "", known).lower(): known for known in names[:5000] if known}
    match = plain.get(re.sub(r"[\W_]", "", name).lower())
    if match is None:
        close = difflib.get_close_matches(name.lower(), list(plain), n=1, cutoff=0.7)
        match = plain[close[0]] if close else None
    return match


def _refuse_missing(
    config: DataConfig, table: CsvTable | ParquetTable, places: dict[str, int]
) -> None:
    """Raise DataError if the table has not the columns of label and client, with the settings that
    may have been meant.
    """
    settings = ["label_column", *(["client_column"] if config.client_column is not None else [])]
    missing = [setting for setting in settings if getattr(config, setting) not in places]
    if not missing:
        return
    names = [getattr(config, setting) for setting in missing]
    for setting, name in zip(missing, names, strict=True):
        if name in table.names:
            raise DataError(
                f"{table.path}: data.{setting}={name} is left out by data.ignore_columns. Correct "
                "one of them."
            )
    remedies = []
    for setting, name in zip(missing, names, strict=True):
        close = _closest(name, table.names)
        if close:
            remedies.append(f"Did you mean data.{setting}={yaml_text(close)}?")
        elif setting == "client_column":
            remedies.append(
                "Name the column of clients in data.client_column, or set it to null: then "
                "data.partition makes clients."
            )
        else:
            remedies.append("Name the column of labels in data.label_column.")
    hint = table.hint_of_header() if isinstance(table, CsvTable) else None
    said = " and ".join(
        f"{name} (data.{setting})" for setting, name in zip(missing, names, strict=True)
    )
    shown = shorten(known[:60] or "(no name)" for known in table.names)
    remedy = f"{hint}." if hint else " ".join(remedies)
    raise DataError(f"{table.path}: expected a column {said}, found {shown}. {remedy}")


def _chosen(
    config: DataConfig, names: Sequence[str], path: Path, taken: set[int | None], labelled: bool
) -> set[int] | None:
    if config.feature_columns is None:
        return None
    chosen = (
        _matching(config.feature_columns, names, "feature_columns", path)
        if labelled
        else _existing(config.feature_columns, names)
    )
    named = [names[place] for place in chosen & taken if names[place] in config.feature_columns]
    if named:
        raise DataError(
            f"{path}: data.feature_columns names {shorten(named)}, which is client, label or "
            "split. Remove it there."
        )
    return chosen - taken


def _without_index(
    table: CsvTable | ParquetTable, places: list[int]
) -> tuple[list[int], list[str]]:
    """Leave out the columns that number the rows: pandas writes its index so, and it tells the
    label where rows are sorted by it.
    """
    written = set(table.index) if isinstance(table, ParquetTable) else set()
    index = [place for place in places if place in written or _INDEX.fullmatch(table.names[place])]
    others = [place for place in places if place not in index]
    counting = [
        place
        for place in others
        if _PERHAPS_INDEX.fullmatch(table.names[place])
        and table.numbers_rows(
            place, gaps=_NUMBERS_WITH_GAPS.fullmatch(table.names[place]) is not None
        )
    ]
    left_out = []
    if index:
        shown = shorten(table.names[place] or f"(no name, column {place + 1})" for place in index)
        left_out.append(f"columns of row numbers or names, such as pandas' index: {shown}")
    if counting:
        left_out.append(
            f"columns that number the rows: {shorten(table.names[place] for place in counting)}"
        )
    return [place for place in others if place not in counting], left_out


def _images_alone(table: CsvTable | ParquetTable, places: list[int]) -> tuple[list[int], list[str]]:
    """Where one column holds images, take it alone: images and numbers are no features of one
    model.
    """
    if isinstance(table, CsvTable):
        return places, []
    images = [place for place in places if is_image_type(table.types[place])]
    if len(images) != 1 or len(places) == 1:
        return places, []
    others = shorten(table.names[place] for place in places if place not in images)
    return images, [f"columns beside the images in {table.names[images[0]]}: {others}"]


# Reading


def _source(config: DataConfig, path: Path) -> Source:
    opened: list[_Reader] = []

    def batches() -> Iterator[Batch]:
        table = open_table(config, path)
        reader = _Reader(config, table, assign_roles(config, table))
        opened[:] = [reader]
        yield from reader.batches()

    return Source(batches, summary=lambda: opened[0].summary())


@dataclass(frozen=True)
class _Rows:
    """Some rows of a file: features, and the values of label, client and split by their place."""

    part: TablePart
    first_row: int
    x: npt.NDArray[Any] | list[npt.NDArray[np.int32]]
    values: dict[int, list[Any]] = field(default_factory=dict)


class _Reader:
    """Reads the rows of a table whose columns have their roles."""

    def __init__(self, config: DataConfig, table: CsvTable | ParquetTable, roles: Roles) -> None:
        self._config = config
        self._table = table
        self._roles = roles
        self._names = [table.names[place] for place in roles.features]
        self._kinds: dict[int, CellKind] = {}
        self._numbering = RowNumberColumns()
        self._done = 0
        self._texts_like_lists = self._texts_like_files = True
        self._form = ""

    def batches(self) -> Iterator[Batch]:
        """Yield the rows as a source's batches. Raises DataError."""
        roles = self._roles
        for rows in self.rows():
            y = self._checked(check_labels, rows, roles.label)
            clients = (
                self._checked(check_ids, rows, roles.client) if roles.client is not None else None
            )
            marks = (
                self._checked(check_tests, rows, roles.split) if roles.split is not None else None
            )
            yield Batch(rows.x, y, clients, marks)

    def _checked(self, check: Any, rows: _Rows, place: int | None) -> Any:
        """Return `check` of a column's values; in its errors the row gets the line of the file that
        it is in.
        """
        try:
            return check(rows.values[place], rows.part.path, rows.first_row, 1)  # type: ignore[index]
        except DataError as err:
            name = "" if place is None else self._table.names[place]

            def located(match: re.Match[str]) -> str:
                row = (
                    self._where(rows.part, int(match[1]))
                    if isinstance(self._table, CsvTable)
                    else match[0]
                )
                return f"{row}, column {name}"

            raise DataError(re.sub(r"row (\d+) \(the first row is 1\)", located, str(err))) from err

    def rows(self) -> Iterator[_Rows]:
        """Yield the rows with their features. Raises DataError."""
        chunks = (
            self._csv_rows(self._table)
            if isinstance(self._table, CsvTable)
            else self._parquet_rows(self._table)
        )
        for rows in chunks:
            self._watch(rows.x)
            yield rows
        if not self._done:
            raise DataError(
                f"{self._table.path}: expected rows below the header, found none. Correct "
                "data.path or the file."
            )

    def _csv_rows(self, table: CsvTable) -> Iterator[_Rows]:
        roles = self._roles
        alone = roles.features if len(roles.features) == 1 else ()
        kinds = self._kinds = table.kinds([*roles.given, *alone])
        names = [place for place in (roles.client, roles.split) if place is not None]
        for chunk in table.chunks(roles.given, roles.features, kinds, names):
            if isinstance(chunk.x, list):
                self._form = f"texts in the column {self._names[0]}, their bytes as tokens"
                self._look_at_texts(chunk.x)
                x: Any = check_sequences(chunk.x, chunk.part.path, chunk.first_row, 1)
            else:
                x = self._numbers(chunk.part, chunk.first_row, chunk.x)
            yield _Rows(chunk.part, chunk.first_row, x, chunk.values)

    def _parquet_rows(self, table: ParquetTable) -> Iterator[_Rows]:
        roles = self._roles
        if len(roles.features) == 1 and is_image_type(table.types[roles.features[0]]):
            yield from self._image_rows(table)
            return
        names = [place for place in (roles.client, roles.split) if place is not None]
        for chunk in table.chunks([*roles.given, *roles.features], names):
            columns = [(table.names[place], chunk.columns[place]) for place in roles.features]
            x = features_of(self._config, chunk.part.path, columns, chunk.first_row)
            if isinstance(x, list) and _is_text(columns[0][1].type):
                self._form = f"texts in the column {self._names[0]}, their bytes as tokens"
                self._look_at_texts(columns[0][1].slice(0, 100).to_pylist())
            elif isinstance(x, list):
                self._form = f"sequences in the column {self._names[0]}"
            elif not _is_number(columns[0][1].type):
                self._form = (
                    f"lists of {' x '.join(map(str, x.shape[1:]))} numbers in the column "
                    f"{self._names[0]}"
                )
            yield _Rows(
                chunk.part,
                chunk.first_row,
                x,
                {place: chunk.columns[place].to_pylist() for place in roles.given},
            )

    def _image_rows(self, table: ParquetTable) -> Iterator[_Rows]:
        place = self._roles.features[0]
        most = self._config.memory_limit_mb * 1_000_000 // _IMAGE_SHARE
        shape: tuple[int, ...] | None = None
        names = [place for place in (self._roles.client, self._roles.split) if place is not None]
        for chunk in table.chunks([*self._roles.given, place], names):
            values = {given: chunk.columns[given].to_pylist() for given in self._roles.given}
            images: list[npt.NDArray[np.uint8]] = []
            start = 0
            for number, cell in enumerate(chunk.columns[place]):
                where = (
                    f"{chunk.part.path}, row {chunk.first_row + number}, column "
                    f"{table.names[place]}"
                )
                pixels = decode_image(_image_bytes(cell.as_py(), where), where, most)
                if shape is None:
                    plain = without_equal_channels(pixels)
                    shape = (
                        plain.shape
                        if plain is pixels or self._all_grey(table, place, most)
                        else pixels.shape
                    )
                if len(shape) == 2:
                    pixels = without_equal_channels(pixels)
                if pixels.shape != shape:
                    raise DataError(
                        f"{where}: expected an image like the first, {_size(shape)}, found "
                        f"{_size(pixels.shape)}. Resize or convert it."
                    )
                images.append(pixels)
                if (len(images) + 1) * pixels.nbytes > most:
                    yield _Rows(
                        chunk.part,
                        chunk.first_row + start,
                        np.stack(images),
                        _sliced(values, start, len(images)),
                    )
                    start = start + len(images)
                    images = []
            if images:
                yield _Rows(
                    chunk.part,
                    chunk.first_row + start,
                    np.stack(images),
                    _sliced(values, start, len(images)),
                )
        self._form = f"images of {_size(shape or ())} in the column {self._names[0]}"

    def _all_grey(self, table: ParquetTable, place: int, most: int) -> bool:
        """Return whether all images are grey or have three equal channels: the first of colour
        images may be all black.
        """
        for chunk in table.chunks([place]):
            for number, cell in enumerate(chunk.columns[place]):
                where = (
                    f"{chunk.part.path}, row {chunk.first_row + number}, column "
                    f"{table.names[place]}"
                )
                if (
                    without_equal_channels(
                        decode_image(_image_bytes(cell.as_py(), where), where, most)
                    ).ndim
                    == 3
                ):
                    return False
        return True

    def _numbers(self, part: TablePart, row: int, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return checked_columns(
            self._config,
            self._names,
            x,
            f"{part.path}",
            lambda number: self._where(part, number),
            row,
        )

    def _where(self, part: TablePart, row: int) -> str:
        if isinstance(self._table, CsvTable):
            return self._table.where(part, row)
        return f"row {row}"

    # What is said of it

    def _watch(self, x: npt.NDArray[Any] | list[Any]) -> None:
        """Note which columns number the rows."""
        if isinstance(x, np.ndarray) and x.ndim == 2 and x.shape[1] == len(self._names):
            self._numbering.add(x)
        self._done += len(x)

    def _look_at_texts(self, texts: Sequence[str]) -> None:
        self._texts_like_files = self._texts_like_files and all(
            map(_IMAGE_FILE.fullmatch, texts[:100])
        )
        if self._texts_like_lists:
            self._texts_like_lists = all(
                re.fullmatch(r"[\[(]?\s*-?[\d.]+([\s,;]+-?[\d.]+)+\s*[\])]?", text[:10_000])
                for text in texts[:100]
            )

    def summary(self) -> SourceSummary:
        """Return what was understood, after the rows were read."""
        table = self._table
        roles = self._roles
        notes = list(roles.notes)
        named = [self._names[place] for place in self._numbering.found()]
        if named:
            notes.append(
                f"the column {shorten(named)} numbers the rows and is a feature: if it is a row "
                f"number, leave it out with data.ignore_columns=[{_listed(named)}]"
            )
        if self._form.startswith("texts") and self._texts_like_lists:
            notes.append(
                f"the texts in {self._names[0]} look like lists of numbers and were read as "
                "characters: write the numbers into columns, or as lists into Parquet"
            )
        if self._form.startswith("texts") and self._texts_like_files:
            notes.append(
                f"the texts in {self._names[0]} look like names of image files and were read as "
                "characters: set data.source=images, or put the bytes of the images into Parquet"
            )
        count = len(roles.features)
        form = (
            self._form
            or f"{count:,} column{'s' if count != 1 else ''} of numbers: {shorten(self._names, 5)}"
        )
        about = []
        for title, place in (("label", roles.label), ("client", roles.client)):
            if place is not None:
                about.append(f"{title} from {table.names[place]}{self._type_of(place)}")
        return SourceSummary(
            format=table.format,
            features="; ".join([form, *about]),
            left_out=roles.left_out,
            notes=tuple(notes),
            columns=() if self._form else tuple(self._names),
        )

    def _type_of(self, place: int) -> str:
        if isinstance(self._table, ParquetTable):
            return f" ({self._table.types[place]})"
        kind = self._kinds.get(place)
        if kind is not None:
            return f" ({kind})"
        return ""


def _sliced(values: dict[int, list[Any]], start: int, count: int) -> dict[int, list[Any]]:
    return {place: column[start : start + count] for place, column in values.items()}


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


def _size(shape: tuple[int, ...]) -> str:
    if len(shape) < 2:
        return "no size"
    return f"{shape[1]} x {shape[0]} {'in colour' if len(shape) == 3 else 'grey'} (width x height)"


def checked_columns(
    config: DataConfig,
    names: Sequence[str],
    x: npt.NDArray[Any],
    where: str,
    row_name: Any,
    first_row: int,
) -> npt.NDArray[Any]:
    """Return `check_features` of columns of numbers; its errors name the column and the value.

    Args:
        config: the settings under `data`.
        names: of the columns.
        x: numbers [n, columns].
        where: the file.
        row_name: returns how an error names a row, from its number.
        first_row: number of the first row.
    """
    try:
        return check_features(x, where, first_row, config.feature_dtype, counted_from=1)
    except DataError as err:
        if x.ndim != 2 or x.dtype.kind not in "biuf":
            raise
        wanted = np.dtype("float32" if config.feature_dtype == "auto" else config.feature_dtype)
        if wanted.kind == "f":
            with np.errstate(over="ignore"):
                wrong = ~np.isfinite(x.astype(np.float32))
        else:
            limits = np.iinfo(wanted)
            with np.errstate(invalid="ignore"):
                wrong = ~((x >= limits.min) & (x <= limits.max) & (x == np.trunc(x)))
        places = np.argwhere(wrong)
        if not len(places):
            raise
        row, column = places[0].tolist()
        value = x[row, column].item()
        if wanted.kind == "f":
            expected = "a finite number that fits float32"
        else:
            expected = (
                f"a whole number from {limits.min} to {limits.max}, as "
                f"data.feature_dtype={wanted} says"
            )
        found = "no value (NaN)" if value != value else str(value)
        raise DataError(
            f"{where}: {row_name(first_row + row)}, column {names[column]}: expected {expected}, "
            f"found {found}. Correct the value, remove the row, or leave the column out: "
            f"data.ignore_columns=[{yaml_text(names[column])}]."
        ) from err


def features_of(
    config: DataConfig, path: Path, columns: list[tuple[str, Any]], row: int
) -> npt.NDArray[Any] | list[npt.NDArray[np.int32]]:
    """Return a vector for each row, from a column of numbers each or from one column of lists
    (fixed size) or a sequence for each row, from one column of lists or of texts.

    Args:
        config: the settings under `data`.
        path: the file, for errors.
        columns: names and Arrow arrays.
        row: number of the first row, for errors; the file's first row is 1.
    """
    if not columns:
        raise DataError(
            f"{path}: expected columns of features beside client and label, found none. Add them."
        )
    missing = next(((name, column) for name, column in columns if column.null_count), None)
    if missing is not None:
        gap = row + missing[1].is_null().index(True).as_py()
        raise DataError(
            f"{path}: row {gap}, column {missing[0]}: expected a value, found none (null). Fill "
            "it in, remove the row, or leave the column out: "
            f"data.ignore_columns=[{yaml_text(missing[0])}]."
        )
    if len(columns) == 1 and _is_list(columns[0][1].type):
        return _lists(config, path, *columns[0], row)
    if len(columns) == 1 and _is_tensor(columns[0][1].type):
        return check_features(
            columns[0][1].to_numpy_ndarray(), path, row, config.feature_dtype, counted_from=1
        )
    if len(columns) == 1 and _is_text(columns[0][1].type):
        return check_sequences(columns[0][1].to_pylist(), path, row, 1)
    others = [(name, str(column.type)) for name, column in columns if not _is_number(column.type)]
    if others:
        shown = shorten((f"{name} ({kind})" for name, kind in others), 5)
        raise DataError(
            f"{path}: expected features that are numbers, found {shown}. Leave them out with "
            f"data.ignore_columns=[{_listed([name for name, _ in others])}], or encode them as "
            "numbers."
        )
    x = np.stack(
        [
            np.asarray(_plain_numbers(column).to_numpy(zero_copy_only=False))
            for _, column in columns
        ],
        axis=1,
    )
    return checked_columns(
        config, [name for name, _ in columns], x, str(path), lambda number: f"row {number}", row
    )


def _plain_numbers(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    return column


def _lists(
    config: DataConfig, path: Path, name: str, column: Any, row: int
) -> npt.NDArray[Any] | list[npt.NDArray[np.int32]]:
    """Return a column of lists: of whole numbers in lists of variable size as sequences, of
    anything else as vectors of one length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    inner = column.type.value_type
    values = column.flatten()
    if _is_list(inner):
        return check_features(
            _arrays(path, name, column, row), path, row, config.feature_dtype, counted_from=1
        )
    if not _is_number(inner) or values.null_count:
        raise DataError(
            f"{path}: expected lists of numbers without gaps in {name}, found {column.type} or a "
            f"gap from row {row} on."
        )
    whole = pa.types.is_integer(inner)
    sizes = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    flat = values.to_numpy(zero_copy_only=False)
    if (
        whole
        and not pa.types.is_uint8(inner)
        and not pa.types.is_fixed_size_list(column.type)
        and config.feature_dtype in ("auto", "int32")
    ):
        return check_sequences(np.split(flat, np.cumsum(sizes)[:-1]), path, row, 1)
    lengths = sorted(set(sizes.tolist()))
    if len(lengths) != 1:
        raise DataError(
            f"{path}: expected lists of one length in {name}, found lengths "
            f"{shorten(lengths, 3)}; whole numbers (tokens) may differ in length, others may not. "
            "Pad them."
        )
    kept = np.uint8 if pa.types.is_uint8(inner) else np.int64 if whole else np.float64
    return check_features(
        flat.reshape(len(column), lengths[0]).astype(kept),
        path,
        row,
        config.feature_dtype,
        tokens=True,
        counted_from=1,
    )


def _arrays(path: Path, name: str, column: Any, row: int) -> npt.NDArray[Any]:
    """Return a column of lists of lists of numbers as one array, [rows, lists, ..., numbers]."""
    import pyarrow.compute as pc

    shape = [len(column)]
    kind = column.type
    while _is_list(kind):
        sizes = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(sizes) != 1 or sizes[0] is None:
            raise DataError(
                f"{path}: expected lists in lists of the same size in every row of {name}, found "
                f"sizes {shorten(sizes, 3)} from row {row} on. Pad or correct them, or leave the "
                f"column out: data.ignore_columns=[{yaml_text(name)}]."
            )
        shape.append(sizes[0])
        column = column.flatten()
        kind = kind.value_type
    if not _is_number(kind) or column.null_count:
        found = "values that are missing (null)" if _is_number(kind) else str(kind)
        raise DataError(
            f"{path}: expected lists in lists of numbers in {name}, found {found} from row {row} "
            "on. Correct them."
        )
    return np.asarray(_plain_numbers(column).to_numpy(zero_copy_only=False)).reshape(shape)


def _is_tensor(kind: Any) -> bool:
    import pyarrow as pa

    return isinstance(kind, pa.FixedShapeTensorType)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )
