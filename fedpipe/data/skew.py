"""How uneven a population is: the figures of `fedpipe describe`. Pure functions of the index's
counts.
"""

from dataclasses import dataclass

import numpy as np

from fedpipe.data.array_types import Array, Floats
from fedpipe.data.index import ClientIndex
from fedpipe.data.label_counts import LabelCounts
from fedpipe.data.manifest import SPLITS


@dataclass(frozen=True)
class PopulationFigures:
    """What a population looks like. Sizes and mixes are those of the training split, over clients
    that have one.

    Attributes:
        clients: number of clients.
        held_out: how many of them never train.
        examples: number of examples by split.
        size_min, size_median, size_max: training examples a client.
        size_gini: Gini coefficient of the sizes: 0 if all are equal, towards 1 if one client has
            all.
        label_tv_mean: mean over clients of the total variation distance between a client's mix of
            labels and the mix of all: 0 if all are alike, towards 1 - 1/classes if each client has
            one label.
        labels_per_client_mean: mean number of labels of which a client has an example.
        histogram: `(from, to, clients)`: clients with a size from `from` to below `to`; the last
            bin takes its end too.
    """

    clients: int
    held_out: int
    examples: dict[str, int]
    size_min: int
    size_median: float
    size_max: int
    size_gini: float
    label_tv_mean: float
    labels_per_client_mean: float
    histogram: tuple[tuple[float, float, int], ...]


def describe(index: ClientIndex, bins: int = 20) -> PopulationFigures:
    """Return the figures of a population.

    Args:
        index: its clients.
        bins: of the histogram of sizes, at most.
    """
    labels = index.label_counts["train"]
    labels = labels.rows(np.flatnonzero(labels.sizes()))
    sizes = labels.sizes()
    counts, edges = np.histogram(sizes, bins=min(bins, max(1, int(np.ptp(sizes)))))
    return PopulationFigures(
        clients=len(index.client_ids),
        held_out=int(index.held_out.sum()),
        examples={split: int(index.counts(split).sum()) for split in SPLITS},
        size_min=int(sizes.min()),
        size_median=float(np.median(sizes)),
        size_max=int(sizes.max()),
        size_gini=gini(sizes),
        label_tv_mean=float(label_distances(labels).mean()),
        labels_per_client_mean=float(labels.distinct().mean()),
        histogram=tuple(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)),
    )


def gini(sizes: Array) -> float:
    """Return the Gini coefficient, half the relative mean absolute difference of sizes that are not
    all zero.

    >>> round(gini(np.array([5, 5, 5])), 3), round(gini(np.array([0, 0, 0, 8])), 3)
    (0.0, 0.75)
    """
    ordered = np.sort(sizes.astype(np.float64))
    n = len(ordered)
    return float(2 * (np.arange(1, n + 1) * ordered).sum() / (n * ordered.sum()) - (n + 1) / n)


def label_distances(label_counts: LabelCounts) -> Floats:
    """Return for each client the total variation distance between its mix of labels and the mix of
    all, float64 [clients].

    Args:
        label_counts: of clients that all have examples.

    The distance is the sum over the labels of what the client's share is above that of all; labels
    that the client has not add nothing.

    >>> label_distances(LabelCounts.of_dense(np.array([[4, 0], [0, 4]]))).tolist()
    [0.5, 0.5]
    """
    owners = label_counts.owners()
    totals = label_counts.totals()
    above = (
        label_counts.counts / label_counts.sizes()[owners]
        - (totals / totals.sum())[label_counts.labels]
    )
    return np.bincount(owners, np.maximum(above, 0.0), len(label_counts)).astype(
        np.float64, copy=False
    )
