"""Some rows of a table, as its readers give them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedpipe.data.array_types import Array, Int32s


@dataclass(frozen=True)
class TableRows:
    """Some rows of a file.

    Attributes:
        file: where they are from.
        first_row: number of the first of them in the file; the file's first row is 1.
        x: features as the source gives them: uint8, int32 or float32 [n, ...], or n sequences
            int32.
        values: of label, client and split by their place.
    """

    file: Path
    first_row: int
    x: Array | list[Int32s]
    values: dict[int, list[Any]] = field(default_factory=dict)
