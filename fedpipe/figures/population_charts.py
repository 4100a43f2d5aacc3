"""Charts of a population: how many examples clients have, and which labels or targets."""

import numpy as np

from fedpipe.figures.charts import bars
from fedpipe.figures.frame import limits_around, ticks
from fedpipe.figures.grid import Grid, room
from fedpipe.figures.svg import Chart, coordinate, element, text
from fedpipe.tables.population import PopulationTable, TargetRanges
from fedpipe.tables.texts import drawn, number, shown_of

_MOST_NAMES = 62
"""Labels up to which their names are written."""
_WIDTH = 500.0
_TALLEST_ROW = 14.0
_HEIGHT = 250.0
"""Pixels of all rows, unless that would make a row less than 2 pixels high or more than 14."""


def client_sizes(table: PopulationTable) -> Chart:
    """Return the histogram of training examples per client."""
    starts, ends, clients = zip(*table.figures["histogram"], strict=True)
    title = "Training examples per client"
    return bars(title, starts, ends, clients, "training examples", "clients")


def label_skew(table: PopulationTable) -> Chart:
    """Return the share of each label (columns) at each client (rows), relative to the largest."""
    rows, columns = table.counts.shape
    shares = table.counts / np.maximum(table.counts.sum(axis=1, keepdims=True), 1)
    largest = float(shares.max(initial=0)) or 1.0
    height = min(_TALLEST_ROW, max(2.0, _HEIGHT / rows))
    names = table.labels if columns <= _MOST_NAMES else ()
    grid = Grid(rows, columns, _WIDTH / columns, height, foot=max(12.0, room(names)))
    title = f"Share of {_labels(table)} at {shown_of(rows, table.all_clients)} clients"
    return grid.chart(
        title,
        f"{title}; the darkest cell is a share of {largest:.0%}",
        [grid.heat_cells(shares / largest), grid.column_names(names)],
        ("label" if table.groups == "labels" else table.groups, "client"),
    )


def target_ranges(table: PopulationTable) -> list[Chart]:
    """Return of each target its training values at each client (rows): a line from the least to the
    largest, a bar of the middle half, and a notch at the median.
    """
    return [_target_range(table, ranges) for ranges in table.targets if len(ranges.quantiles)]


def _target_range(table: PopulationTable, ranges: TargetRanges) -> Chart:
    rows = len(ranges.quantiles)
    least = float(ranges.quantiles.min())
    largest = float(ranges.quantiles.max())
    low, high = limits_around([least, largest])
    height = min(_TALLEST_ROW, max(2.0, _HEIGHT / rows))
    grid = Grid(rows, 1, _WIDTH, height, foot=16.0)
    legend = (("s5", "least to largest"), ("s0", "middle half"), ("s1", "median"))
    body = []
    for value in ticks(low, high, 8):
        x = grid.x((value - low) / (high - low))
        body.append(element("line", "grid", x1=x, x2=x, y1=grid.y(0), y2=grid.y(rows)))
        body.append(text(x, grid.y(rows) + 16, number(value), "middle"))
    places = (ranges.quantiles - low) / (high - low)
    thin = max(height * 0.15, 0.6)
    spans = ((0, 4, thin), (1, 3, height * 0.7), (2, 2, height * 0.7))
    for (css, _), (start, end, size) in zip(legend, spans, strict=True):
        path = "".join(
            _bar(grid, row, values[start], values[end], size)
            for row, values in enumerate(places.tolist())
        )
        body.append(element("path", f"solid {css}", d=path))
    name = drawn(ranges.target)
    title = f"{name} at {shown_of(rows, table.all_clients)} clients"
    description = f"{title}: training values from {number(least)} to {number(largest)}"
    return grid.chart(title, description, body, (name, "client"), legend)


def _bar(grid: Grid, row: int, start: float, end: float, size: float) -> str:
    """Return the path of a bar in a row, at least 1.5 pixels wide."""
    left = grid.x(start)
    width = max(grid.x(end) - left, 1.5)
    top = grid.y(row + 0.5) - size / 2
    places = (left, top, width, size, left)
    return "M{} {}h{}v{}H{}z".format(*map(coordinate, places))


def _labels(table: PopulationTable) -> str:
    if len(table.labels) < table.all_labels:
        return f"the {len(table.labels)} most frequent of {table.all_labels} {table.groups}"
    return table.groups
