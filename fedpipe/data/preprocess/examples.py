"""Examples between two steps of preprocessing, and the choice of their columns."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np

from fedpipe.data.array_types import Array, Ints
from fedpipe.errors import DataError, shorten


@dataclass(frozen=True)
class Examples:
    """Features of some examples between two steps.

    Attributes:
        x: uint8, float32 or int32 [n, ...]; of a table float32 [n, columns], NaN for an empty cell,
            and in a column of texts the place of each text in `texts`.
        columns: names of a table's columns; empty where features are no table.
        texts: the distinct texts of each column of texts.
    """

    x: Array
    columns: tuple[str, ...] = ()
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def numbers(self) -> Array:
        """Return the features as float32, a copy; pixels divided by 255, as a model gets them."""
        x = self.x.astype(np.float32)
        if self.x.dtype == np.uint8:
            x /= np.float32(255)
        return x

    def places(self, columns: Iterable[str]) -> Ints:
        """Return where columns are, by their names."""
        place_of = {name: place for place, name in enumerate(self.columns)}
        return np.array([place_of[name] for name in columns], np.int64)

    def choose(self, columns: Sequence[str]) -> "Examples":
        """Return these columns alone."""
        texts = {name: texts for name, texts in self.texts.items() if name in columns}
        return Examples(self.x[:, self.places(columns)], tuple(columns), texts)

    def with_x(self, x: Array) -> "Examples":
        """Return the same columns with other values."""
        return replace(self, x=x)


def matching_columns(
    patterns: Sequence[str] | None, columns: Sequence[str], step: str
) -> tuple[str, ...]:
    """Return the names of the columns that names or patterns such as `lab_*` name, in the order of
    the table; all columns without patterns.

    Raises:
        DataError: a name or pattern names no column.
    """
    if patterns is None:
        return tuple(columns)
    chosen: set[str] = set()
    for pattern in patterns:
        names = [pattern] if pattern in columns else []
        names = names or [name for name in columns if fnmatchcase(name, pattern)]
        if not names:
            close = difflib.get_close_matches(pattern, columns, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Correct its columns."
            raise DataError(
                f"data.preprocess, step {step}: expected a column {pattern}, found "
                f"{shorten(columns, 5) or 'features that are no columns of a table'}. {hint}"
            )
        chosen.update(names)
    return tuple(name for name in columns if name in chosen)
