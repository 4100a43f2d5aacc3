"""What the kind of the task says of the predictions: ranking curves, labels, targets."""

from fedpipe.figures.kind_charts import KIND_PICTURES, kind_charts
from fedpipe.report.facts import RunFacts
from fedpipe.report.section import Section, Table
from fedpipe.tables.kinds import KindTables
from fedpipe.tables.texts import number, optional_number

_MOST_ROWS = 100


def predictions(run: RunFacts) -> Section | None:
    """Return the charts and the table of the run's kind; None where it has none, or they are
    missing.
    """
    tables = run.kind_tables
    if tables is None:
        return None
    charts = []
    for picture in KIND_PICTURES[run.task.kind]:
        charts += kind_charts(picture, tables, run.labels)
    return Section(charts=charts, table=_labels(tables) or _targets(tables))


def _labels(tables: KindTables) -> Table | None:
    if not tables.labels:
        return None
    rows = []
    for score in tables.labels[:_MOST_ROWS]:
        figures = (score.precision, score.recall, score.f1, score.auroc, score.average_precision)
        rows.append(
            [
                score.label,
                f"{score.examples:,}",
                f"{score.predicted:,}",
                *map(optional_number, figures),
            ]
        )
    columns = ["label", "examples", "predicted", "precision", "recall", "F1", "AUROC", "AUPRC"]
    return Table(columns, rows, len(tables.labels))


def _targets(tables: KindTables) -> Table | None:
    if not tables.targets:
        return None
    rows = []
    for score in tables.targets[:_MOST_ROWS]:
        figures = (score.mean, score.predicted_mean, score.rmse, score.mae, score.bias)
        rows.append(
            [
                score.target,
                f"{score.examples:,}",
                *map(number, figures),
                optional_number(score.r2),
            ]
        )
    columns = ["target", "examples", "mean", "mean predicted", "RMSE", "MAE", "bias", "R2"]
    return Table(columns, rows, len(tables.targets))
