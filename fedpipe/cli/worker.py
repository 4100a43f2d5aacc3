"""`fedpipe worker`: this machine computes for runs on others; `fedpipe worker certs` makes the
certificates that both sides need.
"""

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

worker_app = typer.Typer(
    invoke_without_command=True,
    help="Compute clients for runs of other machines, behind mutual TLS.",
)


@worker_app.callback()
def worker(
    context: typer.Context,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Address to listen on; port 0 means any free port.",
        ),
    ] = "127.0.0.1:7100",
    certs: Annotated[
        Path | None,
        typer.Option(
            "--certs",
            metavar="DIR",
            help="Folder of the certificates. Default: the project's runtime.certs.",
        ),
    ] = None,
) -> None:
    """Compute clients for runs of other machines, behind mutual TLS, until Ctrl-C.

    Start it in a clone of the run's project.
    """
    if context.invoked_subcommand is not None:
        return
    from fedpipe.cluster.worker_server import WorkerServer
    from fedpipe.config import load_config
    from fedpipe.config.remote import split_address
    from fedpipe.errors import ConfigError
    from fedpipe.project.paths import find_project
    from fedpipe.system.host import in_address

    project = find_project(Path.cwd())
    runtime = load_config(project.params).runtime
    try:
        host, port = split_address(listen)
    except ValueError as err:
        raise ConfigError(f"--listen: {err}.") from err
    server = WorkerServer(host, port, certs or project.root / runtime.certs, project, runtime)
    shown, port = server.address
    logging.getLogger("fedpipe.worker").setLevel(logging.INFO)
    typer.echo(f"fedpipe worker: listening on {in_address(shown)}:{port}")
    told: list[int] = []

    # the signature of a handler
    def tell(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        told.append(number)
        server.stop()

    # Not by an exception, which is lost where it is raised while Python takes an object down.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    try:
        server.serve()
    finally:
        server.close()
    if told and told[0] == signal.SIGINT:
        raise KeyboardInterrupt
    if told:
        raise SystemExit(128 + told[0])


@worker_app.command()
def certs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the certificates.")],
    hosts: Annotated[
        str,
        typer.Option(
            "--hosts", metavar="A,B", help="Names and addresses by which runs reach the workers."
        ),
    ] = "",
    days: Annotated[
        int, typer.Option("--days", min=1, max=825, help="How long the certificates are valid.")
    ] = 30,
) -> None:
    """Make a private CA, a certificate for workers and one for runners. Nothing is overwritten."""
    from fedpipe.cluster.certificates import make_certificates

    made = make_certificates(
        folder, [host.strip() for host in hosts.split(",") if host.strip()], days
    )
    typer.echo(f"{folder}: {', '.join(path.name for path in made)}; valid for {days} days")
    typer.echo(
        "workers need ca.pem, worker.pem, worker-key.pem; runs ca.pem, runner.pem, "
        "runner-key.pem; keep ca-key.pem apart"
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(worker_app, name="worker")
