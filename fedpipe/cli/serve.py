"""`fedpipe ui` and `fedpipe serve`: pages to look at, and a process that runs deployments."""

import os
from pathlib import Path
from typing import Annotated

import typer


def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="TCP port on 127.0.0.1.")] = 5000,
) -> None:
    """Open the MLflow UI on this project's store, on 127.0.0.1; ends with Ctrl-C."""
    from fedpipe.steps.project import find_project
    from fedpipe.tracking.ui import ui_command, ui_environment

    project = find_project(Path.cwd())
    command = ui_command(project.root, port)
    typer.echo(f"MLflow UI: http://127.0.0.1:{port}", err=True)
    os.execvpe(command[0], command, ui_environment(project.root))  # noqa: S606 - the UI takes this process's place, so that Ctrl-C and signals reach it


def serve() -> None:
    """Serve the training deployment from this process: runs started in Prefect's UI or API execute here."""
    from fedpipe.steps.project import find_project

    project = find_project(Path.cwd())
    os.chdir(project.root)
    from flows.home import use_writable_home

    use_writable_home(project)
    from flows.serve import serve_deployments

    serve_deployments()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ui)
    app.command()(serve)
