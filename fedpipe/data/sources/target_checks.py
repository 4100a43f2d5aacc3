"""Checks of labels that are no classes: numbers of `task.kind=regression`, and the labels of
`multilabel`, as 0 and 1 or as lists.
"""

import datetime
import decimal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fedpipe.config.task import TaskKind
from fedpipe.data.array_types import Array, Int32s
from fedpipe.data.sources.base import Batch, Labels, Source
from fedpipe.data.sources.label_checks import (
    Values,
    check_ids,
    check_labels,
    check_marks,
    is_missing,
)
from fedpipe.data.sources.places import BatchPlace
from fedpipe.errors import DataError

SEPARATORS = (";", "|")
"""Signs between the labels in a text that names several."""
_MAX_FLOAT = float(np.finfo(np.float32).max)
_NO_NUMBERS = (str, bytes, datetime.date, datetime.time, datetime.timedelta)


class _RefusedError(Exception):
    """A value that is no target; the message says what is expected and what it is."""


def checked_batch(
    x: Array | list[Int32s],
    labels: Values | None,
    clients: Values | None,
    marks: Values | bool | None,
    place: BatchPlace,
    kind: TaskKind,
) -> Batch:
    """Return a batch whose labels, client ids and marks are checked.

    Args:
        x: features, which are checked already.
        labels: one for each example; None where the source has none.
        clients: the ids of the examples' clients, or None.
        marks: of the test split; one value for all examples, or None.
        place: where they come from, for errors.
        kind: `task.kind`.

    Raises:
        DataError: one is missing, or is none of its kind.
    """
    if isinstance(marks, bool):
        marks = np.full(len(x if labels is None else labels), marks)
    return Batch(
        x,
        labels_of_kind(labels, place, kind),
        None if clients is None else check_ids(clients, place),
        None if marks is None else check_marks(marks, place),
    )


def labels_of_kind(values: Values | None, place: BatchPlace, kind: TaskKind) -> Labels | None:
    """Return the labels of a batch, checked and converted for the kind of task.

    Args:
        values: one label, or one row of labels, for each example; None where the source has none.
        place: where they come from, for errors.
        kind: `task.kind`.

    Returns:
        Of classification and binary what `check_labels` returns; of regression float32 [n,
        targets]; of multilabel float32 [n, labels] of 0 and 1, or n lists of labels; of tokens
        None.

    Raises:
        DataError: a label is missing, or does not fit the kind; it names the row.
    """
    if kind == "tokens":
        return None
    if values is None:
        raise DataError(
            f"{place.source}: expected labels for task.kind={kind}, found none. Only "
            "task.kind=tokens has no labels."
        )
    if kind == "regression":
        return check_targets(values, place)
    if kind == "multilabel":
        return check_label_sets(values, place)
    return check_labels(values, place)


def with_labels_of_kind(source: Source, where: str, kind: TaskKind) -> Source:
    """Return a source of fedpipe's own, whose labels are classes, with its labels as another kind
    takes them.
    """

    def batches() -> Iterator[Batch]:
        row = 0
        for batch in source.batches():
            yield replace(batch, y=labels_of_kind(batch.y, BatchPlace(where, row), kind))
            row += len(batch.x)

    return replace(source, batches=batches)


def check_targets(values: Values, place: BatchPlace) -> Array:
    """Return the targets of regression, float32 [n, targets]; of one number for each example [n,
    1]. Booleans are 0 and 1.

    Raises:
        DataError: one is missing, NaN, infinite, too large for float32, a text or a date.
    """
    return _table(values, place, _number)


def check_label_sets(values: Values, place: BatchPlace) -> Array | list[list[str | int]]:
    """Return the labels of multilabel: rows of 0 and 1 as float32 [n, labels]; lists of whole
    numbers or texts, and texts such as `a;b`, as n sorted lists without repetitions.

    Lists of one length of 2 or more that hold nothing but 0, 1, true and false are rows.

    Raises:
        DataError: they are none of these, or a value is missing.
    """
    rows = list(values) if not isinstance(values, np.ndarray) or values.ndim == 1 else None
    if rows is None:
        return _table(values, place, _flag)
    if rows and all(isinstance(row, str | np.str_) for row in rows):
        return [_labels_in_text(str(row), place, number) for number, row in enumerate(rows)]
    for number, row in enumerate(rows):
        if is_missing(row):
            raise _error(place, number, "labels in every row, found none (an empty cell or null)")
        is_list = isinstance(row, list | tuple) or (isinstance(row, np.ndarray) and row.ndim == 1)
        if not is_list:
            shown = f"{row!r:.60}"
            raise _error(
                place,
                number,
                f"several labels for each example (task.kind=multilabel), found {shown}",
                "Name several columns of 0 and 1 in data.label_column, or one of lists or of texts "
                "such as a;b.",
            )
    lists = [row.tolist() if isinstance(row, np.ndarray) else list(row) for row in rows]
    lengths = {len(row) for row in lists}
    flat = {value for row in lists for value in row if isinstance(value, bool | int | float)}
    only_flags = flat <= {0, 1} and all(
        isinstance(value, bool | int | float) for row in lists for value in row
    )
    if len(lengths) == 1 and max(lengths) > 1 and only_flags:
        return np.array(lists, np.float32)
    return [_labels_in_list(row, place, number) for number, row in enumerate(lists)]


def joined_columns(columns: Sequence[Array]) -> Array:
    """Return the targets of several columns, float32 [n, 1] each, side by side."""
    return np.concatenate(columns, axis=1)


def check_flags(values: Values, place: BatchPlace) -> Array:
    """Return one label's column of 0, 1, true and false as float32 [n, 1].

    Raises:
        DataError: a value is another.
    """
    return _table(values, place, _flag)


def _table(values: Any, place: BatchPlace, convert: Any) -> Array:
    """Return `convert` of each value as float32 [n, width]."""
    table = values
    if isinstance(values, list) and set(map(type, values)) <= {float, bool}:
        table = np.array(values, np.float64)
    is_plain = isinstance(table, np.ndarray) and not isinstance(table, np.ma.MaskedArray)
    if not is_plain or table.dtype.kind not in "biuf":
        rows = [_cells(row) for row in _listed(values)]
        widths = [len(row) for row in rows]
        if len(set(widths)) > 1:
            number = next(n for n, width in enumerate(widths) if width != widths[0])
            raise _error(
                place,
                number,
                f"as many labels for each example, found {widths[number]} after {widths[0]}",
            )
        table = np.array(
            [_converted(row, place, number, convert) for number, row in enumerate(rows)],
            np.float64,
        ).reshape(len(rows), widths[0] if widths else 0)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or not table.shape[1]:
        raise DataError(
            f"{place.source}: expected a number or a row of numbers as the label of each example, "
            f"found labels of shape {list(table.shape)} from {place.row()} on."
        )
    with np.errstate(over="ignore"):
        converted = table.astype(np.float32)
    is_good = np.isfinite(converted)
    if convert is _flag:
        is_good = (table == 0) | (table == 1)
    if not is_good.all():
        number, column = (int(index) for index in np.argwhere(~is_good)[0])
        _converted([table[number, column].item()], place, number, convert)
    return np.ascontiguousarray(converted)


def _listed(values: Any) -> list[Any]:
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)  # type: ignore[no-untyped-call]
        plain = values.data.astype(object)
        plain[mask] = None
        return list(plain.tolist())
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM":
        return list(values.astype("datetime64[us]" if values.dtype.kind == "M" else values.dtype))
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _cells(row: Any) -> list[Any]:
    if hasattr(row, "__array__") and not isinstance(row, np.generic | np.ma.MaskedArray):
        row = np.asarray(row).tolist()
    if isinstance(row, list | tuple):
        return list(row)
    return [row]


def _converted(row: list[Any], place: BatchPlace, number: int, convert: Any) -> list[float]:
    try:
        return [convert(value) for value in row]
    except _RefusedError as err:
        remedy = "Fill in the value or remove the row." if any(map(is_missing, row)) else ""
        raise _error(place, number, str(err), remedy) from err


def _number(value: Any) -> float:
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        value = value.item()
    if is_missing(value):
        raise _RefusedError("a number in every row, found none (an empty cell, null or NaN)")
    if isinstance(value, _NO_NUMBERS) or not isinstance(
        value, bool | int | float | decimal.Decimal
    ):
        raise _RefusedError(
            f"labels that are numbers (task.kind=regression), found a {type(value).__name__}, "
            f"{value!r:.60},"
        )
    if not -_MAX_FLOAT <= value <= _MAX_FLOAT:
        raise _RefusedError(
            f"labels that are finite numbers of at most {_MAX_FLOAT:.3g}, found {value!r:.60}"
        )
    return float(value)


def _flag(value: Any) -> float:
    if isinstance(value, np.generic):
        value = value.item()
    if is_missing(value):
        raise _RefusedError("0 or 1 in every row, found none (an empty cell, null or NaN)")
    if not isinstance(value, bool | int | float | decimal.Decimal) or value not in (0, 1):
        raise _RefusedError(
            f"labels that are 0, 1, true or false (task.kind=multilabel), found {value!r:.60}"
        )
    return float(value)


def _labels_in_text(text: str, place: BatchPlace, number: int) -> list[str | int]:
    signs = [sign for sign in SEPARATORS if sign in text]
    if len(signs) > 1 or (not signs and "," in text):
        raise _error(
            place,
            number,
            f"labels with ; or | between them (task.kind=multilabel), found {text!r:.60}",
            "Write the same sign between all labels, or name several columns of 0 and 1 in "
            "data.label_column.",
        )
    parts = list(map(str.strip, text.split(signs[0]) if signs else [text]))
    return _labels_in_list(parts, place, number)


def _labels_in_list(row: list[Any], place: BatchPlace, number: int) -> list[str | int]:
    labels: list[str | int] = []
    for value in row:
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if is_missing(value) or isinstance(value, bool) or not isinstance(value, str | int):
            raise _error(
                place,
                number,
                "labels that are whole numbers or texts, or rows of 0 and 1 of one length "
                f"(task.kind=multilabel), found {value!r:.60} in a list",
            )
        labels.append(value)
    if len({isinstance(label, str) for label in labels}) > 1:
        raise _error(place, number, "labels of one kind, found texts and numbers in a list")
    return sorted(set(labels))


def _error(place: BatchPlace, number: int, problem: str, remedy: str = "") -> DataError:
    return DataError(
        f"{place.source}: expected {problem} at {place.row(number)}. {remedy or 'Correct it.'}"
    )
