"""The picture of a sweep: each child a line across the settings that were searched, to what it was
judged by.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedpipe.figures.axis import Axis
from fedpipe.figures.plots import blank_figure
from fedpipe.tables.sweep import ABSENT
from fedpipe.tables.texts import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK = "#333333"
_FAINT = "#b8bec7"
_BEST = "#d1495b"


def parallel_coordinates(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], metric: str, direction: str
) -> "Figure":
    """Return the children of a sweep as lines; colour is the metric, the best is drawn thick, those
    without a metric dashed in grey.

    Args:
        rows: one per child, with `state`, `value` (None where it is not finished) and `params` by
            dotted key; a setting that does not apply to the child is not in them.
        keys: the searched settings, in order: an axis each; the metric is the last.
        metric: what children were judged by.
        direction: `maximize` or `minimize`.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = blank_figure(max(5.0, 2.0 + 1.7 * len(keys)), 4.2)
    axes = figure.subplots()
    settings = [Axis([row["params"].get(key, ABSENT) for row in rows]) for key in keys]
    values = [row["value"] for row in rows if row["value"] is not None]
    judged = Axis(values, by_ratio=False)
    norm = Normalize(min(values, default=0.0), max(values, default=1.0))
    best = (max if direction == "maximize" else min)(values, default=None)
    colors = colormaps["viridis" if direction == "maximize" else "viridis_r"]
    for row in sorted(rows, key=lambda one: (one["value"] is not None, one["value"] == best)):
        heights = [
            axis.at(row["params"].get(key, ABSENT))
            for axis, key in zip(settings, keys, strict=True)
        ]
        if row["value"] is None:
            axes.plot(
                range(len(keys)),
                heights,
                color=_FAINT,
                linewidth=1,
                linestyle="--",
                label=row["state"],
            )
            continue
        is_best = row["value"] == best
        color, width = (_BEST, 2.6) if is_best else (colors(norm(row["value"])), 1.3)
        axes.plot(
            range(len(keys) + 1),
            [*heights, judged.at(row["value"])],
            color=color,
            linewidth=width,
            label="finished",
        )
    for place, axis in enumerate([*settings, judged]):
        axes.axvline(place, color=_INK, linewidth=0.8, zorder=0)
        for height, text in axis.ticks:
            box = {
                "facecolor": "white",
                "edgecolor": "none",
                "pad": 0.8,
                "alpha": 0.85,
            }  # lines run through where the words are
            axes.annotate(
                drawn(text),
                (place, height),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=_INK,
                bbox=box,
                zorder=5,
            )
    axes.set_xticks(range(len(keys) + 1), [*keys, metric], fontsize=8.5)
    axes.set_yticks([])
    axes.set(xlim=(-0.15, len(keys) + 0.35), ylim=(-0.06, 1.06))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    without = len(rows) - len(values)
    said = [
        f"{len(rows)} children",
        *([f"{without} without a metric (dashed)"] if without else []),
        *(["the best in red"] if values else []),
    ]
    axes.set_title(", ".join(said), loc="left", color=_INK, fontsize=10)
    if len(set(values)) > 1:
        bar: Any = figure.colorbar(ScalarMappable(norm, colors), ax=axes, shrink=0.8, label=metric)
        bar.outline.set_visible(False)
    return figure
