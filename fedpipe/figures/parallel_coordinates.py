"""The chart of a sweep: each trial is a line across the settings that were searched, to the metric
that judges it.
"""

from collections.abc import Sequence

from markupsafe import Markup

from fedpipe.figures.svg import Chart, element, joined, polyline, text
from fedpipe.figures.sweep_axis import ChoiceAxis, NumberAxis, sweep_axis
from fedpipe.tables.sweep import searched_values
from fedpipe.tables.texts import drawn, number, setting_text
from fedpipe.tracking.sweeps import SweepTrial

_LEFT = 70.0
_TOP = 34.0
_HEIGHT = 250.0
_RIGHT = 90.0
_WIDEST = 820.0
_NARROWEST_GAP = 110.0
_WIDEST_GAP = 230.0
_LEGEND = (
    ("s1", "the best trial"),
    ("s0", "other trials: the fainter, the worse"),
    ("s5 dashed", "without a value"),
)


def parallel_coordinates(
    trials: Sequence[SweepTrial], keys: Sequence[str], metric: str, direction: str
) -> Chart:
    """Return the trials as lines: the best thick and on top, the others fainter the worse they
    are; those without a value dashed, up to the last setting.

    Args:
        trials: of the sweep, in any order.
        keys: the searched settings: one axis each; the metric's is the last.
        metric: key of the metric that judges.
        direction: `maximize` or `minimize`.
    """
    values = [trial.value for trial in trials if trial.value is not None]
    ranked = sorted(values, reverse=direction == "maximize")
    rows = [searched_values(trial, keys) for trial in trials]
    axes = [sweep_axis(column) for column in zip(*rows, strict=True)] or [sweep_axis([])] * len(
        keys
    )
    axes.append(sweep_axis(values, may_be_logarithmic=False))
    gap = min(max(_WIDEST / max(len(keys), 1), _NARROWEST_GAP), _WIDEST_GAP)
    columns = [_LEFT + index * gap for index in range(len(axes))]
    best = ranked[:1]
    body = []
    for trial in sorted(trials, key=lambda trial: (trial.value is not None, trial.value in best)):
        coordinates = searched_values(trial, keys)
        if trial.value is not None:
            coordinates.append(trial.value)
        places = zip(columns, axes, coordinates, strict=False)
        path = polyline((x, _y(axis.place(value))) for x, axis, value in places)
        css, opacity = _style(trial.value, ranked)
        tooltip = _tooltip(trial, keys, metric)
        body.append(element("path", css, tooltip, d=path, stroke_opacity=opacity))
    for x, name, axis in zip(columns, [*keys, metric], axes, strict=True):
        body.append(_drawn_axis(x, name, axis))
    without_value = len(trials) - len(values)
    description = (
        f"{len(values)} of {len(trials)} trials with a value across {', '.join(keys)}; the "
        "table has the figures"
    )
    return Chart(
        "Searched settings and results",
        description,
        columns[-1] + _RIGHT,
        _TOP + _HEIGHT + 12,
        joined(body),
        _LEGEND if without_value else _LEGEND[:2],
    )


def _style(value: float | None, ranked: Sequence[float]) -> tuple[str, float]:
    """Return the CSS classes and the opacity of a trial's line; all values, the best first, are
    `ranked`.
    """
    if value is None:
        return "curve s5 dashed thin", 0.6
    best = ranked[0]
    worst = ranked[-1]
    if value == best:
        return "curve s1", 1.0
    return "curve s0 thin", 0.25 + 0.65 * (value - worst) / (best - worst)


def _tooltip(trial: SweepTrial, keys: Sequence[str], metric: str) -> str:
    texts = map(setting_text, searched_values(trial, keys))
    settings = ", ".join(map(" ".join, zip(keys, texts, strict=True)))
    result = trial.state
    if trial.value is not None:
        result = f"{metric} {number(trial.value)}"
    return f"{trial.name or trial.number}: {settings}; {result}"


def _drawn_axis(x: float, name: str, axis: ChoiceAxis | NumberAxis) -> Markup:
    marks = (
        text(x + 6, _y(place) + 4, drawn(words, 16), "start", "tick haloed")
        for place, words in axis.ticks
    )
    line = element("line", "axis", x1=x, x2=x, y1=_TOP, y2=_TOP + _HEIGHT)
    return joined([line, text(x, _TOP - 14, drawn(name), "middle", "label"), *marks])


def _y(place: float) -> float:
    return _TOP + (1 - place) * _HEIGHT
