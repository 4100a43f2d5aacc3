"""The trials of a sweep: their chart, and their table, the best first."""

from collections import Counter

from fedpipe.figures.parallel_coordinates import parallel_coordinates
from fedpipe.report.facts import RunFacts
from fedpipe.report.section import Section, Table
from fedpipe.tables.sweep import searched_values
from fedpipe.tables.texts import optional_number, setting_text
from fedpipe.tracking.sweeps import SweepChild

_MOST_ROWS = 200


def sweep(run: RunFacts) -> Section | None:
    """Return the trials; None for a run that is no sweep's parent."""
    if run.sweep is None:
        return None
    children = run.sweep.children
    metric = run.sweep.metric
    keys = run.sweep.keys
    direction = run.sweep.direction
    sign = {"maximize": -1, "minimize": 1}[direction]
    ranked = sorted(
        children,
        key=lambda child: (child.value is None, sign * (child.value or 0.0), child.number),
    )
    states = sorted(Counter(child.state for child in children).items())
    counts = ", ".join(f"{count} {state}" for state, count in states)
    return Section(
        charts=[parallel_coordinates(children, keys, metric, direction)],
        lines=[f"{len(children)} trials: {counts}; judged by {metric}, {direction}"],
        table=Table(
            ["trial", "state", metric, *keys],
            [_row(child, keys) for child in ranked[:_MOST_ROWS]],
            len(children),
        ),
    )


def _row(child: SweepChild, keys: tuple[str, ...]) -> list[str]:
    settings = map(setting_text, searched_values(child, keys))
    return [str(child.name or child.number), child.state, optional_number(child.value), *settings]
