"""Parquet files in bounded memory, whatever they hold: one file, or a folder of parts.

A kilobyte of Parquet can decode to gigabytes: one row with a list of a billion equal numbers, or a
text that stands once in the file and in every row. What a row group decodes to at most is known
from the file's footer before anything is decoded.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.sources.cells import CellKind, kind_of_cell, kind_of_column, values_of_cells
from fedpipe.data.sources.checks import BATCH_ROWS, unreadable
from fedpipe.data.sources.row_numbers import DistinctNumbers
from fedpipe.data.sources.table_files import TablePart, content_of, table_parts, wrong_content
from fedpipe.errors import DataError, shorten

_GROUP_SHARE = 2
"""A row group may decode to the limit divided by this: one row could be all of it, and is copied
once.
"""
_BATCH_SHARE = 64
"""A batch of average rows may take the limit divided by this: it is held as Arrow, as NumPy and as
bytes.
"""
_INDEX_SHARE = 8
"""What tells whether a column numbers the rows may take the limit divided by this."""
_WIDTHS = {
    "BOOLEAN": 1,
    "INT32": 4,
    "FLOAT": 4,
    "INT64": 8,
    "DOUBLE": 8,
    "INT96": 12,
    "BYTE_ARRAY": 4,
}
"""Bytes of a decoded value; texts are decoded to the numbers of their words, and the words are in
the file as they are.
"""


@dataclass(frozen=True)
class ParquetChunk:
    """Some rows of one file.

    Attributes:
        part: the file.
        first_row: number of the first of them in the file, from 1.
        columns: by place of the column, an Arrow array.
    """

    part: TablePart
    first_row: int
    columns: dict[int, Any]


class ParquetTable:
    """A Parquet file, or a folder of them with the same columns.

    Attributes:
        names: of the columns; those that folders `key=value` name come last.
        types: Arrow's type of each column of the files; texts for the columns that folders name.
        index: places of the columns that pandas wrote its index to.
        format: what was read, in words.
        left_out: what of the folder was not read, in words.
        notes: what was changed, in words.
    """

    def __init__(self, config: DataConfig, path: Path) -> None:
        """Read the schema of all files.

        Raises:
            DataError: a file is no Parquet file, or has other columns than the first.
        """
        import pyarrow as pa

        self.path = path
        self._limit = config.memory_limit_mb * 1_000_000
        self.parts, self.left_out = table_parts(path, "parquet")
        self.notes: list[str] = []
        self._leave_out_empty()
        first = self._schema(self.parts[0])
        self._width = len(first)
        self.names = [*first.names, *self.parts[0].partition]
        self.types = [*first.types, *(pa.string() for _ in self.parts[0].partition)]
        self.index = _pandas_index(first)
        for part in self.parts[1:]:
            self._refuse_other_columns(part, first)
        self.format = (
            f"{len(self.parts):,} Parquet files in {path.name}"
            if path.is_dir()
            else f"Parquet file {path.name}"
        )
        if self.parts[0].partition:
            self.format += f", folders name {', '.join(self.parts[0].partition)}"
        self._constant_kinds = self._kinds_of_constants()

    def _leave_out_empty(self) -> None:
        """Leave out the files without rows, if others have some: where nothing is, types are
        guesses, and columns may be missing.
        """
        if len(self.parts) == 1:
            return
        rows = [self._metadata(part).num_rows for part in self.parts]
        empty = [part.path.name for part, count in zip(self.parts, rows, strict=True) if not count]
        if 0 < len(empty) < len(rows):
            self.parts = [part for part, count in zip(self.parts, rows, strict=True) if count]
            self.left_out.append(f"files without rows: {len(empty):,} ({shorten(empty, 3)})")

    def _schema(self, part: TablePart) -> Any:
        import pyarrow.parquet as pq

        self._refuse_foreign(part)
        with _readable(part.path):
            return pq.read_schema(part.path)

    def _metadata(self, part: TablePart) -> Any:
        import pyarrow.parquet as pq

        self._refuse_foreign(part)
        with _readable(part.path):
            return pq.read_metadata(part.path)

    def _refuse_foreign(self, part: TablePart) -> None:
        content = content_of(part.path)
        if content not in ("parquet", "binary data"):
            raise wrong_content(part.path, "a Parquet file", content)

    def _refuse_other_columns(self, part: TablePart, first: Any) -> None:
        schema = self._schema(part)
        missing = [name for name in first.names if name not in set(schema.names)]
        surplus = [name for name in schema.names if name not in set(first.names)]
        if missing or surplus or len(schema) != len(first):
            texts = [f"no column {shorten(missing, 3)}"] if missing else []
            texts += [f"a column {shorten(surplus, 3)} more"] if surplus else []
            raise DataError(
                f"{part.path}: expected the columns of {self.parts[0].path.name}, found "
                f"{' and '.join(texts) or 'others'}. Write the files anew with the same columns, "
                "or move this one elsewhere."
            )
        if schema.names == first.names and schema.types == first.types:
            return
        for name, kind in zip(first.names, first.types, strict=True):
            places = schema.get_all_field_indices(name)
            if len(places) == 1 and _family(schema.field(places[0]).type) != _family(kind):
                raise DataError(
                    f"{part.path}: expected the types of {self.parts[0].path.name}, found "
                    f"{schema.field(places[0]).type} in the column {name}, which is {kind} there. "
                    "Write the files anew with the same types."
                )

    def _kinds_of_constants(self) -> dict[int, CellKind]:
        """Return what the columns that folders name hold, by all of the folders."""
        kinds = {}
        for number, key in enumerate(self.parts[0].partition):
            cells = (part.partition[key] for part in self.parts)
            kinds[self._width + number] = kind_of_column(
                kind_of_cell(cell) if cell is not None else CellKind.MISSING for cell in cells
            )
        return kinds

    def chunks(self, places: Sequence[int], names: Sequence[int] = ()) -> Iterator[ParquetChunk]:
        """Yield all rows with the columns at `places`.

        Args:
            places: places of the columns.
            names: those of them that are names: what folders name stays as it is written, whole
                floats become whole numbers.

        Raises:
            DataError: a row group may decode to more than half of the limit, a column cannot be
                read, or a file is damaged.
        """
        for part in self.parts:
            for row, columns in self._rows_of(part, places, names):
                yield ParquetChunk(part, row, columns)

    def numbers_rows(self, place: int, gaps: bool) -> bool:
        """Return whether a column numbers the rows of all files, in any order; with `gaps`, numbers
        may be missing.
        """
        import pyarrow as pa

        if place >= self._width or not pa.types.is_integer(self.types[place]):
            return False
        numbers = DistinctNumbers(self._limit // _INDEX_SHARE)
        for chunk in self.chunks([place]):
            column = chunk.columns[place]
            if column.null_count or not pa.types.is_integer(column.type):
                return False
            if not numbers.add(column.to_numpy(zero_copy_only=False)):
                return False
        return numbers.number_rows(gaps)

    def _rows_of(
        self, part: TablePart, places: Sequence[int], names: Sequence[int]
    ) -> Iterator[tuple[int, dict[int, Any]]]:
        inside = [place for place in places if place < self._width]
        named = [place for place in places if place >= self._width]
        row = 1
        with _readable(part.path):
            for batch in parquet_batches(
                part.path, self._limit, [self.names[place] for place in inside]
            ):
                at = {name: number for number, name in enumerate(batch.schema.names)}
                columns = {place: batch.column(at[self.names[place]]) for place in inside}
                columns |= {
                    place: self._constant(part, place, batch.num_rows, place in names)
                    for place in named
                }
                if batch.num_rows:
                    yield row, columns
                row += batch.num_rows

    def _constant(self, part: TablePart, place: int, rows: int, is_name: bool) -> Any:
        """Return a column that the folders name, for some rows of a file."""
        import pyarrow as pa

        name = self.names[place]
        cell = part.partition[name]
        if cell is None:
            raise DataError(
                f"{part.path}: expected a value in the folder {name}=..., found none. Fill it in "
                "or remove the folder."
            )
        kind = self._constant_kinds[place]
        values, gap = values_of_cells(
            np.array([cell], object), kind, as_text=is_name and kind is not CellKind.WHOLE_FLOAT
        )
        if gap is not None:
            raise DataError(
                f"{part.path}: expected a value in the folder {name}=..., found {cell!r}. Fill it "
                "in or remove the folder."
            )
        return pa.array(values * rows)


def parquet_batches(path: Path, limit: int, names: Sequence[str] | None = None) -> Iterator[Any]:
    """Return the file's rows as Arrow record batches.

    Args:
        path: the file.
        limit: bytes that reading it may take, `data.memory_limit_mb`.
        names: columns that are read; all if None.

    Raises:
        DataError: a row group may decode to more than half of `limit`, or a column is no number,
            text, image or list of numbers.
        pyarrow.ArrowException, OSError: it is no Parquet file, or damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        chosen = set(file.schema_arrow.names if names is None else names)
        words = _word_columns(path, file, chosen)
    with pq.ParquetFile(path, read_dictionary=words, pre_buffer=False) as file:
        schema = file.schema
        leaves = [
            leaf for leaf in range(len(schema)) if schema.column(leaf).path.split(".")[0] in chosen
        ]
        top = [schema.column(leaf) for leaf in leaves]
        columns = (
            [leaf.path for leaf in top]
            if names is not None and len(chosen) < len(file.schema_arrow.names)
            else None
        )
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            size = sum(
                _decoded_bytes(group.column(leaf), about)
                for leaf, about in zip(leaves, top, strict=True)
            )
            if size * _GROUP_SHARE > limit:
                raise DataError(
                    f"{path}: expected row groups of at most {limit // _GROUP_SHARE // 1_000_000} "
                    f"MB under data.memory_limit_mb={limit // 1_000_000}, found one of "
                    f"{group.num_rows} rows that may take {size / 1e6:.0f} MB. Write the file "
                    "with smaller row groups, or raise data.memory_limit_mb."
                )
            rows = min(BATCH_ROWS, max(1, limit // _BATCH_SHARE * group.num_rows // max(size, 1)))
            for batch in file.iter_batches(
                rows, row_groups=[number], columns=columns, use_threads=False
            ):
                yield from _spelled_out(batch, limit // _BATCH_SHARE)


def _word_columns(path: Path, file: Any, chosen: set[str]) -> list[str]:
    """Return the columns of texts, which are read as words and numbers of words. Refuses texts
    inside of lists and structures.
    """
    leaves = [file.schema.column(number) for number in range(len(file.schema))]
    texts = [
        leaf
        for leaf in leaves
        if leaf.physical_type == "BYTE_ARRAY" and leaf.path.split(".")[0] in chosen
    ]
    names = set(file.schema_arrow.names)
    images = {field.name for field in file.schema_arrow if is_image_type(field.type)}
    nested = [
        leaf.path
        for leaf in texts
        if leaf.path not in names and leaf.path.split(".")[0] not in images
    ]
    if nested:
        raise DataError(
            f"{path}: expected columns of numbers, texts, images or lists of numbers, found texts "
            f"in {shorten(nested, 3)}. Leave them out with data.ignore_columns."
        )
    return [leaf.path for leaf in texts if leaf.path in names]


def is_image_type(kind: Any) -> bool:
    """Return whether a column may hold encoded images: bytes, or Hugging Face's structure of bytes
    and path.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return True
    if not pa.types.is_struct(kind):
        return False
    fields = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
    return set(fields) in ({"bytes", "path"}, {"bytes"}) and (
        pa.types.is_binary(fields["bytes"]) or pa.types.is_large_binary(fields["bytes"])
    )


def _family(kind: Any) -> str:
    """Return the family of types within which parts of a table may differ."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"list of {_family(kind.value_type)}"
    return str(kind)


def _pandas_index(schema: Any) -> list[int]:
    """Return the places of the columns that pandas wrote its index to."""
    metadata = schema.pandas_metadata or {}
    names = {name for name in metadata.get("index_columns", []) if isinstance(name, str)}
    return [place for place, name in enumerate(schema.names) if name in names]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as err:
        raise unreadable(path, "a Parquet file", err) from err


def _decoded_bytes(chunk: Any, leaf: Any) -> int:
    width = (
        leaf.length if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" else _WIDTHS[leaf.physical_type]
    )
    words = chunk.total_uncompressed_size if leaf.physical_type == "BYTE_ARRAY" else 0
    return int(max(chunk.num_values * width + words, chunk.total_uncompressed_size))


def _spelled_out(batch: Any, most: int) -> Iterator[Any]:
    """Return a batch in parts whose texts, spelled out in every row, take about `most` bytes, or a
    row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    longest = 1
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and not pa.types.is_primitive(
            column.type.value_type
        ):
            longest = max(longest, pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    rows = max(1, most // longest)
    for start in range(0, batch.num_rows, rows):
        part = batch.slice(start, rows)
        columns = [
            one.dictionary_decode() if pa.types.is_dictionary(one.type) else one
            for one in part.columns
        ]
        yield pa.RecordBatch.from_arrays(columns, names=part.schema.names)
