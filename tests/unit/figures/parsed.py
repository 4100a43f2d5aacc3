"""Reads charts back from their SVG."""

import re
from xml.etree import ElementTree

from fedpipe.figures.svg import Chart


def svg_root(svg: str | bytes) -> ElementTree.Element:
    """Return the root of an SVG that fedpipe wrote; fails if it is not well-formed."""
    return ElementTree.fromstring(svg)  # noqa: S314 - the tests wrote it


def elements(chart: Chart, css: str) -> list[ElementTree.Element]:
    """Return the elements with a CSS class, in the order in which they are drawn."""
    return [found for found in svg_root(chart.svg).iter() if css in found.get("class", "").split()]


def tooltips(chart: Chart, css: str) -> list[str]:
    """Return the tooltips of the elements with a CSS class."""
    return [found.findtext("title", "") for found in elements(chart, css)]


def texts(chart: Chart, css: str) -> list[str]:
    """Return the texts with a CSS class."""
    return [str(found.text) for found in elements(chart, css)]


def path_points(path: ElementTree.Element) -> list[tuple[float, float]]:
    """Return the points of a path."""
    pairs = re.findall(r"([-\d.]+) ([-\d.]+)", path.attrib["d"])
    return [(float(x), float(y)) for x, y in pairs]
