"""What all adapters of users' own data check, and how an error in them is worded.

Rows are named as the user counts them: `first_row` is the number of the first row of a batch,
`counted_from` the number of the very first row, which every message says.
"""

import datetime
import decimal
import difflib
import math
import re
import uuid
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
_MOST_EXACT_FLOAT = 2**53
"""From here on float64 has not every whole number: two ids or labels may have become one."""
_PLAIN_TEXT = (datetime.date, datetime.time, datetime.timedelta, uuid.UUID)
_REGRESSION_HINT = (
    "A label is a class: a whole number, a text or true/false. If it is a quantity to predict, "
    "make classes of it (bins), or name another column in data.label_column."
)


class _RefusedValueError(Exception):
    """A value that is no id or no label; the message says what it is."""


def own_path(config: DataConfig, project: Path) -> Path:
    """Return `data.path`, relative to the project. Raises DataError if it is not set or nothing is
    there.
    """
    if config.path is None:
        raise DataError(
            f"data.source={config.source}: expected data.path, found null. Set it to your file or "
            "folder."
        )
    path = project / Path(config.path).expanduser()
    if not path.exists():
        raise DataError(
            f"data.path={config.path}: expected a file or folder at {path}, found nothing. "
            f"{_path_hint(config.path, path)}"
        )
    return path


def _path_hint(written: str, path: Path) -> str:
    """Return what to do about a path at which nothing is."""
    if re.match(r"[A-Za-z]:[\\/]", written) or "\\" in written:
        return (
            "It is written as on Windows: write it with / as it is on this machine (under WSL, "
            "C:\\ is /mnt/c/)."
        )
    folder = path
    while not folder.exists():
        missing = folder
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is a file. Correct the path."
    close = difflib.get_close_matches(
        missing.name, [entry.name for entry in folder.iterdir()][:10_000], n=1, cutoff=0.8
    )
    if close:
        return f"Did you mean {folder / close[0]}?"
    return (
        f"{folder} has no {missing.name}. Correct the path; a relative one starts at the folder "
        "of params.yaml."
    )


def unreadable(path: Path, what: str, err: Exception) -> DataError:
    """Return the error that `path` is not `what`, for an exception of the library that read it."""
    reason = hide(" ".join(str(err).split()))[:300].rstrip(".") or type(err).__name__
    return DataError(
        f"{path}: expected {what}, found one that is damaged, cut short or of another kind "
        f"({reason}). Replace the file."
    )


def row_name(row: int, counted_from: int = 0) -> str:
    """Return how an error names a row.

    >>> row_name(7), row_name(7, counted_from=1)
    ('row 7 (the first row is 0)', 'row 7 (the first row is 1)')
    """
    return f"row {row} (the first row is {counted_from})"


def check_ids(
    ids: Sequence[Any] | npt.NDArray[Any], path: Path | str, first_row: int, counted_from: int = 0
) -> list[str]:
    """Return the client ids as texts of 1 to 1,000 characters.

    Bytes are decoded as UTF-8; a whole float is the whole number, so 1.0 is the client `1`; other
    numbers, UUIDs and dates are written as Python writes them.

    Args:
        ids: one for each example.
        path: where they come from, for errors.
        first_row: number of the first of them, for errors.
        counted_from: number of the source's very first row, for errors.

    Raises:
        DataError: an id is missing (null, NaN, NaT, an empty text), too long, not UTF-8, or of a
            type that is no id.
    """
    values, most_exact = _listed(ids)
    return _named(
        values, lambda value: _id_of(value, most_exact), "client ids", path, first_row, counted_from
    )


def check_labels(
    labels: Sequence[Any] | npt.NDArray[Any],
    path: Path | str,
    first_row: int,
    counted_from: int = 0,
) -> npt.NDArray[Any] | list[str]:
    """Return labels as whole numbers [n] of any size, or as a list of texts that are not empty.

    Whole floats are whole numbers, booleans the texts `False` and `True`; bytes are decoded as
    UTF-8; dates and times are texts. A column [n, 1] is taken as [n].

    Args:
        labels: one for each example.
        path: where they come from, for errors.
        first_row: number of the first of them, for errors.
        counted_from: number of the source's very first row, for errors.

    Raises:
        DataError: a label is missing, no class (0.37, a list), or texts and numbers are mixed.
    """
    if not (isinstance(labels, np.ndarray) and labels.dtype.kind in "iuf"):
        labels = _column_of(labels)
    if isinstance(labels, np.ndarray) and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if isinstance(labels, np.ndarray) and labels.ndim != 1:
        hint = " One-hot rows become classes by argmax(axis=1)." if labels.ndim == 2 else ""
        raise DataError(
            f"{path}: expected one label for each example, found labels of shape "
            f"{list(labels.shape)}.{hint}"
        )
    if (
        isinstance(labels, np.ndarray)
        and labels.dtype.kind in "iu"
        and not isinstance(labels, np.ma.MaskedArray)
    ):
        return labels
    values, most_exact = _listed(labels)
    checked = _named(
        values, lambda value: _label_of(value, most_exact), "labels", path, first_row, counted_from
    )
    texts = [isinstance(value, str) for value in checked]
    if len(set(texts)) > 1:
        row = texts.index(not texts[0])
        kinds = ("a text", "a whole number")[:: 1 if texts[row] else -1]
        raise DataError(
            f"{path}: expected labels of one kind, found {kinds[0]}, {checked[row]!r}, at "
            f"{row_name(first_row + row, counted_from)} after {kinds[1]}. Write all labels in the "
            "same way."
        )
    if texts and texts[0]:
        return [str(value) for value in checked]
    numbers = np.array(checked, object)
    fits = all(-(2**63) <= value < 2**63 for value in checked)
    if fits:
        return numbers.astype(np.int64)
    return numbers


def _column_of(labels: Any) -> Any:
    """Return lists and arrays of one-element rows as one array, other sequences as they are."""
    if isinstance(labels, np.ndarray):
        return labels
    if len(labels) and isinstance(labels[0], list | tuple | np.ndarray):
        try:
            return np.asarray(labels)
        except ValueError:
            return labels
    return labels


def _listed(values: Any) -> tuple[list[Any], int]:
    """Return values as a list of Python objects, and the number up to which their floats hold every
    whole number.
    """
    most_exact = _MOST_EXACT_FLOAT
    if not isinstance(values, np.ndarray):
        return list(values), most_exact
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind == "f":
        most_exact = min(most_exact, 2 ** (np.finfo(values.dtype).nmant + 1))
    if values.dtype.kind in "mM":
        return [None if text == "NaT" else text for text in values.astype(str).tolist()], most_exact
    return list(values.tolist()), most_exact


def _named(
    values: list[Any], name_of: Any, what: str, path: Path | str, first_row: int, counted_from: int
) -> list[Any]:
    """Return `name_of(value)` of each value; where all are of one type, it is called once for each
    distinct one.
    """
    kinds = set(map(type, values))
    if len(kinds) == 1 and kinds <= {str, bytes, int, float, bool}:
        try:
            known = {value: name_of(value) for value in set(values)}
            return [known[value] for value in values]
        except _RefusedValueError:
            pass  # found again below, with its row
    named = []
    for row, value in enumerate(values, first_row):
        try:
            named.append(name_of(value))
        except _RefusedValueError as err:
            raise DataError(
                f"{path}: expected {what} {err} at {row_name(row, counted_from)}. "
                f"{_remedy(what, value)}"
            ) from err
    return named


def _remedy(what: str, value: Any) -> str:
    if _is_missing(value):
        return "Fill in the value or remove the row."
    if what == "labels" and isinstance(value, float | decimal.Decimal):
        return _REGRESSION_HINT
    return "Correct it."


def _is_missing(value: Any) -> bool:
    """Return whether a value stands for no value: None, NaN, NaT, pandas' NA, a text or bytes of
    length 0.
    """
    if value is None or (isinstance(value, str | bytes | bytearray) and not value):
        return True
    if type(value).__name__ in ("NaTType", "NAType", "MaskedConstant"):
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return isinstance(value, decimal.Decimal) and value.is_nan()


def _plain(value: Any, most_exact: int) -> str | int | bool | float | None:
    """Return a value as a text, a whole number, a boolean or a float that is no whole number; None
    if it is none of these.

    Raises:
        _RefusedValueError: it is missing, or its text cannot be read.
    """
    if hasattr(value, "__array__") and not isinstance(value, np.generic | np.ma.MaskedArray):
        array = np.asarray(value)  # a tensor
        value = array[()] if not array.ndim else value
    if isinstance(value, np.generic):
        if isinstance(value, np.floating):
            most_exact = min(most_exact, 2 ** (np.finfo(value.dtype).nmant + 1))
        value = (
            str(value)
            if value.dtype.kind in "mM" and not np.isnat(value)
            else value.item()
            if value.dtype.kind not in "mM"
            else None
        )
    if _is_missing(value):
        raise _RefusedValueError("in every row, found none (an empty cell, null or NaN)")
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError as err:
            raise _RefusedValueError(
                f"that are texts in UTF-8, found the bytes {bytes(value)[:20]!r}"
            ) from err
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | decimal.Decimal) and math.isfinite(value) and value == int(value):
        if isinstance(value, float) and abs(value) > most_exact:
            raise _RefusedValueError(
                f"that are told apart, found {value!r}, a float so large that its neighbours have "
                "become the same number; save the column as whole numbers or texts,"
            )
        return int(value)
    if isinstance(value, float | decimal.Decimal):
        return float(value)
    if isinstance(value, _PLAIN_TEXT):
        return str(value)
    return None


def _id_of(value: Any, most_exact: int) -> str:
    if isinstance(value, str | bytes) and not value:
        raise _RefusedValueError(f"of 1 to {MOST_ID_CHARACTERS} characters, found 0")
    if isinstance(value, str | bytes) and not value.strip():
        raise _RefusedValueError("that name a client, found one of spaces alone,")
    plain = _plain(value, most_exact)
    if plain is None or (isinstance(plain, float) and math.isinf(plain)):
        raise _RefusedValueError(f"that are texts or whole numbers, found {_shown(value)}")
    name = str(plain)
    if len(name) > MOST_ID_CHARACTERS:
        raise _RefusedValueError(f"of 1 to {MOST_ID_CHARACTERS} characters, found {len(name)}")
    try:
        name.encode()
    except UnicodeEncodeError as err:
        raise _RefusedValueError("that UTF-8 can write, found another") from err
    return name


def _label_of(value: Any, most_exact: int) -> str | int:
    plain = _plain(value, most_exact)
    if plain is None or isinstance(plain, float):
        raise _RefusedValueError(
            f"that are whole numbers, texts or true/false, found {_shown(value)}"
        )
    if isinstance(plain, bool):
        return str(plain)
    if isinstance(plain, str):
        try:
            plain.encode()
        except UnicodeEncodeError as err:
            raise _RefusedValueError("that UTF-8 can write, found another") from err
    return plain


def _shown(value: Any) -> str:
    if isinstance(value, float | decimal.Decimal | complex):
        return f"{value!r:.60}"
    return f"a {type(value).__name__}, {value!r:.60}"


def check_features(
    x: npt.NDArray[Any],
    path: Path | str,
    first_row: int,
    wanted: str = "auto",
    tokens: bool = False,
    counted_from: int = 0,
) -> npt.NDArray[Any]:
    """Return features as `data.feature_dtype` wants them; with `auto` uint8 stays, and other
    numbers become float32.

    Args:
        x: numbers [n, ...].
        path: where they come from, for errors.
        first_row: number of the first of them, for errors.
        wanted: `data.feature_dtype`.
        tokens: with `auto`, whole numbers become int32.
        counted_from: number of the source's very first row, for errors.

    Raises:
        DataError: they are no numbers, or NaN, infinite, or do not fit the dtype.
    """
    if x.dtype.kind not in "biuf":
        hint = (
            " Convert them, for example with astype(numpy.float32)."
            if x.dtype.kind in "OUSc"
            else ""
        )
        raise DataError(
            f"{path}: expected features that are numbers, found {x.dtype} of shape {x.shape[1:]} "
            f"from {row_name(first_row, counted_from)} on.{hint}"
        )
    if x.ndim < 2 or 0 in x.shape[1:]:
        hint = (
            " One feature for each example is an array [n, 1]: x[:, None]." if x.ndim == 1 else ""
        )
        raise DataError(
            f"{path}: expected features [examples, ...] with values, found an array of shape "
            f"{list(x.shape)} from {row_name(first_row, counted_from)} on.{hint}"
        )
    kind = (
        wanted
        if wanted != "auto"
        else "uint8"
        if x.dtype == np.uint8
        else "int32"
        if tokens and x.dtype.kind in "iu"
        else "float32"
    )
    if kind != "float32":
        return _whole(x, np.dtype(kind), path, first_row, counted_from)
    with np.errstate(over="ignore"):
        values = x.astype(np.float32, copy=False)
    broken = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(broken):
        row = x[int(broken[0])].reshape(-1)
        place = int(np.flatnonzero(~np.isfinite(values[int(broken[0])].reshape(-1)))[0])
        raise DataError(
            f"{path}: expected finite features, found {_not_finite(row[place])} at "
            f"{row_name(first_row + int(broken[0]), counted_from)}, value {place} of {len(row)}. "
            "Correct or remove it."
        )
    return values


def _not_finite(value: Any) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "infinity"
    return f"{float(value):g}, a number too large for float32,"


def check_sequences(
    rows: Sequence[Any], path: Path | str, first_row: int, counted_from: int = 0
) -> list[npt.NDArray[np.int32]]:
    """Return sequences of differing length as int32 tokens; a text becomes its UTF-8 bytes, each
    plus one.

    Raises:
        DataError: one is empty, or holds anything but whole numbers from 1: 0 pads.
    """
    found = []
    for row, one in enumerate(rows, first_row):
        values = (
            np.frombuffer(one.encode(), np.uint8).astype(np.int32) + 1
            if isinstance(one, str)
            else np.asarray(one)
        )
        if (
            values.ndim != 1
            or not len(values)
            or values.dtype.kind not in "iu"
            or values.min() < 1
            or values.max() > _MOST_INT32
        ):
            raise DataError(
                f"{path}: expected a sequence of whole numbers from 1 (0 pads), found "
                f"{values.dtype} of shape {values.shape} or a number below 1 at "
                f"{row_name(row, counted_from)}. Correct it."
            )
        found.append(values.astype(np.int32))
    return found


def _whole(
    x: npt.NDArray[Any], dtype: np.dtype[Any], path: Path | str, first_row: int, counted_from: int
) -> npt.NDArray[Any]:
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
            f"{path}: expected features that fit {dtype}, found others at "
            f"{row_name(first_row + int(broken[0]), counted_from)}. Correct them, or set "
            "data.feature_dtype."
        )
    return x.astype(dtype)


def check_marks(
    marks: Sequence[Any] | npt.NDArray[Any], path: Path | str, first_row: int, counted_from: int = 0
) -> npt.NDArray[np.bool_]:
    """Return marks of the test split as bool [n]: booleans, numbers that are 0 or 1, or the texts
    `train` and `test`.

    Raises:
        DataError: they are none of these.
    """
    values = np.asarray(marks)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1 and values.dtype.kind in "biuf" and bool(np.isin(values, (0, 1)).all()):
        return values.astype(np.bool_)
    if values.ndim == 1 and values.dtype.kind in "OU":
        return check_tests(values.tolist(), path, first_row, counted_from)
    raise DataError(
        f"{path}: expected true or false for each example as the mark of the test split, found "
        f"{values.dtype} of shape {list(values.shape)} from {row_name(first_row, counted_from)} "
        "on. Convert it to bool."
    )


def check_tests(
    marks: Sequence[Any], path: Path | str, first_row: int, counted_from: int = 0
) -> npt.NDArray[np.bool_]:
    """Return true where the mark is `test`, false where it is `train`. Raises DataError for any
    other.
    """
    for row, mark in enumerate(marks, first_row):
        if mark not in ("train", "test"):
            raise DataError(
                f"{path}: expected train or test in the column split, found {str(mark)[:50]!r} at "
                f"{row_name(row, counted_from)}. Correct it."
            )
    return np.array([mark == "test" for mark in marks], np.bool_)
