"""Checks of labels, client ids and marks of the test split: what each value becomes, and which are
refused.
"""

import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from fedpipe.data.array_types import Array, Bools
from fedpipe.data.sources.places import BatchPlace
from fedpipe.errors import DataError

MAX_ID_CHARACTERS = 1000
_MAX_EXACT_FLOAT = 2**53
"""From here on float64 has not every whole number: two ids or labels may have become one."""
_TEXT_TYPES = (datetime.date, datetime.time, datetime.timedelta, uuid.UUID)
_REGRESSION_HINT = (
    "A label is a class: a whole number, a text or true/false. If it is a quantity to predict, "
    "set task.kind=regression; else make classes of it (bins), or name another column in "
    "data.label_column."
)

Values = Sequence[Any] | Array


class _RefusedValueError(Exception):
    """A value that is no id or no label; the message says what it is."""


def check_ids(ids: Values, place: BatchPlace) -> list[str]:
    """Return the client ids as texts of 1 to 1,000 characters.

    Bytes are decoded as UTF-8; a whole float is the whole number, so 1.0 is the client `1`; other
    numbers, UUIDs and dates are written as Python writes them.

    Args:
        ids: one for each example.
        place: where they come from, for errors.

    Raises:
        DataError: an id is missing (null, NaN, NaT, an empty text), too long, not UTF-8, or of a
            type that is no id.
    """
    return _convert(_first_column(ids), _id_of, "client ids", place)


def check_labels(labels: Values, place: BatchPlace) -> Array | list[str]:
    """Return labels as whole numbers [n] of any size, or as a list of texts that are not empty.

    Whole floats are whole numbers, booleans the texts `False` and `True`; bytes are decoded as
    UTF-8; dates and times are texts. A column [n, 1] is taken as [n].

    Args:
        labels: one for each example.
        place: where they come from, for errors.

    Raises:
        DataError: a label is missing, no class (0.37, a list), or texts and numbers are mixed.
    """
    is_list = not isinstance(labels, np.ndarray) and len(labels)
    if is_list and isinstance(labels[0], list | tuple | np.ndarray):
        with suppress(ValueError):  # of differing length: each row is refused as a label
            labels = np.asarray(labels)
    labels = _first_column(labels)
    if isinstance(labels, np.ndarray):
        if labels.ndim != 1:
            hint = " One-hot rows become classes by argmax(axis=1)." if labels.ndim == 2 else ""
            raise DataError(
                f"{place.source}: expected one label for each example, found labels of shape "
                f"{list(labels.shape)}.{hint}"
            )
        if labels.dtype.kind in "iu" and not isinstance(labels, np.ma.MaskedArray):
            return labels
    checked = _convert(labels, _label_of, "labels", place)
    is_text = [isinstance(value, str) for value in checked]
    if len(set(is_text)) > 1:
        row = is_text.index(not is_text[0])
        kinds = ("a text", "a whole number")[:: 1 if is_text[row] else -1]
        raise DataError(
            f"{place.source}: expected labels of one kind, found {kinds[0]}, {checked[row]!r}, at "
            f"{place.row(row)} after {kinds[1]}. Write all labels in the same way."
        )
    if any(is_text):
        return checked
    numbers = np.array(checked, object)
    if all(-(2**63) <= value < 2**63 for value in checked):
        return numbers.astype(np.int64)
    return numbers


def _first_column(values: Any) -> Any:
    """Return an array [n, 1] as [n], other values as they are."""
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    return values


def _convert(
    values: Any, convert: Callable[[Any, int], Any], kind: str, place: BatchPlace
) -> list[Any]:
    """Return `convert(value, max_exact)` of each value; where all are of one type, it is called
    once for each distinct one. `max_exact` is the number up to which floats hold every whole
    number.
    """
    max_exact = _MAX_EXACT_FLOAT
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "f":
            max_exact = min(max_exact, _max_exact(values.dtype))
        if values.dtype.kind in "mM":
            values = values.astype(str).astype(object)
            values[values == "NaT"] = None
        values = values.tolist()
    types = set(map(type, values))
    if len(types) == 1 and types <= {str, bytes, int, float, bool}:
        try:
            converted = {value: convert(value, max_exact) for value in set(values)}
            return [converted[value] for value in values]
        except _RefusedValueError:
            pass  # the loop below finds its row
    results = []
    for row, value in enumerate(values):
        try:
            results.append(convert(value, max_exact))
        except _RefusedValueError as err:
            raise DataError(
                f"{place.source}: expected {kind} {err} at {place.row(row)}. {_remedy(kind, value)}"
            ) from err
    return results


def _max_exact(dtype: np.dtype[Any]) -> int:
    return int(2 ** (np.finfo(dtype).nmant + 1))


def _remedy(kind: str, value: Any) -> str:
    if is_missing(value):
        return "Fill in the value or remove the row."
    if kind == "labels" and isinstance(value, float | decimal.Decimal):
        return _REGRESSION_HINT
    return "Correct it."


def is_missing(value: Any) -> bool:
    """Return whether a value means "missing": None, NaN, NaT, pandas' NA, a text or bytes of
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


def _plain(value: Any, max_exact: int) -> str | int | bool | float | None:
    """Return a value as a text, a whole number, a boolean or a float that is no whole number; None
    if it is none of these.

    Raises:
        _RefusedValueError: it is missing, or its text cannot be read.
    """
    if hasattr(value, "__array__") and not isinstance(value, np.generic | np.ma.MaskedArray):
        array = np.asarray(value)  # a tensor
        value = array[()] if not array.ndim else value
    if isinstance(value, np.floating):
        max_exact = min(max_exact, _max_exact(value.dtype))
    if isinstance(value, np.datetime64 | np.timedelta64):
        value = None if np.isnat(value) else str(value)
    elif isinstance(value, np.generic):
        value = value.item()
    if is_missing(value):
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
    if isinstance(value, float | decimal.Decimal):
        if not math.isfinite(value) or value != int(value):
            return float(value)
        if isinstance(value, float) and abs(value) > max_exact:
            raise _RefusedValueError(
                f"that are told apart, found {value!r}, a float so large that its neighbours have "
                "become the same number; save the column as whole numbers or texts,"
            )
        return int(value)
    if isinstance(value, _TEXT_TYPES):
        return str(value)
    return None


def _id_of(value: Any, max_exact: int) -> str:
    if isinstance(value, str | bytes) and not value:
        raise _RefusedValueError(f"of 1 to {MAX_ID_CHARACTERS} characters, found 0")
    if isinstance(value, str | bytes) and not value.strip():
        raise _RefusedValueError("that name a client, found one of spaces alone,")
    plain = _plain(value, max_exact)
    if plain is None or (isinstance(plain, float) and math.isinf(plain)):
        raise _RefusedValueError(f"that are texts or whole numbers, found {_shown(value)}")
    name = str(plain)
    if len(name) > MAX_ID_CHARACTERS:
        raise _RefusedValueError(f"of 1 to {MAX_ID_CHARACTERS} characters, found {len(name)}")
    return _utf8(name)


def _label_of(value: Any, max_exact: int) -> str | int:
    plain = _plain(value, max_exact)
    if plain is None or isinstance(plain, float):
        raise _RefusedValueError(
            f"that are whole numbers, texts or true/false, found {_shown(value)}"
        )
    if isinstance(plain, bool):
        return str(plain)
    if isinstance(plain, str):
        return _utf8(plain)
    return plain


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise _RefusedValueError("that UTF-8 can write, found another") from err
    return text


def _shown(value: Any) -> str:
    if isinstance(value, float | decimal.Decimal | complex):
        return f"{value!r:.60}"
    return f"a {type(value).__name__}, {value!r:.60}"


def check_marks(marks: Values, place: BatchPlace) -> Bools:
    """Return marks of the test split as bool [n]: booleans, numbers that are 0 or 1, or the texts
    `train` and `test`.

    Raises:
        DataError: they are none of these.
    """
    values = _first_column(np.asarray(marks))
    if values.ndim == 1 and values.dtype.kind in "biuf" and bool(np.isin(values, (0, 1)).all()):
        return np.asarray(values, np.bool_)
    if values.ndim == 1 and values.dtype.kind in "OU":
        return check_split_names(values.tolist(), place)
    raise DataError(
        f"{place.source}: expected true or false for each example as the mark of the test split, "
        f"found {values.dtype} of shape {list(values.shape)} from {place.row()} on. Convert it to "
        "bool."
    )


def check_split_names(names: Sequence[Any], place: BatchPlace) -> Bools:
    """Return true where the name is `test`, false where it is `train`. Raises DataError for any
    other.
    """
    for row, name in enumerate(names):
        if name not in ("train", "test"):
            raise DataError(
                f"{place.source}: expected train or test in the column split, found "
                f"{str(name)[:50]!r} at {place.row(row)}. Correct it."
            )
    return np.array([name == "test" for name in names], np.bool_)
