"""Charts as SVG text. Every picture of fedpipe is drawn here: the HTML report holds the elements
themselves, the pictures of a run are files of their own (`picture_file.py`).

Colours are classes of `chart.css`: `s0` to `s7` for series, `heat` for shares; in the report they
follow the reader's colours, light or dark. All text is escaped.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from markupsafe import Markup, escape

SERIES_COLORS = 8
"""Colours of series; the ninth has the first's again, dashed."""


@dataclass(frozen=True)
class Chart:
    """A drawing with its words.

    Attributes:
        title: heading above the drawing.
        description: text for those who do not see the drawing.
        width: of the drawing in pixels.
        height: of the drawing in pixels.
        body: SVG elements.
        legend: CSS classes and label of each series.
        filled: whether the series are areas; lines otherwise.
    """

    title: str
    description: str
    width: float
    height: float
    body: Markup
    legend: tuple[tuple[str, str], ...] = ()
    filled: bool = False

    @property
    def svg(self) -> Markup:
        """Return the drawing as an element of an HTML page."""
        opening = Markup(
            '<svg class="chart" viewBox="0 0 {} {}" style="width:{}px" role="img" aria-label="{}">'
        )
        width = coordinate(self.width)
        head = opening.format(width, coordinate(self.height), width, self.description)
        return head + self.body + Markup("</svg>")


def element(name: str, css: str, tooltip: str = "", **attributes: object) -> Markup:
    """Return an SVG element; `tooltip` is shown while a pointer rests on it."""
    # Not by `Markup.format`, which takes ten times as long; a report has hundreds of elements.
    pairs = "".join(
        f' {key.replace("_", "-")}="{escape(coordinate(value))}"'
        for key, value in attributes.items()
    )
    title = f"<title>{escape(tooltip)}</title>" if tooltip else ""
    # escaped above
    return Markup(f'<{name} class="{escape(css)}"{pairs}>{title}</{name}>')  # noqa: S704


def text(x: float, y: float, words: str, anchor: str, css: str = "tick") -> Markup:
    """Return a text; `anchor` is `start`, `middle` or `end`."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css, coordinate(x), coordinate(y), anchor, words
    )


def vertical_text(
    x: float, y: float, words: str, anchor: str = "middle", css: str = "label"
) -> Markup:
    """Return a text that is read from bottom to top."""
    turned = Markup(
        '<text class="{}" text-anchor="{}" transform="translate({} {}) rotate(-90)">{}</text>'
    )
    return turned.format(css, anchor, coordinate(x), coordinate(y), words)


def joined(elements: Iterable[Markup]) -> Markup:
    """Return the elements, one after the other."""
    return Markup("").join(elements)


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return the path through points, in pixels.

    >>> polyline([(0.0, 1.0), (2.5, 3.0)])
    'M0 1L2.5 3'
    """
    return "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)


def series_classes() -> Iterator[str]:
    """Yield the CSS classes of the first series, the second, and so on.

    >>> [css for css, _ in zip(series_classes(), range(9))][::8]
    ['s0', 's0 dashed']
    """
    for index in count():
        dashed = " dashed" * (index >= SERIES_COLORS)
        yield f"s{index % SERIES_COLORS}{dashed}"


def coordinate(value: object) -> str:
    """Return an attribute's value; of a float as many digits as can be seen.

    >>> coordinate(3.14159), coordinate(2.0), coordinate("s0")
    ('3.14', '2', 's0')
    """
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
