"""Charts of cells in rows and columns: where each cell is, and the names beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fedpipe.figures.svg import Chart, coordinate, element, joined, text, vertical_text
from fedpipe.tables.texts import drawn

_LONGEST_NAME = 14
_LETTER = 7.0
"""Pixels of a letter of a name."""
_LONGEST_UPRIGHT = 3 * _LETTER
"""Longer names of columns are turned."""
_TOP = 4.0
_RIGHT = 16.0
_X_LABEL = 28.0
"""Pixels below the cells for the label of the horizontal axis."""


@dataclass(frozen=True)
class Grid:
    """The place of the cells in pixels.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        cell_width: of each cell.
        cell_height: of each cell.
        left: of the first column.
        foot: room for the names of the columns.
    """

    rows: int
    columns: int
    cell_width: float
    cell_height: float
    left: float = 30.0
    foot: float = 0.0

    @property
    def width(self) -> float:
        """Return the width of all columns."""
        return self.cell_width * self.columns

    @property
    def height(self) -> float:
        """Return the height of all rows."""
        return self.cell_height * self.rows

    def x(self, column: float) -> float:
        """Return the left edge of a column; of 0.5 more, its center."""
        return self.left + column * self.cell_width

    def y(self, row: float) -> float:
        """Return the upper edge of a row; of 0.5 more, its center."""
        return _TOP + row * self.cell_height

    def heat_cells(self, shares: npt.NDArray[np.float64]) -> Markup:
        """Return the cells of a heat map in few elements: cells of about the same share are one
        path.

        Args:
            shares: float64 [rows, columns], in 0..1; cells of share 0 are not drawn.
        """
        levels = np.ceil(shares * 10 - 1e-9).clip(1) * (shares > 0)
        paths = []
        for level in np.unique(levels[levels > 0]).tolist():
            places = np.argwhere(levels == level).tolist()
            path = "".join(f"M{column} {row}h1v1h-1z" for row, column in places)
            paths.append(element("path", "heat", fill_opacity=level / 10, d=path))
        group = Markup('<g transform="translate({} {}) scale({:.5g} {:.5g})">{}</g>')
        left = coordinate(self.left)
        return group.format(
            left, coordinate(_TOP), self.cell_width, self.cell_height, joined(paths)
        )

    def row_names(self, names: Iterable[str]) -> Markup:
        """Return the names beside the rows."""
        return joined(
            text(self.left - 6, self.y(row + 0.5) + 4, short_name(name), "end")
            for row, name in enumerate(names)
        )

    def column_names(self, names: Sequence[str]) -> Markup:
        """Return the names below the columns, turned if one of them is long."""
        foot = self.y(self.rows)
        is_turned = room(names) > _LONGEST_UPRIGHT
        elements = []
        for column, name in enumerate(map(short_name, names)):
            x = self.x(column + 0.5)
            if is_turned:
                elements.append(vertical_text(x + 4, foot + 6, name, "end", "tick"))
            else:
                elements.append(text(x, foot + 16, name, "middle"))
        return joined(elements)

    def chart(
        self,
        title: str,
        description: str,
        body: Iterable[Markup],
        labels: tuple[str, str],
        legend: tuple[tuple[str, str], ...] = (),
    ) -> Chart:
        """Return the chart of these cells; `labels` are of the horizontal and the vertical axis."""
        height = _TOP + self.height + self.foot + _X_LABEL
        board = {"x": self.left, "y": _TOP, "width": self.width, "height": self.height}
        elements = [
            element("rect", "board", "", **board),
            *body,
            text(self.x(self.columns / 2), height - 6, labels[0], "middle", "label"),
            vertical_text(14, self.y(self.rows / 2), labels[1]),
        ]
        width = self.left + self.width + _RIGHT
        return Chart(title, description, width, height, joined(elements), legend, filled=True)


def room(names: Iterable[str]) -> float:
    """Return the pixels that the longest name needs, as drawn."""
    return _LETTER * max(map(len, map(short_name, names)), default=1)


def short_name(name: str) -> str:
    """Return a name as it is drawn: one line, at most 14 letters."""
    return drawn(name, _LONGEST_NAME)
