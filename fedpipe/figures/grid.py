"""Charts of cells in rows and columns: where each cell is, and the names beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedpipe.figures.svg import Chart, element, joined, text, vertical_text
from fedpipe.tables.texts import drawn

_LONGEST_NAME = 14
_LETTER = 7.0
"""Pixels of a letter of a name."""
_LONGEST_UPRIGHT = 3
"""Names of columns that have more letters are turned."""
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

    def row_names(self, names: Iterable[str]) -> Markup:
        """Return the names beside the rows."""
        return joined(
            text(self.left - 6, self.y(row + 0.5) + 4, short_name(name), "end")
            for row, name in enumerate(names)
        )

    def column_names(self, names: Sequence[str]) -> Markup:
        """Return the names below the columns, turned if one of them is long."""
        foot = self.y(self.rows)
        is_turned = longest(names) > _LONGEST_UPRIGHT
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


def longest(names: Iterable[str]) -> int:
    """Return the number of letters of the longest name, as drawn."""
    return max(map(len, map(short_name, names)), default=1)


def room_beside(names: Iterable[str]) -> float:
    """Return the pixels that the names of rows need."""
    return _LETTER * longest(names)


def room_below(names: Iterable[str]) -> float:
    """Return the pixels that the names of columns need."""
    letters = longest(names)
    if letters > _LONGEST_UPRIGHT:
        return _LETTER * letters
    return 12.0


def short_name(name: str) -> str:
    """Return a name as it is drawn: one line, at most 14 letters."""
    return drawn(name, _LONGEST_NAME)
