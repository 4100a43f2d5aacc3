"""A run as a notebook shows it: its key figures and its curves."""

import base64
from typing import TYPE_CHECKING

from markupsafe import Markup

from fedpipe.figures.learning_curves import learning_curves
from fedpipe.figures.picture_file import picture
from fedpipe.tables.shown_task import ShownTask
from fedpipe.tables.texts import number

if TYPE_CHECKING:
    import pandas as pd

    from fedpipe.tracking.run_list import ListedRun

_MOST_CHARTS = 2
"""The metric that chooses, and the loss."""
_ROW = Markup("<tr><th style='text-align:left'>{}</th><td style='text-align:left'>{}</td></tr>")
_PICTURE = Markup('<img alt="curves by round" src="data:image/svg+xml;base64,{}">')


def run_html(run: "ListedRun", url: str, metrics: "pd.DataFrame") -> str:
    """Return the table and the picture as HTML.

    Args:
        run: as the list of runs has it.
        url: of its page in MLflow.
        metrics: a row per round, as `Run.metrics`.
    """
    facts = {
        "run": Markup('{} <a href="{}">{}</a>').format(run.name, url, run.run_id[:12]),
        "status": run.status,
        "algorithm, model": f"{run.algorithm}, {run.model}",
        "data": run.data[:12],
    }
    if run.rounds is not None:
        facts["rounds"] = str(run.rounds)
    if run.chosen is not None:
        key, value = run.chosen
        facts[key] = number(value)
    rows = Markup("").join(_ROW.format(name, fact) for name, fact in facts.items())
    table = Markup("<table>{}</table>").format(rows)
    return str(table + _curves(metrics, ShownTask.of_params(run.params)))


def _curves(metrics: "pd.DataFrame", task: ShownTask) -> Markup:
    rows = [
        {"round": float(number), **row.dropna().to_dict()} for number, row in metrics.iterrows()
    ]
    charts = learning_curves(rows, task)[:_MOST_CHARTS]
    if not charts:
        return Markup("")
    svg = picture(charts).encode("utf-8")
    return _PICTURE.format(base64.b64encode(svg).decode("ascii"))
