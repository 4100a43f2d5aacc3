"""Checks of features: finite numbers of the dtype that `data.feature_dtype` asks for, or sequences
of tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Array, Bools, Int32s
from fedpipe.data.sources.places import BatchPlace
from fedpipe.data.sources.table import ignore_setting
from fedpipe.errors import DataError


def check_features(x: Array, place: BatchPlace, dtype: str = "auto", tokens: bool = False) -> Array:
    """Return features as `data.feature_dtype` says; with `auto` uint8 stays, and other numbers
    become float32.

    Args:
        x: numbers [n, ...].
        place: where they come from, for errors.
        dtype: `data.feature_dtype`.
        tokens: with `auto`, whole numbers become int32.

    Raises:
        DataError: they are no numbers, or NaN, infinite, or do not fit the dtype.
    """
    if x.dtype.kind not in "biuf":
        hint = ""
        if x.dtype.kind in "OUSc":
            hint = " Convert them, for example with astype(numpy.float32)."
        raise DataError(
            f"{place.source}: expected features that are numbers, found {x.dtype} of shape "
            f"{x.shape[1:]} from {place.row()} on.{hint}"
        )
    if x.ndim < 2 or 0 in x.shape[1:]:
        hint = ""
        if x.ndim == 1:
            hint = " One feature for each example is an array [n, 1]: x[:, None]."
        raise DataError(
            f"{place.source}: expected features [examples, ...] with values, found an array of "
            f"shape {list(x.shape)} from {place.row()} on.{hint}"
        )
    kind = _resolved(dtype, x.dtype, tokens)
    if kind != "float32":
        return _whole(x, np.dtype(kind), place)
    with np.errstate(over="ignore"):
        values = x.astype(np.float32, copy=False)
    row = _first_row(~np.isfinite(values))
    if row is not None:
        column = int(np.argmin(np.isfinite(values[row].reshape(-1))))
        raise DataError(
            f"{place.source}: expected finite features, found "
            f"{_not_finite(x[row].reshape(-1)[column])} at {place.row(row)}, value {column} of "
            f"{x[row].size}. Correct or remove it."
        )
    return values


def _resolved(dtype: str, given: np.dtype[Any], tokens: bool) -> str:
    if dtype != "auto":
        return dtype
    if given == np.uint8:
        return "uint8"
    if tokens and given.kind in "iu":
        return "int32"
    return "float32"


def _first_row(wrong: Bools) -> int | None:
    """Return the first row with a true value, None if there is none."""
    rows = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))
    return int(rows[0]) if len(rows) else None


def _not_finite(value: Any) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "infinity"
    return f"{float(value):g}, a number too large for float32,"


def _whole(x: Array, dtype: np.dtype[Any], place: BatchPlace) -> Array:
    if x.dtype == dtype:
        return x
    row = _first_row(_unfit(x, dtype))
    if row is not None:
        raise DataError(
            f"{place.source}: expected features that fit {dtype}, found others at "
            f"{place.row(row)}. Correct them, or set data.feature_dtype."
        )
    return x.astype(dtype)


def _unfit(x: Array, dtype: np.dtype[Any]) -> Bools:
    """Return which numbers a dtype of features cannot hold."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(~np.isfinite(x.astype(dtype)))
    limits = np.iinfo(dtype)
    with np.errstate(invalid="ignore"):
        fits = (x >= limits.min) & (x <= limits.max)
        if x.dtype.kind == "f":
            fits &= x == np.trunc(x)
    return np.asarray(~fits)


def check_columns(config: DataConfig, names: Sequence[str], x: Array, place: BatchPlace) -> Array:
    """Return `check_features` of columns of numbers [n, columns]; its errors name the column and
    the value.
    """
    try:
        return check_features(x, place, config.feature_dtype)
    except DataError as err:
        if x.ndim != 2 or x.dtype.kind not in "biuf":
            raise
        dtype = np.dtype(_resolved(config.feature_dtype, np.dtype(np.float32), tokens=False))
        wrong = np.argwhere(_unfit(x, dtype))
        if not len(wrong):
            raise
        row, column = wrong[0].tolist()
        value = x[row, column].item()
        expected = "a finite number that fits float32"
        if dtype.kind != "f":
            limits = np.iinfo(dtype)
            expected = (
                f"a whole number from {limits.min} to {limits.max}, as "
                f"data.feature_dtype={dtype} says"
            )
        shown = "no value (NaN)" if np.isnan(value) else value
        raise DataError(
            f"{place.source}: {place.row(row)}, column {names[column]}: expected {expected}, "
            f"found {shown}. Correct the value, remove the row, or leave the column out: "
            f"{ignore_setting([names[column]])}."
        ) from err


def check_sequences(rows: Sequence[Any], place: BatchPlace) -> list[Int32s]:
    """Return sequences of differing length as int32 tokens; a text becomes its UTF-8 bytes, each
    plus one.

    Raises:
        DataError: one is empty, or holds anything but whole numbers from 1: 0 pads.
    """
    sequences = []
    for row, sequence in enumerate(rows):
        if isinstance(sequence, str):
            sequence = np.frombuffer(sequence.encode(), np.uint8).astype(np.int32) + 1
        tokens = np.asarray(sequence)
        is_sequence = tokens.ndim == 1 and tokens.size and tokens.dtype.kind in "iu"
        if not is_sequence or tokens.min() < 1 or tokens.max() > np.iinfo(np.int32).max:
            raise DataError(
                f"{place.source}: expected a sequence of whole numbers from 1 (0 pads), found "
                f"{tokens.dtype} of shape {tokens.shape} or a number below 1 at "
                f"{place.row(row)}. Correct it."
            )
        sequences.append(tokens.astype(np.int32))
    return sequences
