"""Charts of a regression: the distribution of errors, errors by prediction, and predicted against
true values.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fedpipe.figures.charts import bars
from fedpipe.figures.frame import Frame, limits_around
from fedpipe.figures.svg import Chart, coordinate, element
from fedpipe.tables.regression import TargetErrors, TargetPairs
from fedpipe.tables.texts import drawn, number

_SIDE = 400.0
_DOT = 3.0
"""Pixels of the side of the square that marks an example."""


def residual_charts(errors: Sequence[TargetErrors], pairs: Sequence[TargetPairs]) -> list[Chart]:
    """Return of each target the histogram of its errors and the errors by prediction."""
    examples = {pair.target: pair for pair in pairs}
    charts = []
    for target in errors:
        edges = target.edges.tolist()
        title = f"Errors of {drawn(target.target)}"
        counts = target.counts.astype(np.float64).tolist()
        charts.append(
            bars(title, edges[:-1], edges[1:], counts, "predicted minus true", "examples")
        )
        pair = examples.get(target.target)
        if pair is not None:
            charts.append(_errors_by_prediction(pair))
    return charts


def predicted_against_true(pairs: Sequence[TargetPairs]) -> list[Chart]:
    """Return of each target the predicted values by the true ones; on the dashed line both are
    equal.
    """
    return [_predicted_by_true(pair) for pair in map(_finite, pairs) if len(pair.true)]


def _predicted_by_true(pair: TargetPairs) -> Chart:
    name = drawn(pair.target)
    values = np.concatenate([pair.true, pair.predicted])
    low, high = limits_around(values.tolist())
    frame = Frame(low, high, low, high, _SIDE, _SIDE)
    ends = {"x1": frame.x(low), "y1": frame.y(low), "x2": frame.x(high), "y2": frame.y(high)}
    shapes = [
        element("line", "mean s5", "predicted as it is", **ends),
        _dots(frame, pair.true, pair.predicted),
    ]
    legend = (("s0", f"{len(pair.true)} examples"), ("s5", "predicted as it is"))
    description = (
        f"Predicted against true values of {name}, from {number(pair.true.min())} to "
        f"{number(pair.true.max())}; predicted from {number(pair.predicted.min())} to "
        f"{number(pair.predicted.max())}"
    )
    title = f"Predicted against true: {name}"
    return frame.chart(title, description, shapes, ("true", "predicted"), legend)


def _errors_by_prediction(pair: TargetPairs) -> Chart:
    pair = _finite(pair)
    name = drawn(pair.target)
    errors = pair.predicted - pair.true
    x_limits = limits_around(pair.predicted.tolist() or [0.0])
    frame = Frame(*x_limits, *limits_around([*errors.tolist(), 0.0]))
    ends = {"x1": frame.left, "x2": frame.x(frame.x_high), "y1": frame.y(0), "y2": frame.y(0)}
    line = element("line", "mean s5", "no error", **ends)
    title = f"Errors by prediction: {name}"
    description = f"Predicted minus true of {len(errors)} examples by the predicted {name}"
    shapes = [line, _dots(frame, pair.predicted, errors)]
    legend = (("s0", f"{len(errors)} examples"), ("s5", "no error"))
    return frame.chart(title, description, shapes, ("predicted", "predicted minus true"), legend)


def _finite(pair: TargetPairs) -> TargetPairs:
    is_finite = np.isfinite(pair.true) & np.isfinite(pair.predicted)
    return TargetPairs(pair.target, pair.true[is_finite], pair.predicted[is_finite])


def _dots(frame: Frame, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Markup:
    """Return a square for each point, all of them in one path."""
    squares = []
    for across, up in zip(x.tolist(), y.tolist(), strict=True):
        left = coordinate(frame.x(across) - _DOT / 2)
        top = coordinate(frame.y(up) - _DOT / 2)
        squares.append(f"M{left} {top}h{_DOT:g}v{_DOT:g}h-{_DOT:g}z")
    return element("path", "solid s0", fill_opacity=0.5, d="".join(squares))
