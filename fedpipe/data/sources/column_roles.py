"""Which column of a table is the label, which the client, and which are features."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fedpipe.config import DataConfig
from fedpipe.data.sources.arrow_types import is_image
from fedpipe.data.sources.csv_table import CsvTable
from fedpipe.data.sources.parquet_table import ParquetTable
from fedpipe.data.sources.table import ignore_setting, yaml_text
from fedpipe.errors import DataError, shorten

SPLIT_COLUMN = "split"

_INDEX = re.compile(r"|Unnamed: \d+(_level_\d+|\.\d+)*|__index_level_\d+__")
"""Names that pandas gives to an index when it writes a table, and to a column without a name when
it reads one.
"""
_PERHAPS_INDEX = re.compile(
    r"index|level_\d+|id|idx|row|rows|row_?(id|num|number|names?|index)|rownames?|observation|obs|"
    r"no|nr",
    re.I,
)
"""Names of columns that are left out if they number the rows."""
_NUMBERS_WITH_GAPS = re.compile(r"index|level_\d+|id|idx|row_?(id|num|number|index)", re.I)
"""Those of them that are left out as well where the numbers have gaps, as of a part of the rows."""
_UNNAMED = "(no name)"


@dataclass(frozen=True)
class Roles:
    """What each column of a table is, by its place.

    Attributes:
        labels: places, in the order of `data.label_column`.
        client, split: places, or None.
        features: places, in the table's order.
        left_out: why other columns are not read, in words.
        notes: what was guessed, in words.
    """

    labels: tuple[int, ...]
    client: int | None
    split: int | None
    features: tuple[int, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def given(self) -> list[int]:
        """Places of labels, client and split, those that there are."""
        others = [place for place in (self.client, self.split) if place is not None]
        return [*self.labels, *others]

    @property
    def named(self) -> list[int]:
        """Places of the columns whose values are names: client and split."""
        return [place for place in (self.client, self.split) if place is not None]


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
    ignored = _matching(config, "ignore_columns", table, labelled)
    _refuse_twins(table, ignored)
    places = {name: place for place, name in enumerate(names) if place not in ignored}
    if labelled:
        _refuse_missing(config, table, places)
    labels = tuple(places[name] for name in config.label_columns if name in places)
    client = None
    if config.client_column is not None:
        client = places.get(config.client_column)
    if client in labels:
        raise DataError(
            f"data.label_column and data.client_column are both {config.client_column}. Name two "
            "columns."
        )
    split = places.get(SPLIT_COLUMN)
    taken = {*labels, client, split}
    left_out = [*table.left_out]
    if ignored:
        shown = shorten(names[place] for place in ignored)
        left_out.append(f"columns that data.ignore_columns names: {shown}")
    others = [place for place in range(len(names)) if place not in ignored and place not in taken]
    if config.feature_columns is not None:
        chosen = _matching(config, "feature_columns", table, labelled)
        _refuse_taken(config, table, chosen & taken)
        features = [place for place in others if place in chosen]
        if unnamed := [names[place] or _UNNAMED for place in others if place not in chosen]:
            left_out.append(f"columns that data.feature_columns does not name: {shorten(unnamed)}")
    else:
        features = _without_index(table, others, left_out)
        features = _images_alone(table, features, left_out)
    if not features:
        raise DataError(
            f"{table.path}: expected columns of features beside client and label, found none. Add "
            "them, or correct data.feature_columns and data.ignore_columns."
        )
    notes = [*table.notes]
    if split is not None:
        notes.append(f"the column {SPLIT_COLUMN} says which rows train and which test")
    return Roles(labels, client, split, tuple(features), tuple(left_out), tuple(notes))


def _matching(
    config: DataConfig, setting: str, table: CsvTable | ParquetTable, must_exist: bool
) -> set[int]:
    """Return the places of the columns that a setting's names or patterns name. Raises DataError if
    one of them names none and `must_exist` is true.
    """
    matching: set[int] = set()
    names = set(table.names)
    for pattern in getattr(config, setting) or ():
        exact = must_exist and pattern in names
        places = [
            place
            for place, name in enumerate(table.names)
            if name == pattern or (not exact and fnmatchcase(name, pattern))
        ]
        if must_exist and not places:
            close = _closest(pattern, table.names)
            hint = f"Did you mean {close}?" if close else "Correct it."
            raise DataError(
                f"{table.path}: data.{setting} names {pattern!r}, found no such column among "
                f"{shorten(name or _UNNAMED for name in table.names)}. {hint}"
            )
        matching.update(places)
    return matching


def _closest(name: str, names: Sequence[str]) -> str | None:
    """Return the name that may have been meant: the same in other case or with other signs, or
    spelled nearly so.
    """
    plain = {_plain(known): known for known in names[:5000] if known}
    close = [_plain(name)]
    if close[0] not in plain:
        close = difflib.get_close_matches(name.lower(), list(plain), n=1, cutoff=0.7)
    return plain[close[0]] if close else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _refuse_twins(table: CsvTable | ParquetTable, ignored: set[int]) -> None:
    counts = Counter(
        name for place, name in enumerate(table.names) if name and place not in ignored
    )
    twins = [name for name, count in counts.items() if count > 1]
    if not twins:
        return
    places = [str(place) for place, name in enumerate(table.names, 1) if name == twins[0]]
    hint = table.header_hint()
    place = ""
    if hint is None:
        hint = f"Rename them, or leave them out: {ignore_setting(twins)}"
        place = f" ({twins[0]}: columns {shorten(places, 3)})"
    raise DataError(
        f"{table.path}: expected each column's name once, found {shorten(twins)} more "
        f"than once{place}. {hint}."
    )


def _refuse_missing(
    config: DataConfig, table: CsvTable | ParquetTable, places: dict[str, int]
) -> None:
    """Raise DataError if the table has not the columns of label and client, with the settings that
    may have been meant.
    """
    columns = [("label_column", name) for name in config.label_columns]
    if config.client_column is not None:
        columns.append(("client_column", config.client_column))
    missing = [(setting, name) for setting, name in columns if name not in places]
    if not missing:
        return
    remedies = []
    for setting, name in missing:
        if name in table.names:
            raise DataError(
                f"{table.path}: data.{setting}={name} is left out by data.ignore_columns. Correct "
                "one of them."
            )
        if close := _closest(name, table.names):
            remedies.append(f"Did you mean data.{setting}={yaml_text(close)}?")
        elif setting == "client_column":
            remedies.append(
                "Name the column of clients in data.client_column, or set it to null: then "
                "data.partition makes clients."
            )
        else:
            remedies.append("Name the column of labels in data.label_column.")
    hint = table.header_hint()
    expected = " and ".join(f"{name} (data.{setting})" for setting, name in missing)
    shown = shorten(name[:60] or _UNNAMED for name in table.names)
    remedy = f"{hint}." if hint else " ".join(remedies)
    raise DataError(f"{table.path}: expected a column {expected}, found {shown}. {remedy}")


def _refuse_taken(
    config: DataConfig, table: CsvTable | ParquetTable, places: Iterable[int]
) -> None:
    """Raise DataError if `data.feature_columns` names a column by its name that is no feature."""
    names = [table.names[place] for place in places]
    named = [name for name in names if name in (config.feature_columns or ())]
    if named:
        raise DataError(
            f"{table.path}: data.feature_columns names {shorten(named)}, which is client, label or "
            "split. Remove it there."
        )


def _without_index(
    table: CsvTable | ParquetTable, places: list[int], left_out: list[str]
) -> list[int]:
    """Leave out the columns that number the rows: pandas writes its index so, and it tells the
    label where rows are sorted by it.
    """
    names = table.names
    written = set(table.index)
    index = [place for place in places if place in written or _INDEX.fullmatch(names[place])]
    others = [place for place in places if place not in set(index)]
    counting = [
        place
        for place in others
        if _PERHAPS_INDEX.fullmatch(names[place])
        and table.numbers_rows(place, gaps=bool(_NUMBERS_WITH_GAPS.fullmatch(names[place])))
    ]
    if index:
        shown = shorten(names[place] or f"(no name, column {place + 1})" for place in index)
        left_out.append(f"columns of row numbers or names, such as pandas' index: {shown}")
    if counting:
        shown = shorten(names[place] for place in counting)
        left_out.append(f"columns that number the rows: {shown}")
    return [place for place in others if place not in counting]


def _images_alone(
    table: CsvTable | ParquetTable, places: list[int], left_out: list[str]
) -> list[int]:
    """Where one column holds images, take it alone: images and numbers are no features of one
    model.
    """
    if isinstance(table, CsvTable):
        return places
    images = [place for place in places if is_image(table.types[place])]
    if len(images) != 1 or len(places) == 1:
        return places
    others = shorten(table.names[place] for place in places if place not in images)
    left_out.append(f"columns beside the images in {table.names[images[0]]}: {others}")
    return images
