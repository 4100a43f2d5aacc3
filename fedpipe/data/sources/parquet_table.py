"""A Parquet file, or a folder of them with the same columns, as one table."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.sources.arrow_types import type_family
from fedpipe.data.sources.cell_kinds import CellKind, kind_of_cell, kind_of_column, values_of_cells
from fedpipe.data.sources.parquet_batches import parquet_batches
from fedpipe.data.sources.places import unreadable
from fedpipe.data.sources.table import Table, differing_columns, number_rows
from fedpipe.data.sources.table_files import TablePart, content_of, table_parts, wrong_content
from fedpipe.errors import DataError, shorten

_INDEX_SHARE = 8
"""What tells whether a column numbers the rows may take the limit divided by this."""


@dataclass(frozen=True)
class ParquetChunk:
    """Some rows of one file.

    Attributes:
        path: the file.
        first_row: number of the first of them in the file, from 1.
        columns: by place of the column, an Arrow array.
    """

    path: Path
    first_row: int
    columns: dict[int, Any]


class ParquetTable(Table):
    """A Parquet file, or a folder of them with the same columns.

    Attributes:
        types: Arrow's type of each column of the files; texts for the columns that folders name.
    """

    def __init__(self, config: DataConfig, path: Path) -> None:
        """Read the schema of all files.

        Raises:
            DataError: a file is no Parquet file, or has other columns than the first.
        """
        import pyarrow as pa

        self.path = path
        self.notes = []
        self._max_bytes = config.memory_limit_mb * 1_000_000
        self._label_columns = config.label_columns
        self._parts, self.left_out = table_parts(path, "parquet")
        self._leave_out_empty()
        first = _footer(self._parts[0]).schema.to_arrow_schema()
        partition = self._parts[0].partition
        self._width = len(first)
        self.names = [*first.names, *partition]
        self.types = [*first.types, *[pa.string()] * len(partition)]
        pandas_index = (first.pandas_metadata or {}).get("index_columns", [])
        self.index = [place for place, name in enumerate(first.names) if name in pandas_index]
        for file in self._parts[1:]:
            self._refuse_other_columns(file, first)
        self.format = f"Parquet file {path.name}"
        if path.is_dir():
            self.format = f"{len(self._parts):,} Parquet files in {path.name}"
        if partition:
            self.format += f", folders name {', '.join(partition)}"
        self._constant_kinds = {key: self._constant_kind(key) for key in partition}

    def _leave_out_empty(self) -> None:
        """Leave out the files without rows, if others have some: without rows, types are guesses,
        and columns may be missing.
        """
        if len(self._parts) == 1:
            return
        filled = [file for file in self._parts if _footer(file).num_rows]
        empty = [file.path.name for file in self._parts if file not in filled]
        if filled and empty:
            self._parts = filled
            self.left_out.append(f"files without rows: {len(empty):,} ({shorten(empty, 3)})")

    def _refuse_other_columns(self, file: TablePart, first: Any) -> None:
        schema = _footer(file).schema.to_arrow_schema()
        first_file = self._parts[0].path.name
        differences = differing_columns(schema.names, first.names)
        if differences or len(schema) != len(first):
            raise DataError(
                f"{file.path}: expected the columns of {first_file}, found "
                f"{differences or 'others'}. Write the files anew with the same columns, or move "
                "this one elsewhere."
            )
        if schema.names == first.names and schema.types == first.types:
            return
        for name, kind in zip(first.names, first.types, strict=True):
            places = schema.get_all_field_indices(name)
            if len(places) != 1:
                continue
            column_type = schema.field(places[0]).type
            if type_family(column_type) != type_family(kind):
                raise DataError(
                    f"{file.path}: expected the types of {first_file}, found {column_type} in the "
                    f"column {name}, which is {kind} there. Write the files anew with the same "
                    "types."
                )

    def _constant_kind(self, key: str) -> CellKind:
        """Return what a column that folders name holds, by all of the folders."""
        return kind_of_column(kind_of_cell(file.partition[key] or "") for file in self._parts)

    def chunks(self, places: Sequence[int], names: Sequence[int] = ()) -> Iterator[ParquetChunk]:
        """Yield all rows with the columns at `places`.

        Args:
            places: of the columns.
            names: those of them that are names: what folders name stays as it is written, whole
                floats become whole numbers.

        Raises:
            DataError: a row group may decode to more than half of the limit, a column cannot be
                read, or a file is damaged.
        """
        inside = [self.names[place] for place in places if place < self._width]
        for file in self._parts:
            row = 1
            with _readable(file.path):
                for batch in parquet_batches(
                    file.path, self._max_bytes, inside, self._label_columns
                ):
                    if not batch.num_rows:
                        continue
                    numbers = {name: number for number, name in enumerate(batch.schema.names)}
                    columns = {
                        place: batch.column(numbers[self.names[place]])
                        if place < self._width
                        else self._constant(file, place, batch.num_rows, place in names)
                        for place in places
                    }
                    yield ParquetChunk(file.path, row, columns)
                    row += batch.num_rows

    def numbers_rows(self, place: int, gaps: bool) -> bool:
        """Return whether a column numbers the rows of all files, in any order; with `gaps`, numbers
        may be missing.
        """
        from pyarrow import types

        if place >= self._width or not types.is_integer(self.types[place]):
            return False

        def parts() -> Iterator[Any]:
            for chunk in self.chunks([place]):
                column = chunk.columns[place]
                yield None if column.null_count else column.to_numpy(zero_copy_only=False)

        return number_rows(parts(), self._max_bytes // _INDEX_SHARE, gaps)

    def _constant(self, file: TablePart, place: int, rows: int, is_name: bool) -> Any:
        """Return a column that the folders name, for some rows of a file."""
        import pyarrow as pa

        name = self.names[place]
        cell = file.partition[name]
        kind = self._constant_kinds[name]
        values, gap = values_of_cells(
            np.array([cell or ""], object),
            kind,
            as_text=is_name and kind is not CellKind.WHOLE_FLOAT,
        )
        if gap is not None:
            shown = "none" if cell is None else repr(cell)
            raise DataError(
                f"{file.path}: expected a value in the folder {name}=..., found {shown}. Fill it "
                "in or remove the folder."
            )
        return pa.array(values * rows)


def _footer(file: TablePart) -> Any:
    """Return the metadata of a file."""
    import pyarrow.parquet as pq

    content = content_of(file.path)
    if content not in ("parquet", "binary data"):
        raise wrong_content(file.path, "a Parquet file", content)
    with _readable(file.path):
        return pq.read_metadata(file.path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as err:
        raise unreadable(path, "a Parquet file", err) from err
