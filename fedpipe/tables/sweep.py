"""The trials of a sweep as a table, the form that spreadsheets and DVC's plots read."""

from collections.abc import Sequence

from fedpipe.tables.csv_text import csv_text
from fedpipe.tracking.sweeps import SweepTrial

ABSENT = "-"
"""Written for a setting that does not apply to a trial."""


def trials_csv(trials: Sequence[SweepTrial], keys: Sequence[str], metric: str) -> str:
    """Return one line per trial: number, state, metric, the searched settings, its run; empty where
    it has no metric, `-` for a setting that does not apply to the trial.

    >>> failed = SweepTrial(0, "", "", "failed", None, {"rounds": 3}, "no")
    >>> trials_csv([failed], ["rounds"], "validation/loss")
    'number,state,validation/loss,rounds,run_id,name,reason\\n0,failed,,3,,,no\\n'
    """
    rows = []
    for trial in trials:
        value = "" if trial.value is None else float(trial.value)
        settings = [trial.params.get(key, ABSENT) for key in keys]
        texts = ["null" if setting is None else setting for setting in settings]
        rows.append(
            [trial.number, trial.state, value, *texts, trial.run_id, trial.name, trial.reason]
        )
    return csv_text(["number", "state", metric, *keys, "run_id", "name", "reason"], rows)
