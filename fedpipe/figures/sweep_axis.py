"""Axes of a sweep's chart: places and ticks of the values of a setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedpipe.figures.frame import ticks
from fedpipe.tables.sweep import ABSENT
from fedpipe.tables.texts import number, setting_text

_LOG_RATIO = 20.0
"""A setting whose values span more than this is drawn on a logarithmic axis."""
_MOST_CHOICES = 12
_MOST_DISTINCT = 5
"""Up to so many distinct numbers each has a tick."""
_ABSENT_PLACE = 0.0
"""Place on an axis of numbers of a trial that does not have the setting."""
_LOWEST_BESIDE_ABSENT = 0.15
"""Where the numbers begin on an axis that has such a place."""


@dataclass(frozen=True)
class ChoiceAxis:
    """An axis of choices, evenly spaced in alphabetical order."""

    choices: tuple[str, ...]

    def place(self, value: Any) -> float:
        """Return where a value is, from 0 to 1."""
        if len(self.choices) <= 1:
            return 0.5
        return self.choices.index(setting_text(value)) / (len(self.choices) - 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return places and texts of the choices, at most 12."""
        return [(self.place(choice), choice) for choice in self.choices[:_MOST_CHOICES]]


@dataclass(frozen=True)
class NumberAxis:
    """An axis of numbers, linear or logarithmic; trials without the setting are at its foot.

    Attributes:
        numbers: the values, rising.
        logarithmic: whether the axis is logarithmic.
        has_absent: whether a trial does not have the setting.
    """

    numbers: tuple[float, ...]
    logarithmic: bool
    has_absent: bool

    def place(self, value: Any) -> float:
        """Return where a value, or `ABSENT`, is, from 0 to 1."""
        if value == ABSENT:
            return _ABSENT_PLACE
        lowest = _LOWEST_BESIDE_ABSENT * self.has_absent
        low = self._scaled(self.numbers[0])
        high = self._scaled(self.numbers[-1])
        fraction = 0.5
        if high > low:
            fraction = (self._scaled(float(value)) - low) / (high - low)
        return lowest + (1 - lowest) * fraction

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return places and texts: every number if they are few, else round ones."""
        low = self.numbers[0]
        high = self.numbers[-1]
        if len(self.numbers) <= _MOST_DISTINCT:
            values = list(self.numbers)
        elif self.logarithmic:
            values = _round_ratios(low, high)
        else:
            values = ticks(low, high, 6)
        marks = [(self.place(value), number(value)) for value in values]
        return marks + [(_ABSENT_PLACE, ABSENT)] * self.has_absent

    def _scaled(self, value: float) -> float:
        if self.logarithmic:
            return math.log10(value)
        return value


def sweep_axis(values: Sequence[Any], may_be_logarithmic: bool = True) -> ChoiceAxis | NumberAxis:
    """Return the axis of a setting or metric: of numbers if all values are numbers or `ABSENT`,
    else of choices.
    """
    present = [value for value in values if value != ABSENT]
    if not present or not all(map(_is_number, present)):
        return ChoiceAxis(tuple(sorted(set(map(setting_text, values)))))
    numbers = tuple(sorted(set(map(float, present))))
    low = numbers[0]
    logarithmic = may_be_logarithmic and low > 0 and numbers[-1] / low > _LOG_RATIO
    return NumberAxis(numbers, logarithmic, len(present) < len(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _round_ratios(low: float, high: float) -> list[float]:
    """Return round values between two, at even ratios or nearly so.

    >>> _round_ratios(0.01, 0.4)
    [0.01, 0.02, 0.05, 0.1, 0.2]
    """
    powers = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = np.outer(10.0**powers, (1, 2, 5)).round(12).ravel()
    inside = values[(values >= low) & (values <= high)]
    if len(inside) > 7:
        inside = inside[np.log10(inside) % 1 == 0]
    return list(map(float, inside))
