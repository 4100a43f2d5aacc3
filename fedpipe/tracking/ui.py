"""How to start the MLflow UI on the project's store, for this machine alone unless told
otherwise.
"""

import os
import sys
from pathlib import Path

from fedpipe.errors import TrackingError
from fedpipe.tracking.store import is_own_store, mask, prepare_environment, tracking_uri
from fedpipe.tracking.ui_address import UI_HOST, UI_PORT


def ui_command(project: Path, port: int = UI_PORT, host: str = UI_HOST) -> list[str]:
    """Return the command that serves the UI on http://`host`:`port`; run it with `ui_environment`.

    MLflow's own protections against foreign pages and host names stay on. One worker process: one
    person looks.

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
    """Return the environment for `ui_command`: the store (not in the command, where other users
    could read a password) and no telemetry.

    The command must be started in the project's folder: the store is named relative to it where its
    path cannot be (see `connection_uri`).

    MLflow's background jobs, which judge language models, are off: they are three more processes
    that fedpipe has no use for.
    """
    prepare_environment()
    uri = tracking_uri(project)
    if is_own_store(project) and "?" in uri:
        uri = "sqlite:///mlflow.db"
    jobs = os.environ.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    # PYTHONSAFEPATH: no file of the user's is imported in the place of a module, nor in what the
    # server starts.
    return {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": jobs,
    }
