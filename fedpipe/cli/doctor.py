"""`fedpipe doctor`: try what a run will do, and say what to fix where it would fail."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpipe.cli.options import Json, Overrides, ParamsFile

if TYPE_CHECKING:
    from fedpipe.steps.checks import Check


def doctor(
    params: ParamsFile = None,
    set_: Overrides = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is not ok.")] = False,
) -> None:
    """Check this machine and this project by trying what a run does, up to its first round.

    Prints one line per check: ok, warn (a run works all the same) or FAIL, with the next step. Exit code 1 if a run would fail.
    """
    from fedpipe.steps.checks import run_checks
    from fedpipe.steps.project import find_project

    project = find_project(Path.cwd())
    checks = run_checks(project, params.resolve() if params else project.params, set_ or ())
    show_checks(checks, as_json, quiet)


def show_checks(checks: "Sequence[Check]", as_json: bool, quiet: bool) -> None:
    """Print the checks; exit with code 1 if one that a run needs has failed."""
    if as_json:
        print(json.dumps([asdict(check) for check in checks]))
    else:
        for check in checks:
            if not (quiet and check.ok):
                typer.echo(check.line)
    if any(check.needed and not check.ok for check in checks):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
