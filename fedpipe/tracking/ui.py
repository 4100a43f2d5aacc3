"""Command and environment of the MLflow UI on the project's store."""

import os
import sys
from pathlib import Path

from fedpipe.errors import TrackingError
from fedpipe.tracking.store import is_own_store, mask, prepare_environment, tracking_uri
from fedpipe.tracking.ui_address import UI_HOST, UI_PORT


def ui_command(project: Path, port: int = UI_PORT, host: str = UI_HOST) -> list[str]:
    """Return the command that serves the UI on http://`host`:`port`; run it with `ui_environment`.

    MLflow's own protections against foreign pages and host names stay on. It has one worker
    process, for one person.

    Raises:
        TrackingError: the store is a server, which has its own UI.
    """
    uri = tracking_uri(project)
    if not uri.partition(":")[0].lower().startswith(("sqlite", "postgresql", "mysql", "mssql")):
        raise TrackingError(
            f"{mask(uri)}: the store is no database that a UI could be started on. Open its own "
            "address in a browser."
        )
    artifacts = (project.resolve() / "mlartifacts").as_uri()
    where = ["--host", host, "--port", str(port), "--workers", "1"]
    return [
        sys.executable,
        "-P",
        "-m",
        "mlflow",
        "server",
        *where,
        "--artifacts-destination",
        artifacts,
    ]


def ui_environment(project: Path) -> dict[str, str]:
    """Return the environment for `ui_command`: the store (its password would be readable in the
    command) and no telemetry.

    Start the command in the project's folder: the store may be named relative to it (see
    `connection_uri`).

    MLflow's background jobs, which judge language models, are off: fedpipe has no use for their
    three processes.
    """
    prepare_environment()
    uri = tracking_uri(project)
    if is_own_store(project) and "?" in uri:
        uri = "sqlite:///mlflow.db"
    jobs = os.environ.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    # PYTHONSAFEPATH: no file of the user shadows a module, here and in the server's subprocesses.
    return {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": jobs,
    }
