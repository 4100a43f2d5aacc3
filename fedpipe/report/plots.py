"""Pictures of a run, as matplotlib figures. Objects alone, no pyplot: nothing global, so that threads may draw at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedpipe.report.tables import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"train": "#7a8ca3", "validation": "#edae49", "test": "#d1495b"}
_LABELS = {"train": "train (cohort, while training)", "validation": "validation (pooled)", "test": "test (central set)"}
_INK = "#333333"
_WRITTEN_CLASSES = 20


def learning_curves(rows: Sequence[Row]) -> "Figure":
    """Return loss (nats per example) and accuracy (fraction), train, validation and test, by round.

    Args:
        rows: one per round, with metrics by key such as `train/loss`; a round without a metric is passed over.
    """
    figure = blank_figure(10.0, 3.8)
    loss, accuracy = figure.subplots(1, 2)
    _curves(loss, rows, "loss", "cross-entropy (nats)")
    _curves(accuracy, rows, "accuracy", "accuracy (fraction)")
    handles, labels = accuracy.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def confusion_matrix(matrix: npt.NDArray[np.int64], names: Sequence[str] | None = None) -> "Figure":
    """Return the confusion matrix; colour is the fraction of the row. Up to 20 classes have their counts written in.

    Args:
        matrix: int [classes, classes]; row = label, column = prediction.
        names: of the classes; their numbers if not given.
    """
    classes, total = len(matrix), int(matrix.sum())
    few, labels = classes <= _WRITTEN_CLASSES, list(names or map(str, range(classes)))
    cell = 0.46 if few else 0.14
    figure = blank_figure(max(3.5, 1.8 + cell * classes), max(3.2, 1.3 + cell * classes))
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for actual, predicted in np.argwhere(matrix) if few else ():
        color = "white" if shares[actual, predicted] > 0.5 else _INK
        axes.text(predicted, actual, f"{matrix[actual, predicted]}", ha="center", va="center", color=color, fontsize=8.5)
    size = 10 if few else 6
    axes.set_xticks(range(classes), labels, rotation=90 if max(map(len, labels)) > 2 else 0, fontsize=size)
    axes.set_yticks(range(classes), labels, fontsize=size)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.set_title(f"{int(np.trace(matrix))} of {total} right", color=_INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar: Any = figure.colorbar(image, ax=axes, shrink=0.8, label="fraction of the actual class")
    bar.outline.set_visible(False)
    return figure


def blank_figure(width: float, height: float) -> "Figure":
    """Return an empty white figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")


def _curves(axes: "Axes", rows: Sequence[Row], metric: str, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for split in _COLORS:
        points = [(row["round"], row[f"{split}/{metric}"]) for row in rows if f"{split}/{metric}" in row]
        if points:
            marker = "o" if len(points) <= 40 else None
            rounds, values = zip(*points, strict=True)
            axes.plot(rounds, values, color=_COLORS[split], label=_LABELS[split], marker=marker, markersize=3.5, linewidth=1.8)
    axes.set_xlabel("round (0: before training)")
    axes.set_title(label, loc="left", color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
