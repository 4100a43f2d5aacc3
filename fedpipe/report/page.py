"""The report as one HTML file that holds all it needs: no script, no network, in light and in dark,
by keyboard and on paper.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fedpipe import __version__
from fedpipe.figures.picture_file import chart_style
from fedpipe.report.clients import accuracies, participation, population
from fedpipe.report.confusion import confusion
from fedpipe.report.facts import RunFacts, differing, settings, side_by_side
from fedpipe.report.lineage_links import environment, lineage_links
from fedpipe.report.predictions import predictions
from fedpipe.report.summary import summary, tiles, warnings
from fedpipe.report.sweep import sweep
from fedpipe.report.training import compared_curves, round_table, run_curves, timing
from fedpipe.tables.shown_task import metric_words
from fedpipe.tracking.tags import DVC_DATA_MD5

if TYPE_CHECKING:
    from jinja2 import Template

_ID_LETTERS = 8


_SECTIONS: dict[str, Callable[[RunFacts], Any]] = {
    "warnings": warnings,
    "lineage_links": lineage_links,
    "sweep": sweep,
    "rounds": round_table,
    "accuracies": accuracies,
    "confusion": confusion,
    "predictions": predictions,
    "population": population,
    "participation": participation,
    "timing": timing,
}
"""What the template shows of each run, by the names that it uses; None for what is missing."""


def render(runs: Sequence[RunFacts]) -> str:
    """Return the page of one run, or of several side by side, the settings in which they differ
    first. The same runs give the same bytes.
    """
    names = labels(runs)
    return _template().render(
        version=__version__,
        chart_style=chart_style(),
        names=names,
        tiles=tiles(runs[0]),
        differs=differing(runs),
        settings=settings(runs),
        environment=sorted(side_by_side(list(map(environment, runs)))),
        summary=side_by_side(list(map(summary, runs))),
        curves=run_curves(runs[0]) if len(runs) == 1 else compared_curves(runs, names),
        runs=list(map(_sections, runs, names)),
        client_metrics=_client_metrics(runs),
        same_data=_same_data([run for run in runs if run.sweep is None]),
    )


@functools.cache
def _template() -> "Template":
    """Return the page's template, compiled once for all reports of this process."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    jinja = Environment(
        loader=PackageLoader("fedpipe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return jinja.get_template("report.html")


def labels(runs: Sequence[RunFacts]) -> list[str]:
    """Return what to call each run: its name, with the start of its id where two have the same."""
    count = Counter(run.name for run in runs)
    return [
        run.name if count[run.name] == 1 else f"{run.name} ({run.run_id[:_ID_LETTERS]})"
        for run in runs
    ]


def _sections(run: RunFacts, name: str) -> dict[str, Any]:
    sections = {key: section_of(run) for key, section_of in _SECTIONS.items()}
    return {"name": name, "facts": run, **sections}


def _client_metrics(runs: Sequence[RunFacts]) -> str:
    """Return what the metric of each client is called: that of all runs, if they have the same."""
    metrics = {run.task.metric for run in runs}
    if len(metrics) > 1:
        return "metric that chooses"
    return metric_words(metrics.pop())


def _same_data(runs: Sequence[RunFacts]) -> bool:
    """Return whether the first run's population stands for the population of all runs."""
    data = {run.tags.get(DVC_DATA_MD5) for run in runs}
    return len(runs) > 1 and len(data) == 1 and runs[0].population is not None
