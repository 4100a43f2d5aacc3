"""What CSV and Parquet tables have in common."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from fedpipe.data.array_types import Array, Bools, Int32s
from fedpipe.data.sources.row_numbers import DistinctNumbers
from fedpipe.errors import shorten


@dataclass(frozen=True)
class TableRows:
    """Some rows of a file.

    Attributes:
        file: where they are from.
        first_row: number of the first of them in the file; the file's first row is 1.
        x: features as the source gives them: uint8, int32 or float32 [n, ...], or n sequences
            int32.
        values: of label, client and split by their place.
        stays: bool [n], which of them are not left out; None: all stay.
    """

    file: Path
    first_row: int
    x: Array | list[Int32s]
    values: dict[int, list[Any]] = field(default_factory=dict)
    stays: Bools | None = None


class Table(ABC):
    """A file, or a folder of files with the same columns.

    Attributes:
        path: the file or folder.
        names: of the columns. Columns that folders `key=value` name come last.
        index: places of the columns that pandas wrote its index to.
        format: what was read and how, in words.
        left_out: what of the folder was not read, in words.
        notes: what was changed, in words.
    """

    path: Path
    names: list[str]
    format: str
    left_out: list[str]
    notes: list[str]
    index: Sequence[int] = ()

    def header_hint(self) -> str | None:
        """Return what to do if the header looks as if the file was read in a wrong way, else
        None.
        """
        return None

    def row_name(self, path: Path, row: int) -> str:  # noqa: ARG002
        """Return the name of a row of one of the files as the user counts it."""
        return f"row {row}"

    @abstractmethod
    def numbers_rows(self, place: int, gaps: bool) -> bool:
        """Return whether a column numbers the rows of all files, in any order; with `gaps`, numbers
        may be missing.
        """


def number_rows(columns: Iterator[Any], max_bytes: int, gaps: bool) -> bool:
    """Return whether a column numbers the rows.

    Args:
        columns: the column's parts as arrays; None for a part with missing numbers.
        max_bytes: memory that it may take to find out.
        gaps: whether numbers may be missing.
    """
    numbers = DistinctNumbers(max_bytes)
    for column in columns:
        if column is None or column.dtype.kind not in "iu" or not numbers.add(column):
            return False
    return numbers.number_rows(gaps)


def differing_columns(names: Sequence[str], expected: Sequence[str]) -> str:
    """Return how the columns of a file differ from the expected ones; empty if they are the same
    ones in any order.
    """
    differences = []
    if missing := sorted(set(expected) - set(names)):
        differences.append(f"no column {shorten(missing, 3)}")
    if surplus := sorted(set(names) - set(expected)):
        differences.append(f"a column {shorten(surplus, 3)} more")
    return " and ".join(differences)


def yaml_text(name: str) -> str:
    """Return a column's name as it is written in a list of `-S data.ignore_columns=[...]`."""
    is_word = re.fullmatch(r"[A-Za-z_][\w .()/-]*", name)
    if is_word and name.lower() not in ("true", "false", "yes", "no", "null"):
        return name
    return repr(name)


def ignore_setting(names: Iterable[str]) -> str:
    """Return the setting that leaves columns out.

    >>> ignore_setting(["a b", "7"])
    "data.ignore_columns=[a b, '7']"
    """
    return f"data.ignore_columns=[{', '.join(map(yaml_text, islice(names, 20)))}]"
