"""Source `npz`: NumPy arrays in one file, `x`, the labels, the clients and, if there is one,
`is_test`. No pickle is read.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.checks import (
    BATCH_ROWS,
    check_features,
    check_ids,
    check_labels,
    check_marks,
    own_path,
    unreadable,
)
from fedpipe.errors import DataError, shorten

FEATURES = "x"
TESTS = "is_test"


def open_npz(config: DataConfig, project: Path) -> Source:
    """Return the examples of an NPZ file: `x` [n, ...], `data.label_column` [n],
    `data.client_column` [n], `is_test` bool [n].

    The arrays are read whole: a file that unpacks to more than `data.memory_limit_mb` is refused
    before it is unpacked.

    Raises:
        DataError: the file is not there, is no NPZ file, lacks an array, or is too large.
    """
    path = own_path(config, project)
    return Source(lambda: _batches(config, path))


def read_features(config: DataConfig, path: Path) -> Any:
    """Return the array `x` of an NPZ file, whatever else is in it. Raises DataError as `open_npz`
    and its batches do.
    """
    x = _read(config, path, [FEATURES])[FEATURES]
    return check_features(x, path, 0, config.feature_dtype, tokens=True)


def _batches(config: DataConfig, path: Path) -> Iterator[Batch]:
    arrays = _read(
        config,
        path,
        [FEATURES, config.label_column, *([config.client_column] if config.client_column else [])],
    )
    x = arrays[FEATURES]
    y = arrays[config.label_column]
    clients = arrays[config.client_column] if config.client_column else None
    tests = arrays.get(TESTS)
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"{path}: expected arrays of one length, found {lengths}. Save them again.")
    for start in range(0, len(x), BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        yield Batch(
            check_features(x[part], path, start, config.feature_dtype, tokens=True),
            check_labels(y[part], path, start),
            None if clients is None else check_ids(clients[part], path, start),
            None if tests is None else check_marks(tests[part], path, start),
        )


def _read(config: DataConfig, path: Path, wanted: list[str]) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > config.memory_limit_mb * 1_000_000:
            raise DataError(
                f"{path}: expected arrays of at most "
                f"data.memory_limit_mb={config.memory_limit_mb}, found {size / 1e6:.0f} MB when "
                "unpacked. Raise the limit, or use parquet, which is read in parts."
            )
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in wanted if name not in file.files]
            if missing:
                raise DataError(
                    f"{path}: expected the arrays {shorten(wanted)}, found {shorten(file.files)}. "
                    "Name yours in data.client_column and data.label_column."
                )
            return {
                name: file[name] for name in [*wanted, *([TESTS] if TESTS in file.files else [])]
            }
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
        SyntaxError,
        MemoryError,
        RuntimeError,
    ) as err:
        if "Object arrays" in str(err):
            raise DataError(
                f"{path}: expected an NPZ file without pickled objects, found an array of dtype "
                "object. Save it as numbers, or as texts with astype(str)."
            ) from err
        raise unreadable(path, "an NPZ file without pickled objects", err) from err
    except Exception as err:  # zlib.error, lzma.LZMAError, tokenize.TokenError: what a damaged member makes of NumPy's reader
        if isinstance(err, DataError):
            raise
        raise unreadable(path, "an NPZ file", err) from err
