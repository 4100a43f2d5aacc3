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
    """A name, and values by round as points (round, value)."""

    name: str
    points: Sequence[tuple[float, float]]

    def thinned(self) -> "Curve":
        """Return the curve without values that are not finite; of more than 1000 points as many at
        even steps.
        """
        finite = [(float(x), float(y)) for x, y in self.points if math.isfinite(y)]
        shown = evenly_spaced(len(finite), _MOST_POINTS).tolist()
        return replace(self, points=[finite[index] for index in shown])


def curves(
    title: str, named_curves: Iterable[Curve], y_label: str, floor: float | None = None
) -> Chart | None:
    """Return curves over the rounds; None if there is no point."""
    drawn = [curve for curve in (curve.thinned() for curve in named_curves) if curve.points]
    if not drawn:
        return None
    rounds, values = zip(*(point for curve in drawn for point in curve.points), strict=True)
    low, high = limits_around(values, floor)
    frame = Frame(0, max(*rounds, 1), low, high)
    legend = tuple(zip(series_classes(), (curve.name for curve in drawn), strict=False))
    lines = [_line(frame, css, curve) for (css, _), curve in zip(legend, drawn, strict=True)]
    ranges = "; ".join(
        f"{curve.name} from {number(curve.points[0][1])} to {number(curve.points[-1][1])}"
        for curve in drawn
    )
    axes = frame.axes("round (0: before training)", y_label, whole_x=True)
    description = f"{title}, by round: {ranges}"
    return Chart(title, description, frame.width, frame.height, joined([axes, *lines]), legend)


def histogram(
    title: str, groups: Mapping[str, Floats], x_label: str, limits: tuple[float, float] = (0, 1)
) -> Chart:
    """Return how the clients' values are distributed, a fraction of the clients for each group,
    with a line at each group's mean.
    """
    counts = {name: np.histogram(values, _BINS, limits)[0] for name, values in groups.items()}
    shares = {name: count / max(len(groups[name]), 1) for name, count in counts.items()}
    highest = max((float(share.max()) for share in shares.values()), default=0)
    frame = Frame(*limits, 0, highest * _HEADROOM or 1.0)
    edges = np.linspace(*limits, _BINS + 1).tolist()
    series = list(zip(series_classes(), groups.items(), strict=False))
    body = [frame.axes(x_label, "fraction of the clients")]
    for css, (name, _) in series:
        for start, end, share in zip(edges[:-1], edges[1:], shares[name].tolist(), strict=True):
            tooltip = f"{name}: {share:.1%} in {start:.2f} to {end:.2f}"
            body.append(bar(frame, start, end, share, f"fill {css}", tooltip))
    legend = []
    for css, (name, values) in series:
        mean = float(values.mean())
        low = float(np.percentile(values, 10))
        x = frame.x(min(max(mean, limits[0]), limits[1]))
        tooltip = f"{name}: mean {mean:.3f}"
        body.append(
            element("line", f"mean {css}", tooltip, x1=x, x2=x, y1=frame.top, y2=frame.y(0))
        )
        label = f"{name} ({len(values)}): mean {mean:.3f}, 10th percentile {low:.3f}"
        legend.append((css, label))
    description = f"{title}. {'; '.join(label for _, label in legend)}"
    return Chart(
        title, description, frame.width, frame.height, joined(body), tuple(legend), filled=True
    )


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
    body = [frame.axes(x_label, y_label)]
    for start, end, height in zip(starts, ends, heights, strict=True):
        tooltip = f"{number(start)} to {number(end)}: {number(height)}"
        body.append(bar(frame, start, end, height, "fill s0", tooltip))
    description = f"{title}: {len(heights)} bars, the highest {number(highest)}"
    return Chart(title, description, frame.width, frame.height, joined(body))


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
    if len(curve.points) <= _MOST_MARKED:
        elements += [
            mark(frame, x, y, css, f"{curve.name}, round {x:g}: {y:.4g}") for x, y in curve.points
        ]
    return joined(elements)
