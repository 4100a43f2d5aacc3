"""Batches of a Parquet file in bounded memory, whatever the file holds.

A kilobyte of Parquet can decode to gigabytes: one row with a list of a billion equal numbers, or a text that stands once in the
file and in every row. What a row group decodes to at most is known from the file's footer before anything is decoded.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedpipe.data.sources.checks import BATCH_ROWS
from fedpipe.errors import DataError, shorten

_GROUP_SHARE = 2
"""A row group may decode to the limit divided by this: one row could be all of it, and is copied once."""
_BATCH_SHARE = 64
"""A batch of average rows may take the limit divided by this: it is held as Arrow, as NumPy and as bytes."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 4}
"""Bytes of a decoded value; texts are decoded to the numbers of their words, and the words are in the file as they are."""


def parquet_batches(path: Path, limit: int) -> Iterator[Any]:
    """Return the file's rows as Arrow record batches.

    Args:
        path: the file.
        limit: bytes that reading it may take, `data.memory_limit_mb`.

    Raises:
        DataError: a row group may decode to more than half of `limit`, or a column is no number, text or list of numbers.
        pyarrow.ArrowException, OSError: it is no Parquet file, or damaged.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        words = _word_columns(path, file)
    with pq.ParquetFile(path, read_dictionary=words, pre_buffer=False) as file:
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            size = sum(_decoded_bytes(group.column(leaf), file.schema.column(leaf)) for leaf in range(group.num_columns))
            if size * _GROUP_SHARE > limit:
                raise DataError(
                    f"{path}: expected row groups of at most {limit // _GROUP_SHARE // 1_000_000} MB under data.memory_limit_mb="
                    f"{limit // 1_000_000}, found one of {group.num_rows} rows that may take {size / 1e6:.0f} MB. Write the file with "
                    "smaller row groups, or raise data.memory_limit_mb."
                )
            rows = min(BATCH_ROWS, max(1, limit // _BATCH_SHARE * group.num_rows // max(size, 1)))
            for batch in file.iter_batches(rows, row_groups=[number], use_threads=False):
                yield from _spelled_out(batch, limit // _BATCH_SHARE)


def _word_columns(path: Path, file: Any) -> list[str]:
    """Return the columns of texts, which are read as words and numbers of words. Refuses texts inside of lists and structures."""
    leaves = [file.schema.column(number) for number in range(len(file.schema))]
    texts = [leaf for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    nested = [leaf.path for leaf in texts if leaf.path not in file.schema_arrow.names]
    if nested:
        raise DataError(f"{path}: expected columns of numbers, texts or lists of numbers, found texts in {shorten(nested, 3)}. Drop them.")
    return [leaf.path for leaf in texts]


def _decoded_bytes(chunk: Any, leaf: Any) -> int:
    width = leaf.length if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" else _WIDTHS[leaf.physical_type]
    words = chunk.total_uncompressed_size if leaf.physical_type == "BYTE_ARRAY" else 0
    return int(max(chunk.num_values * width + words, chunk.total_uncompressed_size))


def _spelled_out(batch: Any, most: int) -> Iterator[Any]:
    """Return a batch in parts whose texts, spelled out in every row, take about `most` bytes, or a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    longest = 1
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and not pa.types.is_primitive(column.type.value_type):
            longest = max(longest, pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    rows = max(1, most // longest)
    for start in range(0, batch.num_rows, rows):
        part = batch.slice(start, rows)
        columns = [one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for one in part.columns]
        yield pa.RecordBatch.from_arrays(columns, names=part.schema.names)
