"""`fedpipe doctor`: could the main job run here, and if not, what mends it."""

import json
from pathlib import Path
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON on stdout.")] = False) -> None:
    """Check Python, CPU, versions, the TFF worker, git, DVC and the stores; exit 1 if the main job could not run."""
    from fedpipe.steps.checks import run_checks
    from fedpipe.steps.project import find_project

    checks = run_checks(find_project(Path.cwd()))
    if as_json:
        print(json.dumps([check.__dict__ for check in checks]))
    else:
        for check in checks:
            mark = "ok  " if check.ok else "FAIL" if check.needed else "warn"
            typer.echo(f"{mark} {check.name}: {check.found}" + ("" if check.ok else f". {check.mend}"))
    if any(check.needed and not check.ok for check in checks):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
