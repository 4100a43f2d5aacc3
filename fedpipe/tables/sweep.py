"""The children of a sweep as a table, the form that spreadsheets and DVC's plots read."""

from collections.abc import Sequence
from typing import Any

from fedpipe.tables.csv_text import csv_text
from fedpipe.tracking.sweeps import SweepChild

ABSENT = "-"
"""Written for a setting that does not apply to a child."""


def searched_values(child: SweepChild, keys: Sequence[str]) -> list[Any]:
    """Return a child's values of the searched settings; `ABSENT` where one does not apply."""
    return [child.params.get(key, ABSENT) for key in keys]


def children_csv(children: Sequence[SweepChild], keys: Sequence[str], metric: str) -> str:
    """Return one line per child: number, state, metric, the searched settings, its run; empty where
    it has no metric, `-` for a setting that does not apply to the child.

    >>> failed = SweepChild(0, "", "", "failed", None, {"rounds": 3}, "no")
    >>> children_csv([failed], ["rounds"], "validation/loss")
    'number,state,validation/loss,rounds,run_id,name,reason\\n0,failed,,3,,,no\\n'
    """
    rows = []
    for child in children:
        values = ["null" if value is None else value for value in searched_values(child, keys)]
        rows.append(
            [
                child.number,
                child.state,
                child.value,
                *values,
                child.run_id,
                child.name,
                child.reason,
            ]
        )
    return csv_text(["number", "state", metric, *keys, "run_id", "name", "reason"], rows)
