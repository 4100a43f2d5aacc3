"""The picture of a sweep: each child a line across the settings that were searched, to what it was judged by."""

import math
from collections.abc import Sequence
from typing import Any

from fedpipe.report.facts import Sweep
from fedpipe.report.svg import Chart, element, number, picture, short, text, ticks

_LEFT, _TOP, _HEIGHT = 70.0, 34.0, 250.0
_WIDEST, _GAPS = 820.0, (110.0, 230.0)
_LOG_RATIO = 20.0
"""A setting whose values span more than this is drawn by ratio."""
_CHOICES = 12


class Axis:
    """One vertical axis: where a value is on it, from 0 to 1, and what is written beside it."""

    def __init__(self, values: Sequence[Any], by_ratio: bool = True) -> None:
        """Take the values that must have a place: numbers, which may be drawn by ratio, or else choices."""
        self._choices: list[str] | None = None
        numbers = [float(value) for value in values if _is_number(value)]
        if not numbers or len(numbers) < len(values):
            self._choices = sorted({words(value) for value in values})
            self.ticks = [(self._at_choice(one), one) for one in self._choices[:_CHOICES]]
            return
        low, high = min(numbers), max(numbers)
        self._log = by_ratio and low > 0 and high / low > _LOG_RATIO
        self._low, self._high = self._scaled(low), self._scaled(high)
        distinct = sorted(set(numbers))
        spread = _round_ratios(low, high) if self._log else ticks(low, high, 6)
        self.ticks = [(self.at(value), number(value)) for value in (distinct if len(distinct) <= 5 else spread)]

    def at(self, value: Any) -> float:
        """Return where a value is."""
        if self._choices is not None:
            return self._at_choice(words(value))
        return 0.5 if self._high == self._low else (self._scaled(float(value)) - self._low) / (self._high - self._low)

    def _at_choice(self, choice: str) -> float:
        choices = self._choices or [choice]
        return 0.5 if len(choices) == 1 else choices.index(choice) / (len(choices) - 1)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self._log else value


def parallel_coordinates(sweep: Sweep) -> Chart:
    """Return the children as lines: the best thick, the others fainter the worse they are; those without a value dashed."""
    values = [float(child["value"]) for child in sweep.children if child["value"] is not None]
    axes = [Axis([child["params"].get(key) for child in sweep.children]) for key in sweep.keys]
    judged, sign = Axis(values, by_ratio=False), -1.0 if sweep.direction == "maximize" else 1.0
    low, high = min(values, default=0.0), max(values, default=0.0)
    best = min(values, key=lambda value: sign * value, default=None)
    gap = min(max(_WIDEST / max(len(axes), 1), _GAPS[0]), _GAPS[1])
    parts = []
    for child in sorted(sweep.children, key=lambda one: (one["value"] is not None, one["value"] == best)):
        value = child["value"]
        places = [axis.at(child["params"].get(key)) for axis, key in zip(axes, sweep.keys, strict=True)]
        said = ", ".join(f"{key} {words(child['params'].get(key))}" for key in sweep.keys)
        said = (
            f"{child['name'] or child['number']}: {said}; {child['state'] if value is None else f'{sweep.metric} {number(float(value))}'}"
        )
        if value is None:
            css, opacity = "curve s5 dashed thin", 0.6
        else:
            places.append(judged.at(value))
            good = 1.0 if high == low else (float(value) - low) / (high - low)
            css, opacity = ("curve s1", 1.0) if value == best else ("curve s0 thin", 0.25 + 0.65 * (good if sign < 0 else 1 - good))
        path = "M" + "L".join(f"{short(_LEFT + index * gap)} {short(_y(place))}" for index, place in enumerate(places))
        parts.append(element("path", css, said, d=path, stroke_opacity=opacity))
    for index, (name, axis) in enumerate(zip([*sweep.keys, sweep.metric], [*axes, judged], strict=True)):
        x = _LEFT + index * gap
        parts.append(element("line", "axis", x1=x, x2=x, y1=_TOP, y2=_TOP + _HEIGHT))
        parts.append(text(x, _TOP - 14, name if len(name) <= 24 else f"{name[:23]}…", "middle", "label"))
        parts.extend(
            text(x + 6, _y(place) + 4, one if len(one) <= 16 else f"{one[:15]}…", "start", "tick haloed") for place, one in axis.ticks
        )
    said = f"{len(values)} of {len(sweep.children)} children with a value across {', '.join(sweep.keys)}; the table has the figures"
    legend = (("s1", "the best child"), ("s0", "other children: the fainter, the worse"), ("s5 dashed", "without a value"))
    shown = legend if len(values) < len(sweep.children) else legend[:2]
    return Chart("Settings and what came of them", picture(_LEFT + len(sweep.keys) * gap + 90, _TOP + _HEIGHT + 12, said, parts), shown)


def words(value: Any) -> str:
    """Return a setting's value as it is shown."""
    return number(float(value)) if _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _round_ratios(low: float, high: float) -> list[float]:
    """Return round values between two, at even ratios or nearly so.

    >>> _round_ratios(0.01, 0.4)
    [0.01, 0.02, 0.05, 0.1, 0.2]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found = [round(factor * 10.0**power, 12) for power in range(first, last + 1) for factor in (1, 2, 5)]
    inside = [value for value in found if low <= value <= high]
    return inside if len(inside) <= 7 else [value for value in inside if math.log10(value) == round(math.log10(value))]


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _y(place: float) -> float:
    return _TOP + (1 - place) * _HEIGHT
