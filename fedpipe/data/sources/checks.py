"""What all adapters of users' own files check, and how an error in one is worded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.errors import DataError
from fedpipe.redact import hide

BATCH_ROWS = 4096
MOST_ID_CHARACTERS = 1000
_MOST_INT32 = np.iinfo(np.int32).max


def own_path(config: DataConfig, project: Path) -> Path:
    """Return `data.path`, relative to the project. Raises DataError if it is not set or nothing is there."""
    if config.path is None:
        raise DataError(f"data.source={config.source}: expected data.path, found null. Set it to your file or folder.")
    path = project / Path(config.path).expanduser()
    if not path.exists():
        raise DataError(f"data.path={config.path}: expected a file or folder at {path}, found nothing. Correct the path.")
    return path


def unreadable(path: Path, what: str, err: Exception) -> DataError:
    """Return the error that `path` is not `what`, for an exception of the library that read it."""
    return DataError(f"{path}: expected {what}, found {type(err).__name__}: {hide(' '.join(str(err).split()))[:300]}. Mend or replace it.")


def check_ids(ids: Sequence[Any], path: Path, first_row: int) -> list[str]:
    """Return the client ids as strings.

    Any text of 1 to 1,000 characters that UTF-8 can write is an id. Raises DataError for anything else.
    """
    names = []
    for row, one in enumerate(ids, first_row):
        name = one if isinstance(one, str) else "" if one is None else str(one)
        if not name or len(name) > MOST_ID_CHARACTERS:
            raise DataError(
                f"{path}: expected client ids of 1 to {MOST_ID_CHARACTERS} characters, found {len(name)} at row {row}. Correct it."
            )
        names.append(name)
    try:
        "\0".join(names).encode()
    except UnicodeEncodeError as err:
        raise DataError(f"{path}: expected client ids that UTF-8 can write, found others from row {first_row} on. Correct them.") from err
    return names


def check_labels(labels: Sequence[Any] | npt.NDArray[Any], path: Path, first_row: int) -> npt.NDArray[np.int32] | list[str]:
    """Return labels as int32 numbers from 0, or as a list of strings that are not empty. Raises DataError for anything else."""
    values = np.asarray(labels)
    if values.ndim == 1 and values.dtype.kind in "iu":
        if len(values) and (int(values.min()) < 0 or int(values.max()) > np.iinfo(np.int32).max):
            raise DataError(
                f"{path}: expected labels from 0, found {values.min()} to {values.max()} from row {first_row} on. Correct them."
            )
        return values.astype(np.int32)
    if values.ndim == 1 and values.dtype.kind in "OU" and all(isinstance(one, str) and one for one in values.tolist()):
        return [str(one) for one in values.tolist()]
    raise DataError(
        f"{path}: expected labels that are whole numbers from 0, or texts, found {values.dtype} of shape {values.shape} or an empty one "
        f"from row {first_row} on. Correct them."
    )


def check_features(x: npt.NDArray[Any], path: Path, first_row: int, wanted: str = "auto", tokens: bool = False) -> npt.NDArray[Any]:
    """Return features as `data.feature_dtype` wants them; with `auto` uint8 stays, and other numbers become float32.

    Args:
        x: numbers [n, ...].
        path: file, for errors.
        first_row: number of the first of them, for errors.
        wanted: `data.feature_dtype`.
        tokens: with `auto`, whole numbers become int32.

    Raises:
        DataError: they are no numbers, or NaN, infinite, or do not fit the dtype.
    """
    if x.dtype.kind not in "biuf" or x.ndim < 2 or 0 in x.shape[1:]:
        raise DataError(f"{path}: expected features that are numbers, found {x.dtype} of shape {x.shape[1:]} from row {first_row} on.")
    kind = wanted if wanted != "auto" else "uint8" if x.dtype == np.uint8 else "int32" if tokens and x.dtype.kind in "iu" else "float32"
    if kind != "float32":
        return _whole(x, np.dtype(kind), path, first_row)
    with np.errstate(over="ignore"):
        values = x.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(broken):
        raise DataError(
            f"{path}: expected finite features, found NaN, infinity or a number too large for float32 at row {first_row + int(broken[0])}. "
            "Correct or remove it."
        )
    return values


def check_sequences(rows: Sequence[Any], path: Path, first_row: int) -> list[npt.NDArray[np.int32]]:
    """Return sequences of differing length as int32 tokens; a text becomes its UTF-8 bytes, each plus one.

    Raises:
        DataError: one is empty, or holds anything but whole numbers from 1: 0 pads.
    """
    found = []
    for row, one in enumerate(rows, first_row):
        values = np.frombuffer(one.encode(), np.uint8).astype(np.int32) + 1 if isinstance(one, str) else np.asarray(one)
        if values.ndim != 1 or not len(values) or values.dtype.kind not in "iu" or values.min() < 1 or values.max() > _MOST_INT32:
            raise DataError(
                f"{path}: expected a sequence of whole numbers from 1 (0 pads), found {values.dtype} of shape {values.shape} or a number "
                f"below 1 at row {row}. Correct it."
            )
        found.append(values.astype(np.int32))
    return found


def _whole(x: npt.NDArray[Any], dtype: np.dtype[Any], path: Path, first_row: int) -> npt.NDArray[Any]:
    if x.dtype == dtype:
        return x
    limits = np.iinfo(dtype)
    fits = (
        np.isfinite(x) & (x >= limits.min) & (x <= limits.max) & (x == np.trunc(x))
        if x.dtype.kind == "f"
        else ((x >= limits.min) & (x <= limits.max))
    )
    broken = np.flatnonzero(~fits.reshape(len(x), -1).all(axis=1))
    if len(broken):
        raise DataError(
            f"{path}: expected features that fit {dtype}, found others at row {first_row + int(broken[0])}. Correct them, or set "
            "data.feature_dtype."
        )
    return x.astype(dtype)


def check_tests(marks: Sequence[Any], path: Path, first_row: int) -> npt.NDArray[np.bool_]:
    """Return true where the mark is `test`, false where it is `train`. Raises DataError for any other."""
    for row, mark in enumerate(marks, first_row):
        if mark not in ("train", "test"):
            raise DataError(f"{path}: expected train or test in the column split, found {str(mark)[:50]!r} at row {row}. Correct it.")
    return np.array([mark == "test" for mark in marks], np.bool_)
