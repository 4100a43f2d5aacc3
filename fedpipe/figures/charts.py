"""Charts with two axes of numbers: curves by round, histograms, bars."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fedpipe.figures.frame import Frame, limits_around
from fedpipe.figures.svg import Chart, element, joined, polyline, series_classes
from fedpipe.tables.texts import number
from fedpipe.tables.thinning import evenly_spaced

Floats = npt.NDArray[np.float64]

_MOST_MARKED = 60
"""A curve of more points is drawn without marks."""
_MOST_POINTS = 1000
_BINS = 20
_HEADROOM = 1.06
"""Height of a chart of bars, relative to its highest bar."""


@dataclass(frozen=True)
class Curve:
    """A name, values by round as points (round, value), and a band around them as (round, low,
    high).
    """

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()

    def thinned(self) -> "Curve":
        """Return the curve without values that are not finite; of more than 1000 points as many at
        even steps.
        """
        finite = [(float(x), float(y)) for x, y in self.points if math.isfinite(y)]
        return replace(self, points=evenly_spaced(finite, _MOST_POINTS))


def curves(
    title: str, named_curves: Iterable[Curve], y_label: str, floor: float | None = None
) -> Chart | None:
    """Return curves over the rounds; None if there is no point."""
    drawn = [curve for curve in map(Curve.thinned, named_curves) if curve.points]
    if not drawn:
        return None
    rounds, values = np.concatenate([curve.points for curve in drawn]).T.tolist()
    edges = [edge for curve in drawn for _, *ends in curve.band for edge in ends]
    low, high = limits_around(values + edges, floor)
    frame = Frame(0, max(*rounds, 1), low, high)
    lines = []
    legend = []
    ranges = []
    for css, curve in zip(series_classes(), drawn, strict=False):
        lines.append(_line(frame, css, curve))
        legend.append((css, curve.name))
        first = number(curve.points[0][1])
        ranges.append(f"{curve.name} from {first} to {number(curve.points[-1][1])}")
    description = f"{title}, by round: {'; '.join(ranges)}"
    labels = ("round (0: before training)", y_label)
    return frame.chart(title, description, lines, labels, legend, filled=False)


def histogram(
    title: str, groups: Mapping[str, Floats], x_label: str, limits: tuple[float, float] = (0, 1)
) -> Chart:
    """Return how the clients' values are distributed, a fraction of the clients for each group,
    with a line at each group's mean.
    """
    shares = {}
    for name, values in groups.items():
        counts, _ = np.histogram(values, _BINS, limits)
        shares[name] = counts / max(len(values), 1)
    highest = float(max(map(np.max, shares.values()), default=0))
    frame = Frame(*limits, 0, highest * _HEADROOM or 1.0)
    edges = np.linspace(*limits, _BINS + 1).tolist()
    digits = _digits(limits)
    drawn_bars = []
    means = []
    legend = []
    for css, (name, values) in zip(series_classes(), groups.items(), strict=False):
        for start, end, share in zip(edges[:-1], edges[1:], shares[name].tolist(), strict=True):
            tooltip = f"{name}: {share:.1%} in {start:.{digits - 1}f} to {end:.{digits - 1}f}"
            drawn_bars.append(bar(frame, start, end, share, f"fill {css}", tooltip))
        mean = float(values.mean())
        x = frame.x(float(np.clip(mean, *limits)))
        ends = {"x1": x, "x2": x, "y1": frame.top, "y2": frame.y(0)}
        means.append(element("line", f"mean {css}", f"{name}: mean {mean:.{digits}f}", **ends))
        low = np.percentile(values, 10)
        label = f"{name} ({len(values)}): mean {mean:.{digits}f}, 10th percentile {low:.{digits}f}"
        legend.append((css, label))
    description = f"{title}. {'; '.join(label for _, label in legend)}"
    labels = (x_label, "fraction of the clients")
    return frame.chart(title, description, drawn_bars + means, labels, legend)


def _digits(limits: tuple[float, float]) -> int:
    """Return the digits after the point that tell values between two limits apart, 3 of a fraction.

    >>> _digits((0, 1)), _digits((0, 500)), _digits((0, 0.002))
    (3, 1, 6)
    """
    power = math.floor(math.log10(max(limits[1] - limits[0], 1e-9)))
    return max(3 - power, 1)


def bars(
    title: str,
    starts: Sequence[float],
    ends: Sequence[float],
    heights: Sequence[float],
    x_label: str,
    y_label: str,
) -> Chart:
    """Return a bar from each start to each end."""
    left = min(starts, default=0)
    right = max(ends, default=1)
    if right <= left:
        right = left + 1
    highest = max(heights, default=0)
    frame = Frame(left, right, 0, highest * _HEADROOM or 1.0)
    drawn_bars = []
    for start, end, height in zip(starts, ends, heights, strict=True):
        tooltip = f"{number(start)} to {number(end)}: {number(height)}"
        drawn_bars.append(bar(frame, start, end, height, "fill s0", tooltip))
    description = f"{title}: {len(heights)} bars, the highest {number(highest)}"
    return frame.chart(title, description, drawn_bars, (x_label, y_label))


def bar(frame: Frame, start: float, end: float, height: float, css: str, tooltip: str) -> Markup:
    """Return one bar; nothing if its height is 0."""
    if not height:
        return Markup("")
    x = frame.x(start)
    y = frame.y(height)
    width = max(frame.x(end) - x - 1, 1.0)
    return element("rect", css, tooltip, x=x + 0.5, y=y, width=width, height=frame.y(0) - y)


def mark(frame: Frame, x: float, y: float, css: str, tooltip: str) -> Markup:
    """Return a small disc at a point."""
    return element("circle", f"mark {css}", tooltip, cx=frame.x(x), cy=frame.y(y), r=2.6)


def _line(frame: Frame, css: str, curve: Curve) -> Markup:
    path = polyline((frame.x(x), frame.y(y)) for x, y in curve.points)
    elements = [element("path", f"curve {css}", d=path)]
    if curve.band:
        rim = [(x, high) for x, _, high in curve.band]
        rim += [(x, low) for x, low, _ in reversed(curve.band)]
        around = polyline((frame.x(x), frame.y(y)) for x, y in rim)
        elements.insert(0, element("path", f"band fill {css}", d=f"{around}Z"))
    if len(curve.points) <= _MOST_MARKED:
        elements += [
            mark(frame, x, y, css, f"{curve.name}, round {x:g}: {y:.4g}") for x, y in curve.points
        ]
    return joined(elements)
