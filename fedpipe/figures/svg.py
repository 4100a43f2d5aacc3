"""Pictures for the HTML report, drawn as SVG text: they follow the reader's colours, light or dark,
and take milliseconds.

Colours are classes of `templates/report.css`: `s0` to `s7` for series, `heat` for shares. All text
is escaped.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

SERIES = 8
"""Colours of series; the ninth has the first's again, dashed."""


@dataclass(frozen=True)
class Chart:
    """A picture with its words.

    Attributes:
        title: what it shows.
        svg: the picture; its text for those who do not see it is in it.
        legend: CSS classes and name of each series.
        filled: whether series are areas; lines otherwise.
    """

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
    filled: bool = False


@dataclass(frozen=True)
class Frame:
    """The inner rectangle of a chart, in the units of the view box, and the values at its edges."""

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
        """Return where a value of the horizontal axis is."""
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * (
            self.width - self.left - self.right
        )

    def y(self, value: float) -> float:
        """Return where a value of the vertical axis is."""
        return (
            self.height
            - self.bottom
            - (value - self.y_low)
            / (self.y_high - self.y_low)
            * (self.height - self.top - self.bottom)
        )

    def axes(self, x_label: str, y_label: str, whole_x: bool = False) -> Markup:
        """Return grid, ticks and labels."""
        below = self.height - self.bottom
        parts = []
        for value in ticks(self.y_low, self.y_high):
            y = self.y(value)
            parts.append(
                element("line", "grid", x1=self.left, x2=self.width - self.right, y1=y, y2=y)
            )
            parts.append(text(self.left - 8, y + 4, number(value), "end"))
        for value in ticks(self.x_low, self.x_high, 8, whole_x):
            x = self.x(value)
            parts.append(element("line", "axis", x1=x, x2=x, y1=below, y2=below + 4))
            parts.append(text(x, below + 18, number(value), "middle"))
        parts.append(
            element("line", "axis", x1=self.left, x2=self.width - self.right, y1=below, y2=below)
        )
        parts.append(
            text(
                (self.left + self.width - self.right) / 2,
                self.height - 8,
                x_label,
                "middle",
                "label",
            )
        )
        middle = (self.top + below) / 2
        turned = Markup(
            '<text class="label" text-anchor="middle" transform="translate(14 {}) '
            'rotate(-90)">{}</text>'
        )
        parts.append(turned.format(short(middle), y_label))
        return joined(parts)


def picture(width: float, height: float, described: str, parts: Iterable[Markup]) -> Markup:
    """Return the picture; `described` is read to those who do not see it."""
    head = Markup(
        '<svg class="chart" viewBox="0 0 {} {}" style="width:{}px" role="img" aria-label="{}">'
    )
    return (
        head.format(short(width), short(height), short(width), described)
        + joined(parts)
        + Markup("</svg>")
    )


def element(name: str, css: str, said: str = "", **attributes: object) -> Markup:
    """Return an SVG element; `said` is shown while a pointer rests on it."""
    listed = joined(
        Markup(' {}="{}"').format(
            key.replace("_", "-"), short(value) if isinstance(value, float) else value
        )
        for key, value in attributes.items()
    )
    inner = Markup("<title>{}</title>").format(said) if said else Markup("")
    return Markup('<{} class="{}"{}>{}</{}>').format(name, css, listed, inner, name)


def text(x: float, y: float, words: str, anchor: str, css: str = "tick") -> Markup:
    """Return a text; `anchor` is `start`, `middle` or `end`."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css, short(x), short(y), anchor, words
    )


def joined(parts: Iterable[Markup]) -> Markup:
    """Return the parts, one after the other."""
    return Markup("").join(parts)


def series_class(index: int) -> str:
    """Return the CSS classes of a series."""
    return f"s{index % SERIES}" + (" dashed" if index >= SERIES else "")


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Return round values between two, at most `most` of them.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(0, 15, whole=True)
    [0.0, 5.0, 10.0, 15.0]
    """
    rough = (high - low) / max(most - 1, 1)
    if not math.isfinite(rough) or rough <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(
        factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= rough * (1 - 1e-9)
    )
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) + 0.0 for index in range(first, last + 1)]


def around(values: Sequence[float], floor: float | None = None) -> tuple[float, float]:
    """Return the limits of an axis that shows all values, with a little room; `floor` is the lower
    one, if given.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return (low - room if floor is None else floor), high + room


def number(value: float) -> str:
    """Return a number in short.

    >>> number(0.3000000001), number(1500.0), number(2e-7), number(float("nan"))
    ('0.3', '1,500', '2e-07', 'not a number')
    """
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.4g}"


def short(value: object) -> str:
    """Return a coordinate with as many digits as can be seen."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)


def cells(
    levels: Sequence[tuple[int, int, float]], left: float, top: float, width: float, height: float
) -> Markup:
    """Return cells of a heat map in few elements: those of about one share are one path.

    Args:
        levels: (column, row, share in 0..1) of each; those of share 0 are not drawn.
        left, top: of the first.
        width, height: of each.
    """
    paths: dict[int, list[str]] = {}
    for column, row, share in levels:
        if share > 0:
            paths.setdefault(max(1, math.ceil(share * 10 - 1e-9)), []).append(
                f"M{column} {row}h1v1h-1z"
            )
    drawn = (
        element("path", "heat", fill_opacity=level / 10, d="".join(paths[level]))
        for level in sorted(paths)
    )
    place = Markup('<g transform="translate({} {}) scale({} {})">')
    return (
        place.format(short(left), short(top), f"{width:.5g}", f"{height:.5g}")
        + joined(drawn)
        + Markup("</g>")
    )
