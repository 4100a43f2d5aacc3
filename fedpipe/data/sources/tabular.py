"""Sources `parquet` and `csv`: one row an example, one column the client, one the label, the others the features.

Read in batches by pyarrow. An optional column `split` holds train or test.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.checks import (
    BATCH_ROWS,
    check_features,
    check_ids,
    check_labels,
    check_sequences,
    check_tests,
    own_path,
    unreadable,
)
from fedpipe.data.sources.parquet_file import parquet_batches
from fedpipe.errors import DataError, shorten

SPLIT_COLUMN = "split"


def open_parquet(config: DataConfig, project: Path) -> Source:
    """Return the rows of a Parquet file.

    Raises:
        DataError: the file is not there, is no Parquet file, lacks a column, or has row groups too large for `data.memory_limit_mb`.
    """
    path = own_path(config, project)
    limit = config.memory_limit_mb * 1_000_000
    return Source(lambda: _batches(config, path, "a Parquet file", lambda: parquet_batches(path, limit)))


def open_csv(config: DataConfig, project: Path) -> Source:
    """Return the rows of a CSV file with a header; the client column is text whatever it looks like, so `007` stays `007`.

    Raises:
        DataError: the file is not there, is no CSV file, or lacks a column.
    """
    path = own_path(config, project)

    def tables() -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.csv as pc

        texts = {SPLIT_COLUMN: pa.string()} | ({config.client_column: pa.string()} if config.client_column else {})
        options = pc.ConvertOptions(column_types=texts, strings_can_be_null=False)
        with pc.open_csv(path, pc.ReadOptions(use_threads=False), convert_options=options) as file:
            for batch in file:
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)

    return Source(lambda: _batches(config, path, "a CSV file with a header", tables))


def _batches(config: DataConfig, path: Path, what: str, tables: Callable[[], Iterator[Any]]) -> Iterator[Batch]:
    import pyarrow as pa

    row = 0
    try:
        for table in tables():
            if table.num_rows:
                yield _batch(config, path, table, row)
            row += table.num_rows
    except (pa.ArrowException, OSError, UnicodeError) as err:
        raise unreadable(path, what, err) from err


def _batch(config: DataConfig, path: Path, table: Any, row: int) -> Batch:
    names = table.schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    wanted = [config.label_column, *([config.client_column] if config.client_column else [])]
    missing = [name for name in wanted if name not in names]
    if twice or missing:
        problem = f"the column {shorten(twice)} twice" if twice else f"no column {shorten(missing)} among {shorten(names)}"
        raise DataError(
            f"{path}: expected each of data.client_column={config.client_column} and data.label_column={config.label_column} once, "
            f"found {problem}. Name your columns there."
        )
    given = {*wanted, SPLIT_COLUMN}
    x = features_of(config, path, [(name, table.column(name)) for name in names if name not in given], row)
    clients = check_ids(table.column(config.client_column).to_pylist(), path, row) if config.client_column else None
    marks = check_tests(table.column(SPLIT_COLUMN).to_pylist(), path, row) if SPLIT_COLUMN in names else None
    return Batch(x, check_labels(table.column(config.label_column).to_pylist(), path, row), clients, marks)


def features_of(config: DataConfig, path: Path, columns: list[tuple[str, Any]], row: int) -> npt.NDArray[Any] | list[npt.NDArray[np.int32]]:
    """Return a vector for each row, from a column of numbers each or from one column of lists (fixed size) or a sequence for each
    row, from one column of lists or of texts."""

    if not columns:
        raise DataError(f"{path}: expected columns of features beside client and label, found none. Add them.")
    missing = next((name for name, column in columns if column.null_count), None)
    if missing is not None:
        raise DataError(f"{path}: expected a value in every row, found none in the column {missing} from row {row} on. Fill or drop it.")
    if len(columns) == 1 and _is_list(columns[0][1].type):
        return _lists(config, path, *columns[0], row)
    if len(columns) == 1 and _is_text(columns[0][1].type):
        return check_sequences(columns[0][1].to_pylist(), path, row)
    others = [f"{name} ({column.type})" for name, column in columns if not _is_number(column.type)]
    if others:
        raise DataError(f"{path}: expected features that are numbers, found {shorten(others, 3)}. Drop or encode these columns.")
    x = np.stack([np.asarray(column.to_numpy(zero_copy_only=False)) for _, column in columns], axis=1)
    return check_features(x, path, row, config.feature_dtype)


def _lists(config: DataConfig, path: Path, name: str, column: Any, row: int) -> npt.NDArray[Any] | list[npt.NDArray[np.int32]]:
    """Return a column of lists: of whole numbers in lists of variable size as sequences, of anything else as vectors of one length."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inner, values = column.type.value_type, column.flatten()
    if not _is_number(inner) or values.null_count:
        raise DataError(f"{path}: expected lists of numbers without gaps in {name}, found {column.type} or a gap from row {row} on.")
    whole = pa.types.is_integer(inner)
    sizes = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    flat = values.to_numpy(zero_copy_only=False)
    if (
        whole
        and not pa.types.is_uint8(inner)
        and not pa.types.is_fixed_size_list(column.type)
        and config.feature_dtype in ("auto", "int32")
    ):
        return check_sequences(np.split(flat, np.cumsum(sizes)[:-1]), path, row)
    lengths = sorted(set(sizes.tolist()))
    if len(lengths) != 1:
        raise DataError(
            f"{path}: expected lists of one length in {name}, found lengths {shorten(lengths, 3)}; whole numbers (tokens) may "
            "differ in length, others may not. Pad them."
        )
    kept = np.uint8 if pa.types.is_uint8(inner) else np.int64 if whole else np.float64
    return check_features(flat.reshape(len(column), lengths[0]).astype(kept), path, row, config.feature_dtype, tokens=True)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
