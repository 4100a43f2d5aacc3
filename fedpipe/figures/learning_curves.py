"""Learning curves: the metric that chooses, the loss and other metrics by round."""

from collections.abc import Sequence

from fedpipe.figures.charts import Curve, curves
from fedpipe.figures.svg import Chart
from fedpipe.tables.rounds import Row
from fedpipe.tables.shown_task import CLASSIFICATION, ShownTask, metric_title

SPLITS = {
    "train": "train (cohort, while training)",
    "validation": "validation (pooled)",
    "test": "test (central set)",
}
"""Labels of the curves by split."""


def learning_curves(rows: Sequence[Row], task: ShownTask = CLASSIFICATION) -> list[Chart]:
    """Return metrics of training, validation and test by round: first the one that chooses, then
    the loss; a metric that no round has is left out.

    Args:
        rows: one per round, with metrics by key such as `train/loss`.
        task: of the run.
    """
    charts = []
    for metric in task.drawn_metrics(metric_keys(rows)):
        by_split = (
            Curve(label, points(rows, f"{split}/{metric}")) for split, label in SPLITS.items()
        )
        charts.append(curves(metric_title(metric), by_split, task.unit(metric)))
    return list(filter(None, charts))


def metric_keys(rows: Sequence[Row]) -> set[str]:
    """Return the keys of all metrics of some rounds."""
    return set().union(*rows) - {"round"}


def points(rows: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """Return (round, value) of a metric in the rounds that have it."""
    return [(row["round"], row[key]) for row in rows if key in row]
