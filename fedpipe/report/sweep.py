"""The trials of a sweep: their chart, and their table, the best first."""

from collections import Counter

from fedpipe.figures.parallel_coordinates import parallel_coordinates
from fedpipe.report.facts import RunFacts
from fedpipe.report.section import Section, Table
from fedpipe.tables.sweep import searched_values
from fedpipe.tables.texts import optional_number, setting_text
from fedpipe.tracking.sweeps import SweepTrial

_MOST_ROWS = 200


def sweep(run: RunFacts) -> Section | None:
    """Return the trials; None for a run that is no sweep's parent."""
    if run.sweep is None:
        return None
    trials = run.sweep.trials
    metric = run.sweep.metric
    keys = run.sweep.keys
    direction = run.sweep.direction
    sign = {"maximize": -1, "minimize": 1}[direction]
    ranked = sorted(
        trials,
        key=lambda trial: (trial.value is None, sign * (trial.value or 0.0), trial.number),
    )
    states = sorted(Counter(trial.state for trial in trials).items())
    counts = ", ".join(f"{count} {state}" for state, count in states)
    return Section(
        charts=[parallel_coordinates(trials, keys, metric, direction)],
        lines=[f"{len(trials)} trials: {counts}; judged by {metric}, {direction}"],
        table=Table(
            ["trial", "state", metric, *keys],
            [_row(trial, keys) for trial in ranked[:_MOST_ROWS]],
            len(trials),
        ),
    )


def _row(trial: SweepTrial, keys: tuple[str, ...]) -> list[str]:
    settings = map(setting_text, searched_values(trial, keys))
    return [str(trial.name or trial.number), trial.state, optional_number(trial.value), *settings]
