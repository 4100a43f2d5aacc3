"""The report's charts with axes: curves by round, histograms, bars."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fedpipe.figures.svg import Chart, Frame, around, element, number, picture, series_class, short

Floats = npt.NDArray[np.float64]

_MARKED = 60
"""A curve of more points is drawn without marks."""
_POINTS = 1000
_BINS = 20


@dataclass(frozen=True)
class Curve:
    """Values by round: a name and points (round, value); values that are no finite numbers are left
    out.
    """

    name: str
    points: Sequence[tuple[float, float]]


def curves(
    title: str, drawn: Sequence[Curve], y_label: str, floor: float | None = None
) -> Chart | None:
    """Return curves over the rounds; None if there is no point."""
    kept = [(curve.name, _finite(curve.points)) for curve in drawn]
    kept = [(name, points) for name, points in kept if points]
    if not kept:
        return None
    every = [point for _, points in kept for point in points]
    low, high = around([y for _, y in every], floor)
    last = max(x for x, _ in every)
    frame = Frame(0, max(last, 1), low, high)
    parts = [frame.axes("round (0: before training)", y_label, whole_x=True)]
    legend = []
    for index, (name, points) in enumerate(kept):
        css = series_class(index)
        path = "M" + "L".join(f"{short(frame.x(x))} {short(frame.y(y))}" for x, y in points)
        parts.append(element("path", f"curve {css}", d=path))
        if len(points) <= _MARKED:
            marks = (
                element(
                    "circle",
                    f"mark {css}",
                    f"{name}, round {x:g}: {y:.4g}",
                    cx=frame.x(x),
                    cy=frame.y(y),
                    r=2.6,
                )
                for x, y in points
            )
            parts.extend(marks)
        legend.append((css, name))
    ends = "; ".join(
        f"{name} from {number(points[0][1])} to {number(points[-1][1])}" for name, points in kept
    )
    return Chart(
        title,
        picture(frame.width, frame.height, f"{title}, by round: {ends}", parts),
        tuple(legend),
    )


def histogram(
    title: str, groups: Mapping[str, Floats], x_label: str, limits: tuple[float, float] = (0, 1)
) -> Chart:
    """Return how the clients' values are spread, a fraction of the clients for each group, with a
    line at each group's mean.
    """
    shares = {}
    for name, values in groups.items():
        counts, _ = np.histogram(values, _BINS, limits)
        shares[name] = counts / max(len(values), 1)
    frame = Frame(
        *limits, 0, max((float(one.max()) for one in shares.values()), default=0) * 1.06 or 1.0
    )
    width = (limits[1] - limits[0]) / _BINS
    parts = [frame.axes(x_label, "fraction of the clients")]
    legend = []
    said = []
    for index, (name, heights) in enumerate(shares.items()):
        for place, share in enumerate(heights.tolist()):
            start = limits[0] + place * width
            words = f"{name}: {share:.1%} in {start:.2f} to {start + width:.2f}"
            parts.append(
                _bar(frame, start, start + width, share, f"fill {series_class(index)}", words)
            )
    for index, (name, values) in enumerate(groups.items()):
        mean = float(values.mean())
        low = float(np.percentile(values, 10))
        x = frame.x(min(max(mean, limits[0]), limits[1]))
        parts.append(
            element(
                "line",
                f"mean {series_class(index)}",
                f"{name}: mean {mean:.3f}",
                x1=x,
                x2=x,
                y1=frame.top,
                y2=frame.y(0),
            )
        )
        legend.append(
            (
                series_class(index),
                f"{name} ({len(values)}): mean {mean:.3f}, 10th percentile {low:.3f}",
            )
        )
        said.append(legend[-1][1])
    return Chart(
        title,
        picture(frame.width, frame.height, f"{title}. {'; '.join(said)}", parts),
        tuple(legend),
        filled=True,
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
    high = max(heights, default=0) * 1.06 or 1.0
    low = min(starts, default=0)
    right = max(ends, default=1)
    frame = Frame(low, right if right > low else low + 1, 0, high)
    parts = [frame.axes(x_label, y_label)]
    for start, end, height in zip(starts, ends, heights, strict=True):
        parts.append(
            _bar(
                frame,
                start,
                end,
                height,
                "fill s0",
                f"{number(start)} to {number(end)}: {number(height)}",
            )
        )
    most = f"{title}: {len(heights)} bars, the highest {number(max(heights, default=0))}"
    return Chart(title, picture(frame.width, frame.height, most, parts))


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    kept = [(float(x), float(y)) for x, y in points if math.isfinite(y)]
    step = -(-len(kept) // _POINTS)
    if kept:
        return [
            point for index, point in enumerate(kept) if index % step == 0 or index == len(kept) - 1
        ]
    return []


def _bar(frame: Frame, start: float, end: float, height: float, css: str, said: str) -> Markup:
    if not height:
        return Markup("")
    x = frame.x(start)
    y = frame.y(height)
    return element(
        "rect",
        css,
        said,
        x=x + 0.5,
        y=y,
        width=max(frame.x(end) - x - 1, 1.0),
        height=frame.y(0) - y,
    )
