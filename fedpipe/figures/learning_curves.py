"""Learning curves: accuracy and loss by round."""

from collections.abc import Sequence

from fedpipe.figures.charts import Curve, curves
from fedpipe.figures.svg import Chart
from fedpipe.tables.rounds import Row

SPLITS = {
    "train": "train (cohort, while training)",
    "validation": "validation (pooled)",
    "test": "test (central set)",
}
"""Labels of the curves by split."""
UNITS = {"accuracy": "fraction", "loss": "cross-entropy (nats)"}


def learning_curves(rows: Sequence[Row]) -> list[Chart]:
    """Return accuracy (fraction) and loss (nats per example) of training, validation and test by
    round; a metric that no round has is left out.

    Args:
        rows: one per round, with metrics by key such as `train/loss`.
    """
    charts = []
    for metric, unit in UNITS.items():
        by_split = (
            Curve(label, points(rows, f"{split}/{metric}")) for split, label in SPLITS.items()
        )
        charts.append(curves(metric.capitalize(), by_split, unit))
    return list(filter(None, charts))


def points(rows: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """Return (round, value) of a metric in the rounds that have it."""
    return [(row["round"], row[key]) for row in rows if key in row]
