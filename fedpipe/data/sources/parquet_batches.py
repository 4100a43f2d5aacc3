"""Rows of a Parquet file as Arrow record batches in bounded memory.

A kilobyte of Parquet can decode to gigabytes: one row with a list of a billion equal numbers, or a
text that stands once in the file and in every row. The file's footer tells what a row group decodes
to at most before anything is decoded.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from fedpipe.data.sources.arrow_types import is_image, is_list
from fedpipe.data.sources.places import BATCH_ROWS
from fedpipe.errors import DataError, shorten

_GROUP_SHARE = 2
"""A row group may decode to the limit divided by this: one row could be all of it, and is copied
once.
"""
_BATCH_SHARE = 64
"""A batch of average rows may take the limit divided by this: it is held as Arrow, as NumPy and as
bytes.
"""
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


def parquet_batches(
    path: Path,
    limit: int,
    names: Sequence[str] | None = None,
    text_lists: Collection[str] = (),
) -> Iterator[Any]:
    """Return the file's rows as Arrow record batches.

    Args:
        path: the file.
        limit: bytes that reading it may take, `data.memory_limit_mb`.
        names: columns that are read; all if None.
        text_lists: those of them that may hold lists of texts.

    Raises:
        DataError: a row group may decode to more than half of `limit`, or a column is no number,
            text, image or list of numbers.
        pyarrow.ArrowException, OSError: it is no Parquet file, or damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        chosen = set(file.schema_arrow.names if names is None else names)
        text_columns = _text_columns(path, file, chosen, text_lists)
    with pq.ParquetFile(path, read_dictionary=text_columns, pre_buffer=False) as file:
        leaves = _leaves(file, chosen)
        columns = None
        if names is not None and len(chosen) < len(file.schema_arrow.names):
            columns = [leaf.path for leaf in leaves.values()]
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            size = sum(_decoded_bytes(group.column(place), leaf) for place, leaf in leaves.items())
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
                yield from _decoded_texts(batch, limit // _BATCH_SHARE)


def _leaves(file: Any, chosen: set[str]) -> dict[int, Any]:
    """Return the columns of the file that the chosen columns of the table consist of, by their
    place.
    """
    leaves = {place: file.schema.column(place) for place in range(len(file.schema))}
    return {place: leaf for place, leaf in leaves.items() if _top_name(leaf) in chosen}


def _top_name(leaf: Any) -> str:
    return str(leaf.path.split(".")[0])


def _text_columns(
    path: Path, file: Any, chosen: set[str], text_lists: Collection[str]
) -> list[str]:
    """Return the columns of texts, which are read as words and numbers of words. Refuses texts
    inside of other lists and structures.
    """
    leaves = _leaves(file, chosen).values()
    texts = [leaf for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    names = set(file.schema_arrow.names)
    images = {field.name for field in file.schema_arrow if is_image(field.type)}
    nested = [
        leaf.path
        for leaf in texts
        if leaf.path not in names and _top_name(leaf) not in images | set(text_lists)
    ]
    if nested:
        raise DataError(
            f"{path}: expected columns of numbers, texts, images or lists of numbers, found texts "
            f"in {shorten(nested, 3)}. Leave them out with data.ignore_columns."
        )
    listed = set(text_lists) - images
    return [leaf.path for leaf in texts if leaf.path in names or _top_name(leaf) in listed]


def _decoded_bytes(chunk: Any, leaf: Any) -> int:
    """Return the bytes that a column of a row group decodes to at most."""
    width = _WIDTHS.get(leaf.physical_type, leaf.length)
    words = chunk.total_uncompressed_size if leaf.physical_type == "BYTE_ARRAY" else 0
    return int(max(chunk.num_values * width + words, chunk.total_uncompressed_size))


def _decoded_texts(batch: Any, max_bytes: int) -> Iterator[Any]:
    """Yield a batch in slices whose texts, written out in every row, take about `max_bytes`, or a
    row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = [column for column in batch.columns if pa.types.is_dictionary(column.type)]
    longest = 1
    for column in coded:
        if not pa.types.is_primitive(column.type.value_type):
            longest = max(longest, pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    for column in batch.columns:
        if is_list(column.type) and pa.types.is_dictionary(column.type.value_type):
            words = pc.binary_length(column.flatten().dictionary)
            most_words = pc.max(pc.list_value_length(column)).as_py() or 0
            longest = max(longest, (pc.max(words).as_py() or 0) * most_words)
    rows = max(1, max_bytes // longest)
    for start in range(0, batch.num_rows, rows):
        columns = [
            column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            for column in batch.slice(start, rows).columns
        ]
        yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
