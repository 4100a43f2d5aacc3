"""`fedpipe clean`: what runs leave on disk, and the removal of what nobody needs."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpipe.cli.options import Json
from fedpipe.cli.output import PIPE_COLUMNS, cut, print_table, shown_path
from fedpipe.errors import ConfigError

if TYPE_CHECKING:
    from fedpipe.maintenance.cleaning_plan import CleaningPlan, RunFiles, SharedFiles

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def clean(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Runs that ended at least this long ago: 30d, 12h, 2w, 45m.",
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="finished, failed, pruned, interrupted or deleted (in MLflow). Repeatable.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="PATTERN",
            help="Runs with this name; * and ? as in a shell. Repeatable.",
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=0, help="The newest N of these runs stay.")
    ] = 1,
    records: Annotated[
        bool,
        typer.Option(
            "--records",
            help="Also remove the runs' artifacts and models in MLflow, for good.",
        ),
    ] = False,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply", "--yes", help="Remove the files. Without it the command only shows them."
        ),
    ] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No tables.")] = False,
) -> None:
    """Show what old runs take on disk; with --apply remove what nothing needs.

    Never removed: runs that are running, interrupted (unless asked for), registered as a model, the
    best of a sweep, or not yet recorded.
    """
    from fedpipe.maintenance.clean import clean as clean_step
    from fedpipe.maintenance.clean import plan_cleaning
    from fedpipe.maintenance.cleaning_plan import Selection
    from fedpipe.project.paths import find_project

    project = find_project(Path.cwd())
    selection = Selection(
        older_than_seconds=_seconds(older_than),
        statuses=tuple(status or ()),
        names=tuple(name or ()),
        keep=keep,
        records=records,
    )
    plan = plan_cleaning(project, selection)
    if apply:
        plan = clean_step(project, plan)
    if as_json:
        print(json.dumps({"applied": apply, **plan.to_json()}))
    elif not quiet:
        _show(plan, project.root, apply)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip())
    if match is None:
        raise ConfigError(
            f"--older-than {text}: expected a number and a unit, such as 30d, 12h, 2w or 45m."
        )
    return float(match[1]) * _SECONDS[match[2]]


def _show(plan: "CleaningPlan", root: Path, applied: bool) -> None:
    goes = "removed" if applied else "would be removed"

    def outcome(files: "RunFiles | SharedFiles") -> str:
        return goes if files.remove else f"stays: {files.reason}"

    rows = []
    for run in plan.runs:
        folder = _size(run.folder_bytes) if run.folder else "-"
        rows.append((run.name, run.status, folder, _size(run.record_bytes), outcome(run)))
    if rows:
        columns = ("run", "status", "folder", "MLflow", "outcome")
        print_table(columns, rows, cell_columns=PIPE_COLUMNS)
    shared = [
        (files.what, _relative(files.path, root), _size(files.size_bytes), outcome(files))
        for files in plan.shared
    ]
    if shared:
        print_table(("files", "folder", "size", "outcome"), shared, cell_columns=PIPE_COLUMNS)
    total = sum(run.size_bytes for run in plan.runs) + sum(
        files.size_bytes for files in plan.shared
    )
    removed = [run for run in plan.runs if run.remove]
    files = sum(files.remove for files in plan.shared)
    typer.echo(
        f"{_size(total)} in {len(plan.runs)} runs and {len(plan.shared)} shared folders; {goes}: "
        f"{_size(plan.removable_bytes)} of {len(removed)} runs and {files} shared folders"
    )
    if removed and plan.records:
        typer.echo(
            "kept of removed runs: their rows in MLflow, marked as deleted, and who trained on "
            "whose data (`fedpipe lineage --client ID`). `mlflow gc` removes these too."
        )
    elif removed:
        typer.echo(
            "kept of removed runs: all that MLflow has of them. --records removes their files "
            "there too."
        )
    if not applied and plan.removable_bytes:
        typer.echo("Nothing was removed. --apply removes it.")


def _relative(path: str, root: Path) -> str:
    shown = Path(shown_path(Path(path), root))
    return str(shown.with_name(cut(shown.name, 16)))


def _size(size_bytes: int) -> str:
    if size_bytes >= 2**20:
        return f"{size_bytes / 2**20:,.1f} MB"
    return f"{size_bytes / 2**10:,.1f} kB"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(clean)
