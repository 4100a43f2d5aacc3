"""Charts as picture files: SVG that any browser shows, with the colours of a white page."""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from fedpipe.figures.svg import Chart, coordinate, element, joined, text
from fedpipe.system.atomic_files import write_atomic

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that names may hold and XML may not, such as control characters."""
_TITLE = 30.0
_LINE = 20.0
_GAP = 20.0
_LETTER = 7.5
"""Pixels: height of a title, height of a line of the legend, room around charts, width of a
letter.
"""


def chart_style() -> Markup:
    """Return the style sheet of all charts, which has the colours of a white page."""
    css = files("fedpipe.figures").joinpath("chart.css").read_text(encoding="utf-8")
    return Markup(css)  # noqa: S704 - a file of this package


def _resolved(css: str) -> Markup:
    """Return the style sheet without variables, which only browsers know."""
    values = dict(re.findall(r"(--\w+): ([^;]+);", css))
    return Markup(re.sub(r"var\((--\w+)\)", lambda match: values[match[1]], css))  # noqa: S704


def write_picture(charts: Sequence[Chart], path: Path) -> None:
    """Write charts, side by side, to an SVG file. The same charts give the same bytes."""
    write_atomic(path, picture(charts))


def picture(charts: Sequence[Chart]) -> str:
    """Return charts, side by side, as an SVG file's text."""
    x = _GAP
    columns = []
    for chart in charts:
        columns.append(_column(chart, x))
        x += _width(chart) + _GAP
    height = _GAP + max(map(_height, charts), default=_TITLE)
    description = ". ".join(chart.description for chart in charts) or "no values to draw"
    opening = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
        'role="img" aria-label="{2}"><style>{3}</style>'
    )
    head = opening.format(coordinate(x), coordinate(height), description, _resolved(chart_style()))
    page = element("rect", "page", width="100%", height="100%")
    svg = joined([head, page, *columns, Markup("</svg>\n")])
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", svg)


def _width(chart: Chart) -> float:
    letters = max(map(len, [chart.title, *(label for _, label in chart.legend)]))
    return max(chart.width, letters * _LETTER)


def _height(chart: Chart) -> float:
    return _TITLE + chart.height + _LINE * len(chart.legend)


def _column(chart: Chart, x: float) -> Markup:
    drawing = Markup('<svg x="{}" y="{}" width="{}" height="{}">{}</svg>').format(
        coordinate(x),
        coordinate(_TITLE),
        coordinate(chart.width),
        coordinate(chart.height),
        chart.body,
    )
    elements = [text(x, 20, chart.title, "start", "title"), drawing]
    y = _TITLE + chart.height + _LINE / 2
    for css, label in chart.legend:
        if chart.filled:
            swatch = element("rect", f"fill {css}", x=x + 6, y=y - 5, width=14, height=10)
        else:
            swatch = element("path", f"curve {css}", d=f"M{coordinate(x)} {coordinate(y)}h24")
        elements += [swatch, text(x + 32, y + 4, label, "start")]
        y += _LINE
    return joined(elements)
