"""What the report says of a sweep: its picture, and a table of its children, the best first."""

from typing import Any

from fedpipe.figures.axis import words
from fedpipe.figures.svg import number
from fedpipe.report.facts import RunFacts
from fedpipe.report.parallel import parallel_coordinates
from fedpipe.tables.sweep import ABSENT

_ROWS = 200
"""Children in the table, at most."""


def sweep(run: RunFacts) -> dict[str, Any] | None:
    """Return the picture and the table of the children; None of a run that is no sweep's parent."""
    found = run.sweep
    if found is None:
        return None
    sign = -1.0 if found.direction == "maximize" else 1.0
    ranked = sorted(
        found.children,
        key=lambda one: (one["value"] is None, sign * (one["value"] or 0.0), one["number"]),
    )
    rows = [
        [
            str(one["name"] or one["number"]),
            str(one["state"]),
            "" if one["value"] is None else number(float(one["value"])),
            *(words(one["params"].get(key, ABSENT)) for key in found.keys),
        ]
        for one in ranked[:_ROWS]
    ]
    states = sorted({str(one["state"]) for one in found.children})
    counts = [f"{sum(one['state'] == state for one in found.children)} {state}" for state in states]
    said = (
        f"{len(found.children)} children: {', '.join(counts)}; judged by {found.metric}, "
        f"{found.direction}"
    )
    columns = ["child", "state", found.metric, *found.keys]
    return {
        "said": said,
        "columns": columns,
        "rows": rows,
        "of": len(found.children),
        "chart": parallel_coordinates(found),
    }
