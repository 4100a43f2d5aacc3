"""The trials of a sweep as a table, the form that spreadsheets and DVC's plots read."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "-"  # a setting that a trial does not have


def trials_csv(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], metric: str) -> str:
    """Return one line per trial: number, state, metric, the searched settings, its run; empty where
    it has no metric, `-` for a setting that does not apply to the trial.

    >>> rows = [{"number": 0, "state": "failed", "value": None, "params": {"rounds": 3}, "run_id": "", "name": "", "reason": "no"}]
    >>> trials_csv(rows, ["rounds"], "validation/loss")
    'number,state,validation/loss,rounds,run_id,name,reason\\n0,failed,,3,,,no\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "state", metric, *keys, "run_id", "name", "reason"])
    for row in rows:
        value = "" if row["value"] is None else repr(float(row["value"]))
        values = [row["params"].get(key, ABSENT) for key in keys]
        values = ["null" if value is None else value for value in values]
        writer.writerow(
            [row["number"], row["state"], value, *values, row["run_id"], row["name"], row["reason"]]
        )
    return text.getvalue()
