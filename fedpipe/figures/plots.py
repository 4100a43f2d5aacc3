"""Pictures of a run, as matplotlib figures. Objects alone, no pyplot: nothing global, so that
threads may draw at once.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedpipe.models.confusion import Confusion
from fedpipe.tables.tables import MOST_CLASSES, Row
from fedpipe.tables.texts import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"train": "#7a8ca3", "validation": "#edae49", "test": "#d1495b"}
_LABELS = {
    "train": "train (cohort, while training)",
    "validation": "validation (pooled)",
    "test": "test (central set)",
}
_INK = "#333333"
_WRITTEN_CLASSES = 20
_SHOWN_CLASSES = 40


def learning_curves(rows: Sequence[Row]) -> "Figure":
    """Return loss (nats per example) and accuracy (fraction), train, validation and test, by round.

    Args:
        rows: one per round, with metrics by key such as `train/loss`; a round without a metric is
            passed over.
    """
    figure = blank_figure(10.0, 3.8)
    loss, accuracy = figure.subplots(1, 2)
    _curves(loss, rows, "loss", "cross-entropy (nats)")
    _curves(accuracy, rows, "accuracy", "accuracy (fraction)")
    handles, labels = accuracy.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=len(handles), frameon=False
        )
    return figure


def confusion_matrix(confusion: Confusion, names: Sequence[str]) -> "Figure":
    """Return the confusion matrix; colour is the fraction of the row. Up to 20 classes have their
    counts written in.

    Of more than 64 classes the 40 that are confused most are shown; the title says so.

    Args:
        confusion: counts.
        names: of the classes.
    """
    all_classes = confusion.num_classes
    shown = confusion.most_confused(all_classes if all_classes <= MOST_CLASSES else _SHOWN_CLASSES)
    classes = len(shown)
    matrix = confusion.among(shown)
    labels = [drawn(names[i]) for i in shown.tolist()]
    few = classes <= _WRITTEN_CLASSES
    cell = 0.46 if few else 0.14
    longest = max(map(len, labels), default=1)
    room = (0.08 if few else 0.05) * longest
    figure = blank_figure(
        max(3.5, 1.8 + room + cell * classes), max(3.2, 1.3 + room + cell * classes)
    )
    axes = figure.subplots()
    shares = matrix / np.maximum(confusion.examples()[shown], 1)[:, np.newaxis]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for actual, predicted in np.argwhere(matrix) if few else ():
        color = "white" if shares[actual, predicted] > 0.5 else _INK
        axes.text(
            predicted,
            actual,
            f"{matrix[actual, predicted]}",
            ha="center",
            va="center",
            color=color,
            fontsize=8.5,
        )
    size = 10 if few else 6
    axes.set_xticks(range(classes), labels, rotation=90 if longest > 2 else 0, fontsize=size)
    axes.set_yticks(range(classes), labels, fontsize=size)
    axes.set(xlabel="predicted", ylabel="actual")
    title = f"{confusion.right} of {confusion.total} right"
    if classes < all_classes:
        title += f"\nthe {classes} of {all_classes} classes that are confused most"
    axes.set_title(title, color=_INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar: Any = figure.colorbar(image, ax=axes, shrink=0.8, label="fraction of the actual class")
    bar.outline.set_visible(False)
    return figure


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure to a file, whose ending says the format; every text in it is drawn as it is,
    `$` and backslashes too.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*Glyph .* missing from"
        )  # a box is drawn for it
        figure.savefig(path, dpi=120)


def blank_figure(width: float, height: float) -> "Figure":
    """Return an empty white figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")


def _curves(axes: "Axes", rows: Sequence[Row], metric: str, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for split in _COLORS:
        points = [
            (row["round"], row[f"{split}/{metric}"]) for row in rows if f"{split}/{metric}" in row
        ]
        if points:
            marker = "o" if len(points) <= 40 else None
            rounds, values = zip(*points, strict=True)
            axes.plot(
                rounds,
                values,
                color=_COLORS[split],
                label=_LABELS[split],
                marker=marker,
                markersize=3.5,
                linewidth=1.8,
            )
    axes.set_xlabel("round (0: before training)")
    axes.set_title(label, loc="left", color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
