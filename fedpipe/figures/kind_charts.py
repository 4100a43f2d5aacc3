"""The charts of predictions that only some kinds of tasks have, by name of their picture."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from fedpipe.config.task import TaskKind
from fedpipe.figures.evaluation_charts import reliability_diagram
from fedpipe.figures.ranking_charts import label_bars, precision_recall_chart, roc_chart
from fedpipe.figures.regression_charts import predicted_against_true, residual_charts
from fedpipe.figures.svg import Chart
from fedpipe.tables.kinds import KindTables

Row = TypeVar("Row")

ROC = "roc"
PRECISION_RECALL = "precision_recall"
RELIABILITY = "reliability"
LABELS = "labels"
RESIDUALS = "residuals"
PREDICTED = "predicted_against_true"

KIND_PICTURES: dict[TaskKind, tuple[str, ...]] = {
    "classification": (),
    "binary": (ROC, PRECISION_RECALL, RELIABILITY),
    "multilabel": (LABELS, ROC, PRECISION_RECALL),
    "regression": (PREDICTED, RESIDUALS),
    "tokens": (),
}
"""Pictures of each kind beside those that all have."""


def kind_charts(picture: str, tables: KindTables, names: Sequence[str]) -> list[Chart]:
    """Return the charts of a picture of `KIND_PICTURES`; none where the tables have nothing.

    Args:
        picture: its name.
        tables: of the run.
        names: of binary the two classes.
    """
    makers: dict[str, Callable[[], list[Chart]]] = {
        ROC: lambda: _chart(roc_chart, tables.roc),
        PRECISION_RECALL: lambda: _chart(precision_recall_chart, tables.precision_recall),
        RELIABILITY: lambda: _reliability(tables, names),
        LABELS: lambda: _chart(label_bars, tables.labels),
        RESIDUALS: lambda: residual_charts(tables.residuals, tables.predicted),
        PREDICTED: lambda: predicted_against_true(tables.predicted),
    }
    return makers[picture]()


def _chart(draw: Callable[[Sequence[Row]], Chart], rows: Sequence[Row]) -> list[Chart]:
    """Return the chart of rows; none if there are no rows."""
    if not rows:
        return []
    return [draw(rows)]


def _reliability(tables: KindTables, names: Sequence[str]) -> list[Chart]:
    if not tables.reliability:
        return []
    start, end, predictions, probability, fraction = tables.reliability
    positive = names[1] if len(names) > 1 else "1"
    return reliability_diagram(start, end, predictions, probability, fraction, positive=positive)
