"""The picture of a sweep: each child a line across the settings that were searched, to what it was
judged by.
"""

from fedpipe.figures.axis import Axis, words
from fedpipe.figures.svg import Chart, element, number, picture, short, text
from fedpipe.report.facts import Sweep
from fedpipe.tables.sweep import ABSENT

_LEFT = 70.0
_TOP = 34.0
_HEIGHT = 250.0
_WIDEST = 820.0
_GAPS = (110.0, 230.0)


def parallel_coordinates(sweep: Sweep) -> Chart:
    """Return the children as lines: the best thick, the others fainter the worse they are; those
    without a value dashed.
    """
    values = [float(child["value"]) for child in sweep.children if child["value"] is not None]
    axes = [
        Axis([child["params"].get(key, ABSENT) for child in sweep.children]) for key in sweep.keys
    ]
    judged = Axis(values, by_ratio=False)
    sign = -1.0 if sweep.direction == "maximize" else 1.0
    low = min(values, default=0.0)
    high = max(values, default=0.0)
    best = min(values, key=lambda value: sign * value, default=None)
    gap = min(max(_WIDEST / max(len(axes), 1), _GAPS[0]), _GAPS[1])
    parts = []
    for child in sorted(
        sweep.children, key=lambda one: (one["value"] is not None, one["value"] == best)
    ):
        value = child["value"]
        places = [
            axis.at(child["params"].get(key, ABSENT))
            for axis, key in zip(axes, sweep.keys, strict=True)
        ]
        said = ", ".join(f"{key} {words(child['params'].get(key, ABSENT))}" for key in sweep.keys)
        said = (
            f"{child['name'] or child['number']}: {said}; "
            f"{child['state'] if value is None else f'{sweep.metric} {number(float(value))}'}"
        )
        if value is None:
            css = "curve s5 dashed thin"
            opacity = 0.6
        else:
            places.append(judged.at(value))
            good = 1.0 if high == low else (float(value) - low) / (high - low)
            css, opacity = (
                ("curve s1", 1.0)
                if value == best
                else ("curve s0 thin", 0.25 + 0.65 * (good if sign < 0 else 1 - good))
            )
        path = "M" + "L".join(
            f"{short(_LEFT + index * gap)} {short(_y(place))}" for index, place in enumerate(places)
        )
        parts.append(element("path", css, said, d=path, stroke_opacity=opacity))
    for index, (name, axis) in enumerate(
        zip([*sweep.keys, sweep.metric], [*axes, judged], strict=True)
    ):
        x = _LEFT + index * gap
        parts.append(element("line", "axis", x1=x, x2=x, y1=_TOP, y2=_TOP + _HEIGHT))
        parts.append(
            text(x, _TOP - 14, name if len(name) <= 24 else f"{name[:23]}…", "middle", "label")
        )
        parts.extend(
            text(
                x + 6,
                _y(place) + 4,
                one if len(one) <= 16 else f"{one[:15]}…",
                "start",
                "tick haloed",
            )
            for place, one in axis.ticks
        )
    said = (
        f"{len(values)} of {len(sweep.children)} children with a value across "
        f"{', '.join(sweep.keys)}; the table has the figures"
    )
    legend = (
        ("s1", "the best child"),
        ("s0", "other children: the fainter, the worse"),
        ("s5 dashed", "without a value"),
    )
    shown = legend if len(values) < len(sweep.children) else legend[:2]
    return Chart(
        "Settings and what came of them",
        picture(_LEFT + len(sweep.keys) * gap + 90, _TOP + _HEIGHT + 12, said, parts),
        shown,
    )


def _y(place: float) -> float:
    return _TOP + (1 - place) * _HEIGHT
