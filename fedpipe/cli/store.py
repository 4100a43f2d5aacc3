"""`fedpipe store copy`: the store of runs and models, moved to a team's database and bucket."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fedpipe.cli.options import Json

store = typer.Typer(
    help="Move all runs and models to an MLflow store that a team shares.", no_args_is_help=True
)


@store.callback()
def _group() -> None:
    """Move all runs and models to an MLflow store that a team shares."""


@store.command()
def copy(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            envvar="FEDPIPE_COPY_TO",
            metavar="URI",
            help="Unused database to copy to: postgresql://USER@HOST/NAME. Other users can see "
            "a command line: put the password into PGPASSWORD or ~/.pgpass.",
        ),
    ],
    artifacts: Annotated[
        str,
        typer.Option("--artifacts", metavar="URI", help="Place of the files: s3://BUCKET/FOLDER."),
    ],
    served: Annotated[
        bool,
        typer.Option(
            "--served",
            help="An MLflow server with the same place as `--artifacts-destination` gives "
            "access to the files.",
        ),
    ] = False,
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished", help="Also copy runs that are running or were killed, as they are now."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy all runs, files and models to a team's store, under the same ids.

    The source stays as it is. The same command again checks a copy that is complete.
    """
    from fedpipe.project.paths import find_project
    from fedpipe.tracking.migrate.migrate import copy_store

    project = find_project(Path.cwd())
    done = copy_store(
        project.root,
        to,
        artifacts,
        served=served,
        unfinished=unfinished,
        say=lambda line: typer.echo(line, err=True),
    )
    if as_json:
        print(json.dumps(asdict(done)))
    else:
        was = "is there, read back and the same"
        if done.already and not done.files.written:
            was = "was there already and is the same"
        typer.echo(
            f"{done.to}: {done.runs} runs, {done.versions} registered versions, "
            f"{done.files.files} files: {was}"
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.add_typer(store, name="store")
