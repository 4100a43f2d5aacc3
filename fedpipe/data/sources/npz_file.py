"""Source `npz`: NumPy arrays in one file, `x`, the labels, the clients and, if there is one,
`is_test`. No pickle is read.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.feature_checks import check_features
from fedpipe.data.sources.places import BATCH_ROWS, BatchPlace, own_path, unreadable
from fedpipe.data.sources.target_checks import checked_batch
from fedpipe.errors import DataError, shorten

FEATURES = "x"
TESTS = "is_test"


def open_npz(config: DataConfig, project: Path, kind: TaskKind = "classification") -> Source:
    """Return the examples of an NPZ file: `x` [n, ...], `data.label_column` [n],
    `data.client_column` [n], `is_test` bool [n].

    Of regression and multilabel the labels are [n, targets], or several arrays [n].

    The arrays are read whole: a file that unpacks to more than `data.memory_limit_mb` is refused
    before it is unpacked.

    Raises:
        DataError: the file is not there, is no NPZ file, lacks an array, or is too large.
    """
    path = own_path(config, project)
    return Source(lambda: _batches(config, path, kind))


def read_features(config: DataConfig, path: Path) -> Any:
    """Return the array `x` of an NPZ file, which needs no other. Raises DataError as `open_npz`
    and its batches do.
    """
    x = _read(config, path, [FEATURES])[FEATURES]
    return check_features(x, BatchPlace(path), config.feature_dtype, tokens=True)


def _batches(config: DataConfig, path: Path, kind: TaskKind) -> Iterator[Batch]:
    names = [FEATURES, *config.label_columns]
    if config.client_column:
        names.append(config.client_column)
    arrays = _read(config, path, names)
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"{path}: expected arrays of one length, found {lengths}. Save them again.")
    for start in range(0, lengths[FEATURES], BATCH_ROWS):
        rows = slice(start, start + BATCH_ROWS)
        place = BatchPlace(path, start)
        part = {name: array[rows] for name, array in arrays.items()}
        yield checked_batch(
            check_features(part[FEATURES], place, config.feature_dtype, tokens=True),
            _labels(config, part, path),
            part.get(config.client_column or ""),
            part.get(TESTS),
            place,
            kind,
        )


def _labels(config: DataConfig, arrays: dict[str, Any], path: Path) -> Any:
    """Return the labels, several arrays [n] side by side; None where there are none."""
    columns = [arrays[name] for name in config.label_columns]
    if len(columns) < 2:
        return columns[0] if columns else None
    wrong = [name for name in config.label_columns if arrays[name].ndim != 1]
    if wrong:
        raise DataError(
            f"{path}: expected arrays [n] in data.label_column={list(config.label_columns)}, found "
            f"{wrong[0]} of shape {list(arrays[wrong[0]].shape)}. Name one array [n, targets], or "
            "arrays of one number for each example."
        )
    return np.stack(columns, axis=1)


def _read(config: DataConfig, path: Path, names: list[str]) -> dict[str, Any]:
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
            if not set(names) <= set(file.files):
                raise DataError(
                    f"{path}: expected the arrays {shorten(names)}, found {shorten(file.files)}. "
                    "Name yours in data.client_column and data.label_column."
                )
            return {name: file[name] for name in [*names, TESTS] if name in file.files}
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
    except DataError:
        raise
    except Exception as err:  # zlib.error, LZMAError, TokenError: NumPy, of a damaged member
        raise unreadable(path, "an NPZ file", err) from err
