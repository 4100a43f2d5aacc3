"""`fedpipe runs`: the runs of the project's store as a table."""

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpipe.cli.options import Json

if TYPE_CHECKING:
    from fedpipe.tracking.run_list import ListedRun

_LIMIT = 20
_SHORT = 12


def runs(
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="CONDITION",
            help="Only runs that meet it: client.learning_rate=0.1, test/accuracy>0.5, "
            "status=finished, name~adam. A setting, a metric, or name, id, status, data, commit, "
            "algorithm, model, sweep, started. Repeatable.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="At most so many; 0: all.")
    ] = _LIMIT,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, with all settings and final metrics.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List runs, the newest first, with the metric that chooses."""
    from fedpipe.api.run_table import listed_runs
    from fedpipe.project.paths import find_project

    listed = listed_runs(find_project(Path.cwd()), filter_ or (), limit or None)
    if as_json:
        print(json.dumps({"runs": [run.as_row() for run in listed]}))
    elif as_csv:
        _print_csv(listed)
    elif listed:
        _print_table(listed)
    elif filter_:
        typer.echo("no run meets the filter", err=True)
    else:
        typer.echo("no runs yet: start one with `fedpipe run`", err=True)


def _print_table(listed: "list[ListedRun]") -> None:
    from fedpipe.cli.output import print_table

    rows = []
    for run in listed:
        metric = ""
        if run.chosen is not None:
            metric = "{} {:.4f}".format(*run.chosen)
        rows.append(
            (
                run.name,
                run.run_id[:_SHORT],
                run.status,
                run.data[:_SHORT],
                run.algorithm,
                run.model,
                run.as_row()["rounds"] or "",
                metric,
                f"{run.started:%Y-%m-%d %H:%M} UTC",
            )
        )
    columns = ("name", "id", "status", "data", "algorithm", "model", "rounds", "metric", "began")
    print_table(columns, rows, right=("rounds",), names=("name", "id"))


def _print_csv(listed: "list[ListedRun]") -> None:
    keys = sorted({key for run in listed for key in run.params})
    finals = sorted(
        {key for run in listed for key in run.metrics if key.startswith(("final/", "best/"))}
    )
    writer = csv.writer(sys.stdout, lineterminator="\n")
    first = listed[0].as_row() if listed else {"run_id": "", "name": ""}
    writer.writerow([*first, *finals, *keys])
    for run in listed:
        figures = [run.metrics.get(key, "") for key in finals]
        settings = [run.params.get(key, "") for key in keys]
        writer.writerow([*run.as_row().values(), *figures, *settings])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(runs)
