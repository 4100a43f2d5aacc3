"""`fedpipe ui`, `fedpipe serve` and `fedpipe pool`: pages to look at, and what runs deployments."""

import json
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from fedpipe.cli.options import Json


def ui(
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65535,
            help="TCP port. Default: 5000, or the next free one.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help="Address to listen on. Any other than 127.0.0.1 gives other machines access.",
        ),
    ] = "127.0.0.1",
) -> None:
    """Open the MLflow UI for all runs of this project, until Ctrl-C."""
    from fedpipe.project.paths import find_project
    from fedpipe.system.host import in_address
    from fedpipe.tracking.store import tracking_uri
    from fedpipe.tracking.ui import ui_command, ui_environment
    from fedpipe.tracking.ui_address import free_ui_port, note_ui

    project = find_project(Path.cwd())
    port = port or free_ui_port()
    command = ui_command(project.root, port, host)
    if host not in ("127.0.0.1", "localhost", "::1"):
        logging.getLogger("fedpipe.cli").warning(
            "--host %s: everybody who reaches port %d there can read, change and delete all runs, "
            "without a password. Leave it at 127.0.0.1, and let others in through ssh -L or a "
            "proxy with a login.",
            host,
            port,
        )
    typer.echo(f"MLflow UI: http://{in_address(host)}:{port}", err=True)
    note_ui(project.root, tracking_uri(project.root), host, port)
    os.chdir(project.root)
    # the UI takes this process's place, so that Ctrl-C and signals reach it
    os.execvpe(command[0], command, ui_environment(project.root))  # noqa: S606


def serve() -> None:
    """Run trainings that Prefect's UI or API starts, one at a time, in this process."""
    from fedpipe.project.paths import find_project

    project = find_project(Path.cwd())
    os.chdir(project.root)
    from fedpipe.orchestration.home import use_writable_home

    use_writable_home(project)
    from fedpipe.launch.serve import serve_deployments

    serve_deployments()


def pool(
    at_a_time: Annotated[
        int | None,
        typer.Option(
            "--at-a-time",
            min=1,
            help="Maximum number of concurrent runs. Default: what the cores and memory of this "
            "machine allow.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create Prefect's work pool for workers, or set how many runs it allows at a time."""
    from fedpipe.project.paths import find_project

    project = find_project(Path.cwd())
    from fedpipe.orchestration.home import use_writable_home

    use_writable_home(project)
    from fedpipe.orchestration.work_pool import set_up_pool

    pool = set_up_pool(project, at_a_time)
    if as_json:
        print(json.dumps({"name": pool.name, "at_a_time": pool.at_a_time, "made": pool.made}))
    else:
        typer.echo(
            f"work pool {pool.name}: {pool.at_a_time} at a time. A worker: uv run prefect "
            f"worker start --pool {pool.name}"
        )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ui)
    app.command()(serve)
    app.command()(pool)
