"""Where a value of a sweep is on its axis of a picture, and what is written beside it: settings
that are numbers, and choices.
"""

import math
from collections.abc import Sequence
from typing import Any

from fedpipe.figures.svg import number, ticks
from fedpipe.tables.sweep import ABSENT

_LOG_RATIO = 20.0
"""A setting whose values span more than this is drawn by ratio."""
_CHOICES = 12
"""Stands for the value of a setting that does not apply to a child: it has none."""
_ABSENT_AT = 0.0
_LEAST_BESIDE = 0.15
"""Where it is on an axis of numbers, and where these begin then."""


class Axis:
    """One vertical axis: where a value is on it, from 0 to 1, and what is written beside it."""

    def __init__(self, values: Sequence[Any], by_ratio: bool = True) -> None:
        """Take the values that must have a place: numbers, which may be drawn by ratio, or else
        choices; `ABSENT` among either.
        """
        self._choices: list[str] | None = None
        present = [value for value in values if value != ABSENT]
        numbers = [float(value) for value in present if _is_number(value)]
        self._least = 0.0 if len(present) == len(values) else _LEAST_BESIDE
        if not numbers or len(numbers) < len(present):
            self._choices = sorted({words(value) for value in values})
            self.ticks = [(self._at_choice(one), one) for one in self._choices[:_CHOICES]]
            return
        low = min(numbers)
        high = max(numbers)
        self._log = by_ratio and low > 0 and high / low > _LOG_RATIO
        self._low, self._high = self._scaled(low), self._scaled(high)
        distinct = sorted(set(numbers))
        spread = _round_ratios(low, high) if self._log else ticks(low, high, 6)
        self.ticks = [
            (self.at(value), number(value))
            for value in (distinct if len(distinct) <= 5 else spread)
        ]
        self.ticks += [(_ABSENT_AT, ABSENT)] if self._least else []

    def at(self, value: Any) -> float:
        """Return where a value is."""
        if self._choices is not None:
            return self._at_choice(words(value))
        if value == ABSENT:
            return _ABSENT_AT
        place = (
            0.5
            if self._high == self._low
            else (self._scaled(float(value)) - self._low) / (self._high - self._low)
        )
        return self._least + (1 - self._least) * place

    def _at_choice(self, choice: str) -> float:
        choices = self._choices or [choice]
        if len(choices) == 1:
            return 0.5
        return choices.index(choice) / (len(choices) - 1)

    def _scaled(self, value: float) -> float:
        if self._log:
            return math.log10(value)
        return value


def words(value: Any) -> str:
    """Return a setting's value as it is shown, and as params.yaml has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if _is_number(value):
        return number(float(value))
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _round_ratios(low: float, high: float) -> list[float]:
    """Return round values between two, at even ratios or nearly so.

    >>> _round_ratios(0.01, 0.4)
    [0.01, 0.02, 0.05, 0.1, 0.2]
    """
    first = math.floor(math.log10(low))
    last = math.ceil(math.log10(high))
    found = [
        round(factor * 10.0**power, 12) for power in range(first, last + 1) for factor in (1, 2, 5)
    ]
    inside = [value for value in found if low <= value <= high]
    if len(inside) <= 7:
        return inside
    return [value for value in inside if math.log10(value) == round(math.log10(value))]
