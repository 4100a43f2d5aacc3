"""Classifies the texts of cells as numbers, truth values, missing or texts, and columns by them.

The type of a column follows from all of its cells, never from their order.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

MISSING = frozenset(
    {
        "",
        "na",
        "n/a",
        "nan",
        "-nan",
        "null",
        "none",
        "<na>",
        "#n/a",
        "#na",
        "nat",
        "?",
        "-",
        ".",
        "missing",
        "nil",
    },
)
"""Texts, in lower case, that stand for no value in a column whose other cells are numbers or truth
values.
"""

_WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
_WHOLE_FLOAT = re.compile(r"[+-]?(0|[1-9]\d*)\.0*", re.ASCII)
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}([ ,.'\u00a0\u202f]\d{3})+([.,]\d+)?")
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_POINT_NUMBER = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")


_SWAPPED_SIGNS = str.maketrans(",.", ".,")


class CellKind(StrEnum):
    """What a cell, or a whole column, holds."""

    WHOLE = "whole numbers"
    WHOLE_FLOAT = "whole numbers written as 1.0"
    NUMBER = "numbers"
    FLAG = "true/false"
    TEXT = "texts"
    MISSING = "no values"


NUMBER_KINDS = frozenset((CellKind.WHOLE, CellKind.WHOLE_FLOAT, CellKind.NUMBER))


def kind_of_cell(text: str, decimal: str = ".") -> CellKind:
    """Return what one cell holds.

    >>> [kind_of_cell(text).name for text in ("7", "1.0", "0.5", "007", "TRUE", "nan", "a")]
    ['WHOLE', 'WHOLE_FLOAT', 'NUMBER', 'TEXT', 'FLAG', 'MISSING', 'TEXT']
    """
    plain = text.strip()
    if plain.lower() in MISSING:
        return CellKind.MISSING
    if _WHOLE.fullmatch(plain):
        return CellKind.WHOLE
    number = _with_point(plain, decimal)
    if _WHOLE_FLOAT.fullmatch(number):
        return CellKind.WHOLE_FLOAT
    if _NUMBER.fullmatch(number):
        return CellKind.NUMBER
    if plain.lower() in ("true", "false"):
        return CellKind.FLAG
    return CellKind.TEXT


def _with_point(text: str, decimal: str) -> str:
    """Return a number's text with a decimal point; a point in it becomes a comma: no number."""
    if decimal == ",":
        return text.translate(_SWAPPED_SIGNS)
    return text


def kind_of_column(kinds: Iterable[CellKind]) -> CellKind:
    """Return what a column holds, from the kinds of all of its cells: of several kinds it is a
    column of texts.

    >>> kind_of_column([CellKind.WHOLE, CellKind.NUMBER]).value
    'numbers'
    >>> kind_of_column([CellKind.WHOLE, CellKind.FLAG]).value
    'texts'
    """
    seen = set(kinds) - {CellKind.MISSING}
    if not seen:
        return CellKind.MISSING
    if len(seen) == 1:
        return seen.pop()
    if seen == {CellKind.WHOLE, CellKind.WHOLE_FLOAT}:
        return CellKind.WHOLE_FLOAT
    if seen <= NUMBER_KINDS:
        return CellKind.NUMBER
    return CellKind.TEXT


def values_of_cells(
    cells: npt.NDArray[np.object_], kind: CellKind, decimal: str = ".", as_text: bool = False
) -> tuple[list[Any], int | None]:
    """Return the cells of a column as Python values, and the place of the first that is missing, or
    None; if one is missing, the values are texts.

    Args:
        cells: texts [n].
        kind: of the whole column. Whole numbers become int, other numbers float, truth values bool;
            texts stay as they are.
        decimal: sign before a number's fraction.
        as_text: leave the texts as they are, for names that look like numbers.
    """
    import pandas as pd

    codes, distinct = pd.factorize(cells)
    missing = [_is_missing(text, kind, decimal) for text in distinct]
    first = None
    if any(missing):
        first = int(np.flatnonzero(np.array(missing)[codes])[0])
    values: list[Any] = list(distinct)
    if first is None and not as_text:
        values = [_value(text, kind, decimal) for text in distinct]
    return [values[code] for code in codes.tolist()], first


def _is_missing(text: str, kind: CellKind, decimal: str) -> bool:
    """Return whether a cell of a column of this kind holds no value."""
    if kind is CellKind.TEXT:
        return text == ""
    return kind is CellKind.MISSING or kind_of_cell(text, decimal) is CellKind.MISSING


def _value(text: str, kind: CellKind, decimal: str) -> str | int | float | bool:
    if kind is CellKind.TEXT:
        return text
    plain = text.strip()
    if kind is CellKind.FLAG:
        return plain.lower() == "true"
    if kind in (CellKind.WHOLE, CellKind.WHOLE_FLOAT):
        return int(plain.partition(decimal)[0])
    return float(plain.replace(decimal, "."))


def number_of_cell(text: str, decimal: str = ".") -> float | None:
    """Return the number in a cell, or None. Unlike a label, a feature may have leading zeros.

    >>> number_of_cell("007"), number_of_cell(" 1e3 "), number_of_cell("1,5", ",")
    (7.0, 1000.0, 1.5)
    >>> number_of_cell("1,5"), number_of_cell("1_0")
    (None, None)
    """
    plain = _with_point(text.strip(), decimal)
    if "_" in plain or not plain.isascii() or plain.lower().lstrip("+-") == "nan":
        return None
    try:
        return float(plain)
    except ValueError:
        return None


def is_misread_number(text: str, decimal: str) -> bool:
    """Return whether a cell looks like a number that is written in another way: with another
    decimal sign, with thousands separators, or with a unit.

    >>> [is_misread_number(text, ".") for text in ("1,5", "1,000.5", "12 %", "$3", "a")]
    [True, True, True, True, False]
    """
    plain = text.strip()
    other_decimal = _COMMA_NUMBER if decimal == "." else _POINT_NUMBER
    signed = plain[-1:] in "%€$£" or plain[:1] in "$€£<>≥≤~\u2212"
    return bool(plain) and (
        signed or any(pattern.fullmatch(plain) for pattern in (other_decimal, _GROUPED))
    )


def hint_of_cell(text: str, decimal: str, column: str) -> str:
    """Return what to do about a cell that should be a number and is none; `column` is the column's
    name as YAML takes it.
    """
    plain = text.strip()
    if plain.lower() in MISSING:
        return (
            "Fill in the value, remove the row, leave the column out: "
            f"data.ignore_columns=[{column}], or fill it in by a step: "
            "data.preprocess=[{name: missing}]."
        )
    if _GROUPED.fullmatch(plain):
        return (
            "If its signs separate thousands, write the numbers without them; if one is the "
            "decimal sign, set data.decimal."
        )
    if decimal == "." and _COMMA_NUMBER.fullmatch(plain):
        return "If its comma is the decimal sign, set data.decimal=, (a comma)."
    if decimal == "," and _POINT_NUMBER.fullmatch(plain):
        return "If its point is the decimal sign, set data.decimal=. (a point)."
    if is_misread_number(plain, decimal):
        return "Write plain numbers, without signs and units."
    return (
        "Correct the cell, encode the column as numbers, or leave it out: "
        f"data.ignore_columns=[{column}]."
    )
