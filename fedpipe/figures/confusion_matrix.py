"""The confusion matrix of an evaluation."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fedpipe.figures.grid import Grid, room
from fedpipe.figures.svg import Chart, element, joined, text
from fedpipe.models.confusion import Confusion
from fedpipe.tables.texts import drawn

_MOST_WRITTEN = 20
"""Classes up to which names and counts are written."""
_MOST_CLASSES = 256
_LONGEST_IN_TOOLTIP = 200


def confusion_matrix(confusion: Confusion, names: Sequence[str], title: str = "Confusion") -> Chart:
    """Return the confusion matrix: row = label, column = prediction, colour = share of the row. Up
    to 20 classes have their counts written in.

    Of more than 256 classes the 20 that are confused most are shown; the title says so.

    Args:
        confusion: counts.
        names: names of all classes.
        title: heading of the chart.
    """
    all_classes = confusion.num_classes
    shown = confusion.most_confused(all_classes if all_classes <= _MOST_CLASSES else _MOST_WRITTEN)
    classes = len(shown)
    if classes < all_classes:
        title = f"{title}: the {classes} of {all_classes} classes that are confused most"
    matrix = confusion.among(shown)
    shares = matrix / np.maximum(confusion.examples()[shown], 1)[:, np.newaxis]
    if classes <= _MOST_WRITTEN:
        shown_names = [drawn(names[label], _LONGEST_IN_TOOLTIP) for label in shown.tolist()]
        names_room = room(shown_names)
        grid = Grid(classes, classes, 34.0, 34.0, 40.0 + names_room, max(12.0, names_room))
        body = [
            _written_cells(grid, matrix, shares, shown_names),
            grid.row_names(shown_names),
            grid.column_names(shown_names),
        ]
    else:
        cell = max(2.0, 560.0 / classes)
        grid = Grid(classes, classes, cell, cell, 40.0)
        body = [grid.heat_cells(shares)]
    description = (
        f"{title}: {confusion.right} of {confusion.total} predictions are right; the pairs most "
        "often confused are listed beside it"
    )
    return grid.chart(title, description, body, ("predicted", "actual"))


def _written_cells(
    grid: Grid, matrix: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], names: list[str]
) -> Markup:
    size = {"width": grid.cell_width, "height": grid.cell_height}
    elements = []
    for actual, predicted in np.argwhere(matrix).tolist():
        count = int(matrix[actual, predicted])
        tooltip = f"{names[actual]} taken for {names[predicted]}: {count}"
        if actual == predicted:
            tooltip = f"{names[actual]} right: {count}"
        opacity = max(float(shares[actual, predicted]), 0.04)
        place = {"x": grid.x(predicted), "y": grid.y(actual)}
        elements.append(element("rect", "heat", tooltip, **place, **size, fill_opacity=opacity))
        x = grid.x(predicted + 0.5)
        elements.append(text(x, grid.y(actual + 0.5) + 4, str(count), "middle", "count"))
    return joined(elements)
