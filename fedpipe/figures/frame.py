"""A chart's horizontal and vertical axis of numbers: limits, ticks, grid."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedpipe.figures.svg import Chart, element, joined, text, vertical_text
from fedpipe.tables.texts import number


@dataclass(frozen=True)
class Frame:
    """The inner rectangle of a chart: its place in pixels, and the values at its edges."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: float = 560
    height: float = 300
    left: float = 58
    top: float = 12
    right: float = 14
    bottom: float = 44

    def x(self, value: float) -> float:
        """Return the pixel of a value of the horizontal axis."""
        fraction = (value - self.x_low) / (self.x_high - self.x_low)
        return self.left + fraction * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Return the pixel of a value of the vertical axis."""
        fraction = (value - self.y_low) / (self.y_high - self.y_low)
        return self.height - self.bottom - fraction * (self.height - self.top - self.bottom)

    def chart(
        self,
        title: str,
        description: str,
        shapes: Iterable[Markup],
        labels: tuple[str, str],
        legend: Sequence[tuple[str, str]] = (),
        filled: bool = True,
    ) -> Chart:
        """Return the chart of shapes in this frame; `labels` are of the horizontal and the vertical
        axis.
        """
        body = joined([self._axes(*labels, whole_x=not filled), *shapes])
        return Chart(title, description, self.width, self.height, body, tuple(legend), filled)

    def _axes(self, x_label: str, y_label: str, whole_x: bool) -> Markup:
        """Return grid, ticks and labels."""
        foot = self.height - self.bottom
        right = self.width - self.right
        elements = []
        for value in ticks(self.y_low, self.y_high):
            y = self.y(value)
            elements.append(element("line", "grid", x1=self.left, x2=right, y1=y, y2=y))
            elements.append(text(self.left - 8, y + 4, number(value), "end"))
        for value in ticks(self.x_low, self.x_high, 8, whole_x):
            x = self.x(value)
            elements.append(element("line", "axis", x1=x, x2=x, y1=foot, y2=foot + 4))
            elements.append(text(x, foot + 18, number(value), "middle"))
        elements.append(element("line", "axis", x1=self.left, x2=right, y1=foot, y2=foot))
        center = (self.left + right) / 2
        elements.append(text(center, self.height - 8, x_label, "middle", "label"))
        elements.append(vertical_text(14, (self.top + foot) / 2, y_label))
        return joined(elements)


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Return round values between two, at most `most` of them.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(0, 15, whole=True)
    [0.0, 5.0, 10.0, 15.0]
    """
    least_step = (high - low) / max(most - 1, 1)
    if not math.isfinite(least_step) or least_step <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(least_step))
    step = next(
        factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= least_step * (1 - 1e-9)
    )
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) + 0.0 for index in range(first, last + 1)]


def limits_around(values: Sequence[float], floor: float | None = None) -> tuple[float, float]:
    """Return the limits of an axis that shows all values, with a little room; `floor` is the lower
    limit, if given.
    """
    low = min(values)
    high = max(values)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    if floor is None:
        floor = low - room
    return floor, high + room
