"""ROC and precision-recall curves, and the bars of a multilabel task's labels."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from fedpipe.figures.frame import Frame, ticks
from fedpipe.figures.grid import Grid, room
from fedpipe.figures.svg import Chart, element, polyline, series_classes, text
from fedpipe.tables.multilabel import LabelScore
from fedpipe.tables.ranking import RankingCurve
from fedpipe.tables.texts import drawn, optional_number

_SIDE = 400.0
_MOST_LABELS = 20
_BAR = 9.0
"""Pixels of the height of one bar."""
_WIDTH = 420.0


def roc_chart(curves: Sequence[RankingCurve]) -> Chart:
    """Return the ROC curves; the diagonal is what guessing gives."""
    frame = Frame(0, 1, 0, 1.02, _SIDE, _SIDE)
    ends = {"x1": frame.x(0), "y1": frame.y(0), "x2": frame.x(1), "y2": frame.y(1)}
    guess = element("line", "mean s5", "guessing", **ends)
    axes = ("false positive rate", "true positive rate")
    return _chart("ROC", curves, frame, axes, "area", [guess])


def precision_recall_chart(curves: Sequence[RankingCurve]) -> Chart:
    """Return the curves of precision by recall."""
    frame = Frame(0, 1, 0, 1.02, _SIDE, _SIDE)
    return _chart(
        "Precision by recall", curves, frame, ("recall", "precision"), "average precision"
    )


def _chart(
    title: str,
    curves: Sequence[RankingCurve],
    frame: Frame,
    axes: tuple[str, str],
    area: str,
    shapes: Sequence[Markup] = (),
) -> Chart:
    lines = list(shapes)
    legend = []
    for css, curve in zip(series_classes(), curves, strict=False):
        points = ((frame.x(x), frame.y(y)) for x, y in curve.points.tolist())
        label = f"{drawn(curve.label)}: {area} {curve.area:.3f}"
        lines.append(element("path", f"curve {css}", label, d=polyline(points)))
        legend.append((css, label))
    description = f"{title}; {'; '.join(label for _, label in legend) or 'no curve'}"
    return frame.chart(title, description, lines, axes, legend, filled=False)


def label_bars(scores: Sequence[LabelScore]) -> Chart:
    """Return precision, recall and F1 of each label as bars; of more than 20 labels those with the
    lowest F1. A figure that does not exist has no bar.
    """
    title = "Precision, recall and F1 by label"
    shown = list(scores)
    if len(shown) > _MOST_LABELS:
        title = f"{title}: the {_MOST_LABELS} of {len(shown)} labels with the lowest F1"
        shown = sorted(shown, key=lambda score: (score.f1 is None, score.f1))[:_MOST_LABELS]
    names = [score.label for score in shown]
    legend = (("s0", "precision"), ("s1", "recall"), ("s2", "F1"))
    height = len(legend) * _BAR + 6
    grid = Grid(len(shown), 1, _WIDTH, height, 40.0 + room(names), 16.0)
    body = [grid.row_names(names)]
    for value in ticks(0, 1):
        x = grid.x(value)
        body.append(element("line", "grid", x1=x, x2=x, y1=grid.y(0), y2=grid.y(grid.rows)))
        body.append(text(x, grid.y(grid.rows) + 16, optional_number(value), "middle"))
    for row, score in enumerate(shown):
        for place, (css, name) in enumerate(legend):
            value = getattr(score, name.lower())
            if not value:
                continue
            body.append(
                element(
                    "rect",
                    f"fill {css}",
                    f"{score.label}: {name} {value:.3f}",
                    x=grid.left,
                    y=grid.y(row) + 3 + place * _BAR,
                    width=value * _WIDTH,
                    height=_BAR - 1,
                )
            )
    known = [score.f1 for score in scores if score.f1 is not None]
    description = f"{title}; the table has the figures"
    if known:
        description = f"{title}; mean F1 {np.mean(known):.3f}"
    return grid.chart(title, description, body, ("fraction", "label"), legend)
