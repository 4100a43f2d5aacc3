"""The charts of predictions that only some kinds of tasks have, by name of their picture."""

from collections.abc import Sequence

from fedpipe.config.task import TaskKind
from fedpipe.figures.evaluation_charts import reliability_diagram
from fedpipe.figures.ranking_charts import label_bars, precision_recall_chart, roc_chart
from fedpipe.figures.regression_charts import predicted_against_true, residual_charts
from fedpipe.figures.svg import Chart
from fedpipe.tables.kinds import KindTables

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
    if picture == ROC:
        return [roc_chart(tables.roc)] if tables.roc else []
    if picture == PRECISION_RECALL:
        curves = tables.precision_recall
        return [precision_recall_chart(curves)] if curves else []
    if picture == RELIABILITY:
        return _reliability(tables, names)
    if picture == LABELS:
        return [label_bars(tables.labels)] if tables.labels else []
    if picture == RESIDUALS:
        return residual_charts(tables.residuals, tables.predicted)
    return predicted_against_true(tables.predicted)


def _reliability(tables: KindTables, names: Sequence[str]) -> list[Chart]:
    if not tables.reliability:
        return []
    start, end, predictions, probability, fraction = tables.reliability
    positive = names[1] if len(names) > 1 else "1"
    return reliability_diagram(start, end, predictions, probability, fraction, positive=positive)
