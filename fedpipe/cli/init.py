"""`fedpipe init`: a new project for the user's own work."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedpipe.cli.options import Json, Quiet


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder of the new project; it must be empty or not exist."
        ),
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Create a project of your own: settings, stages, source, model, algorithm, flow, tests."""
    from fedpipe.project.create import init_project

    made = init_project(folder)
    if as_json:
        print(json.dumps(asdict(made)))
    elif not quiet:
        commit = f"commit {made.commit[:12]}" if made.commit else "no commit yet"
        typer.echo(f"{made.path}: {len(made.files)} files, {commit}; fedpipe from {made.fedpipe}")
        for note in made.notes:
            typer.echo(note)
        typer.echo(f"next: cd {folder} && uv sync && uv run pytest && uv run fedpipe run")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)
