"""Charts of a population: how many examples clients have, and which labels."""

import numpy as np

from fedpipe.figures.charts import bars
from fedpipe.figures.grid import Grid, room
from fedpipe.figures.svg import Chart
from fedpipe.tables.population import PopulationTable
from fedpipe.tables.texts import shown_of

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
        ("label", "client"),
    )


def _labels(table: PopulationTable) -> str:
    if len(table.labels) < table.all_labels:
        return f"the {len(table.labels)} most frequent of {table.all_labels} labels"
    return "labels"
