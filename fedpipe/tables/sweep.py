"""The trials of a sweep as a table, the form that spreadsheets and DVC's plots read."""

from collections.abc import Sequence
from typing import Any

from fedpipe.tables.csv_text import csv_text
from fedpipe.tracking.sweeps import SweepTrial

ABSENT = "-"
"""Written for a setting that does not apply to a trial."""


def searched_values(trial: SweepTrial, keys: Sequence[str]) -> list[Any]:
    """Return a trial's values of the searched settings; `ABSENT` where one does not apply."""
    return [trial.params.get(key, ABSENT) for key in keys]


def trials_csv(trials: Sequence[SweepTrial], keys: Sequence[str], metric: str) -> str:
    """Return one line per trial: number, state, metric, the searched settings, its run; empty where
    it has no metric, `-` for a setting that does not apply to the trial.

    >>> failed = SweepTrial(0, "", "", "failed", None, {"rounds": 3}, "no")
    >>> trials_csv([failed], ["rounds"], "validation/loss")
    'number,state,validation/loss,rounds,run_id,name,reason\\n0,failed,,3,,,no\\n'
    """
    rows = []
    for trial in trials:
        values = ["null" if value is None else value for value in searched_values(trial, keys)]
        rows.append(
            [
                trial.number,
                trial.state,
                trial.value,
                *values,
                trial.run_id,
                trial.name,
                trial.reason,
            ]
        )
    return csv_text(["number", "state", metric, *keys, "run_id", "name", "reason"], rows)
