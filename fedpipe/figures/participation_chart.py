"""Which clients took part in which rounds."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from fedpipe.figures.frame import ticks
from fedpipe.figures.grid import Grid
from fedpipe.figures.svg import Chart, coordinate, element, joined, text
from fedpipe.tracking.participation import intervals

_WIDTH = 510.0
_HEIGHT = 320.0
"""Pixels of all rows, unless that would make a row less than 3 pixels high or more than 14."""


def participation(
    title: str,
    reported: Mapping[str, Sequence[int]],
    missed: Mapping[str, Sequence[int]],
    rounds: int,
) -> Chart:
    """Return one row per client: the rounds in which it reported, and those in which it was asked
    and did not.

    Args:
        title: heading of the chart.
        reported: rising rounds by client id.
        missed: rising rounds by client id.
        rounds: number of rounds.
    """
    clients = list(dict.fromkeys([*reported, *missed]))
    height = min(14.0, max(3.0, _HEIGHT / max(len(clients), 1)))
    grid = Grid(len(clients), max(rounds, 1), _WIDTH / max(rounds, 1), height, foot=16.0)
    legend = (("s0", "reported"), ("s1", "asked, did not report"))
    body = []
    for (css, _), rounds_by_client in zip(legend, (reported, missed), strict=True):
        path = "".join(
            _stripes(grid, row, rounds_by_client.get(client, ()))
            for row, client in enumerate(clients)
        )
        if path:
            body.append(element("path", f"solid {css}", d=path))
    body.append(_round_numbers(grid, rounds))
    description = f"{title}: {len(clients)} clients in {rounds} rounds; the table has the figures"
    shown_legend = legend if any(missed.values()) else legend[:1]
    return grid.chart(title, description, body, ("round", "client"), shown_legend)


def _stripes(grid: Grid, row: int, rounds: Sequence[int]) -> str:
    """Return the path of a client's rounds: one rectangle for rounds that follow each other."""
    y = coordinate(grid.y(row))
    height = coordinate(grid.cell_height * 0.9)
    rectangles = []
    for first, last in intervals(rounds):
        left = coordinate(grid.x(first - 1))
        width = coordinate(grid.cell_width * (last - first + 1))
        rectangles.append(f"M{left} {y}h{width}v{height}H{left}z")
    return "".join(rectangles)


def _round_numbers(grid: Grid, rounds: int) -> Markup:
    """Return the first round, the last one, and round numbers between that leave room for it."""
    inner = [
        value
        for value in ticks(0, rounds, 8, whole=True)
        if value > 0 and rounds - value >= rounds / 20
    ]
    numbers = sorted({1.0, *inner, float(rounds)})
    foot = grid.y(grid.rows) + 16
    return joined(text(grid.x(value - 0.5), foot, f"{value:g}", "middle") for value in numbers)
