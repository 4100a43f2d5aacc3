"""Pictures of a population: how many examples clients have, and which labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedpipe.data.label_counts import LabelCounts
from fedpipe.data.skew import PopulationFigures
from fedpipe.figures.plots import blank_figure
from fedpipe.tables.texts import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LABELS = 60
"""Labels that a heat map can show."""
MOST_CLIENTS = 200
"""Clients that a heat map can show; of more, as many are taken at even steps through the sorted
ids.
"""


def client_sizes(figures: PopulationFigures) -> "Figure":
    """Return the histogram of training examples a client."""
    figure = blank_figure(6.0, 3.6)
    axes = figure.subplots()
    starts = [start for start, _, _ in figures.histogram]
    widths = [end - start for start, end, _ in figures.histogram]
    axes.bar(
        starts,
        [clients for _, _, clients in figures.histogram],
        width=widths,
        align="edge",
        color="#7a8ca3",
        edgecolor="white",
    )
    axes.set(xlabel="training examples", ylabel="clients")
    axes.set_title(
        f"{figures.clients} clients, median {figures.size_median:g}, Gini {figures.size_gini:.2f}"
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def label_heat_map(
    label_counts: LabelCounts,
    client_ids: Sequence[str],
    names: Sequence[str],
    figures: PopulationFigures,
) -> "Figure":
    """Return the share of each label at each client; of many labels, the most frequent ones.

    Args:
        label_counts: of the training split.
        client_ids: of the rows.
        names: of the labels.
        figures: for the title.
    """
    chosen = np.unique(
        np.linspace(0, len(client_ids) - 1, min(MOST_CLIENTS, len(client_ids))).astype(int)
    )
    frequent = label_counts.most_frequent(MOST_LABELS)
    shown = label_counts.rows(chosen)
    shares = shown.dense(frequent) / np.maximum(shown.sizes(), 1)[:, None]
    of_all = (
        ""
        if len(frequent) == len(names)
        else f" (the {len(frequent)} most frequent of {len(names):,})"
    )
    names = [names[label] for label in frequent.tolist()]
    figure = blank_figure(max(4.0, 1.6 + 0.3 * len(names)), max(3.6, 1.4 + 0.045 * len(chosen)))
    axes = figure.subplots()
    image = axes.imshow(
        shares,
        cmap="Blues",
        vmin=0,
        vmax=max(shares.max(), 1e-9),
        aspect="auto",
        interpolation="nearest",
    )
    axes.set(xlabel=f"label{of_all}", ylabel=f"client ({len(chosen)} of {len(client_ids)})")
    axes.set_xticks(
        range(len(names)),
        [drawn(name) for name in names],
        rotation=90 if max(map(len, names)) > 2 else 0,
    )
    axes.set_yticks([])
    axes.set_title(f"mean distance from the mix of all: {figures.label_tv_mean:.2f}")
    bar: Any = figure.colorbar(image, ax=axes, shrink=0.8, label="share of the client's examples")
    bar.outline.set_visible(False)
    return figure
