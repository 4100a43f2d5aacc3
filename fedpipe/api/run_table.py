"""The runs of a project as rows, for the command line and for `fedpipe.runs`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedpipe.project.paths import Project

if TYPE_CHECKING:
    import pandas as pd

    from fedpipe.tracking.run_list import ListedRun

_ALWAYS = ("name", "status", "started", "seconds", "data", "algorithm", "model", "rounds")


def listed_runs(
    project: Project, conditions: Sequence[str] = (), limit: int | None = None
) -> "list[ListedRun]":
    """Return the runs of the project's store that meet the conditions, the newest first; none
    where the project has no store yet. Errors as those of `tracking.run_list.list_runs`.
    """
    from fedpipe.tracking.run_list import list_runs
    from fedpipe.tracking.store import has_store, read_store

    if not has_store(project.root):
        return []
    return list_runs(read_store(project.root), conditions, limit)


def run_frame(runs: "Sequence[ListedRun]") -> "pd.DataFrame":
    """Return runs as a frame, see `fedpipe.api.python.runs`."""
    import pandas as pd

    rows = []
    for run in runs:
        row: dict[str, Any] = {name: getattr(run, name) for name in _ALWAYS}
        row["metric"], row["value"] = run.chosen or (None, None)
        figures = {
            key: value
            for key, value in sorted(run.metrics.items())
            if key.startswith(("final/", "best/"))
        }
        rows.append(row | figures | {key: typed(text) for key, text in run.params.items()})
    index = pd.Index([run.run_id for run in runs], name="run_id", dtype="object")
    first = [*_ALWAYS, "metric", "value"]
    others = list(dict.fromkeys(key for row in rows for key in row if key not in first))
    figures_first = sorted(others, key=lambda key: not key.startswith(("final/", "best/")))
    return pd.DataFrame(rows, index=index, columns=first + figures_first)


def typed(text: str) -> Any:
    """Return the value of a setting, which the store has as text: a number, a truth value, None,
    or the text.

    >>> typed("0.1"), typed("20"), typed("None"), typed("True"), typed("adam")
    (0.1, 20, None, True, 'adam')
    """
    named = {"None": None, "True": True, "False": False}
    if text in named:
        return named[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
