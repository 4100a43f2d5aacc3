"""The rounds of a run: curves, table, times."""

from collections.abc import Sequence

import numpy as np

from fedpipe.figures.charts import Curve, curves
from fedpipe.figures.learning_curves import learning_curves, metric_keys, points
from fedpipe.figures.svg import Chart
from fedpipe.report.facts import RunFacts
from fedpipe.report.section import Section, Table
from fedpipe.report.summary import duration
from fedpipe.tables.rounds import Row
from fedpipe.tables.shown_task import metric_title
from fedpipe.tables.texts import optional_number
from fedpipe.tables.thinning import evenly_spaced

_MOST_ROWS = 100
_COMPARED_SPLITS = {
    "test": "central test set",
    "validation": "validation",
    "train": "while training",
}


def run_curves(run: RunFacts) -> list[Chart]:
    """Return the metric that chooses, the loss, other metrics and, of private runs, epsilon by
    round.
    """
    return learning_curves(run.rounds, run.task) + _epsilons([run], ["epsilon"])


def compared_curves(runs: Sequence[RunFacts], names: Sequence[str]) -> list[Chart]:
    """Return a chart for each split and metric, with one curve per run; `names` are of the
    curves.
    """
    units: dict[str, str] = {}
    for run in runs:
        for metric in run.task.drawn_metrics(metric_keys(run.rounds)):
            units.setdefault(metric, run.task.unit(metric))
    charts = []
    for split, label in _COMPARED_SPLITS.items():
        for metric, unit in units.items():
            title = f"{metric_title(metric)}, {label}"
            charts.append(_compared(runs, names, title, f"{split}/{metric}", unit))
    return list(filter(None, charts)) + _epsilons(runs, names)


def round_table(run: RunFacts) -> Table | None:
    """Return the table of rounds; of more than 100 rounds as many at even steps."""
    if not run.rounds:
        return None
    keys = ["round", *sorted(set().union(*run.rounds) - {"round"})]
    shown = evenly_spaced(run.rounds, _MOST_ROWS)
    return Table(keys, [_cells(row, keys) for row in shown], len(run.rounds))


def timing(run: RunFacts) -> Section:
    """Return the wall time by phase and by round."""
    by_round = points(run.rounds, "round/seconds")
    rows = [[phase, duration(seconds)] for phase, seconds in (run.seconds or {}).items()]
    if by_round:
        seconds = [value for _, value in by_round]
        times = f"{duration(sum(seconds))} (median {duration(float(np.median(seconds)))})"
        rows.append(["the rounds themselves, without evaluation", times])
    if run.seconds_taken is not None:
        rows.append(["the MLflow run, from start to end", duration(run.seconds_taken)])
    chart = curves("Seconds per round", [Curve("seconds", by_round)], "seconds", 0)
    table = Table(["phase", "wall time"], rows, len(rows))
    return Section(charts=list(filter(None, [chart])), table=table)


def _epsilons(runs: Sequence[RunFacts], names: Sequence[str]) -> list[Chart]:
    """Return the chart of epsilon by round; none if no run is private."""
    chart = _compared(runs, names, "Epsilon spent", "privacy/epsilon", "epsilon", floor=0)
    return list(filter(None, [chart]))


def _compared(
    runs: Sequence[RunFacts],
    names: Sequence[str],
    title: str,
    key: str,
    unit: str,
    floor: float | None = None,
) -> Chart | None:
    named_curves = [
        Curve(name, points(run.rounds, key)) for run, name in zip(runs, names, strict=True)
    ]
    return curves(title, named_curves, unit, floor)


def _cells(row: Row, keys: list[str]) -> list[str]:
    return [optional_number(row.get(key)) for key in keys]
