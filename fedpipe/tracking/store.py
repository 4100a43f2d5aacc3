"""The MLflow store of a project: found, checked and opened before anything is trained.

MLflow retries an unreachable database for minutes and reports a missing folder as an SQL error. So the store is tried once,
by fedpipe, first. All calls go through a client with explicit ids: MLflow's "active run" and tracking URI are global or
thread-local state, which a flow's threads would share or miss.
"""

import os
import re
import tempfile
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from fedpipe.errors import TrackingError
from fedpipe.redact import hide

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SERVER = re.compile(r"^https?://", re.IGNORECASE)
_DATABASE = re.compile(r"^(sqlite|postgresql|mysql|mssql)(\+\w+)?:", re.IGNORECASE)
_PROBE_SECONDS, _MIGRATION_SECONDS = 5, 120
UI_HOST, UI_PORT = "127.0.0.1", 5000


@dataclass(frozen=True)
class Store:
    """An open MLflow store and the experiment in it that a run goes to.

    Attributes:
        uri: the tracking URI; may hold a password, show `label` instead.
        experiment: name of the experiment.
        experiment_id: its id in the store.
        client: MLflow's client on `uri`; may be used by several threads.
    """

    uri: str = field(repr=False)
    experiment: str
    experiment_id: str
    client: "MlflowClient" = field(repr=False, compare=False)

    @property
    def label(self) -> str:
        """Return the tracking URI with its password masked."""
        return mask(self.uri)

    @property
    def is_server(self) -> bool:
        """Return whether the store is a server, with a user interface of its own, and not a database."""
        return bool(_SERVER.match(self.uri))

    @contextmanager
    def guard(self, doing: str) -> Iterator[None]:
        """Turn what MLflow raises inside into a TrackingError that names the store and what was being done."""
        with _guard(self.uri, doing):
            yield


def tracking_uri(project: Path) -> str:
    """Return `MLFLOW_TRACKING_URI` if it is set, else the SQLite file `mlflow.db` of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project.resolve() / 'mlflow.db'}"


def prepare_environment() -> None:
    """Set what MLflow reads from the environment, where the user has not: must run before mlflow is imported.

    No telemetry; nothing on stdout; no progress bars; warnings but no news on stderr; a request is repeated for about half
    a minute, not for four minutes.
    """
    defaults = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def open_store(project: Path, experiment: str) -> Store:
    """Return the project's store with `experiment` in it, both created where missing, and known to be writable.

    The first call on a new SQLite store takes about 2 s (MLflow's migrations); it may run in a background thread while
    TensorFlow is imported. With a database as store, a new experiment keeps its artifacts in the project's `mlartifacts`;
    with a server, the server says where.

    Raises:
        TrackingError: the store cannot be reached or written, or the experiment was deleted.
    """
    uri = tracking_uri(project)
    prepare_environment()
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        with _guard(uri, "make the store"):
            (project / "mlflow.db").touch()  # SQLite would make it 0644 whatever the umask; an empty file is an empty database
    _probe(uri)
    with _guard(uri, "open the store"):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        artifacts = (project.resolve() / "mlartifacts").as_uri() if _DATABASE.match(uri) else None
        with _one_at_a_time(uri):
            experiment_id, location = _find_experiment(client, experiment, artifacts)
    _check_artifacts(uri, location)
    return Store(uri, experiment, experiment_id, client)


def has_store(project: Path) -> bool:
    """Return whether there is a store to read: one that is named, or the project's SQLite file."""
    uri = tracking_uri(project)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def read_store(project: Path) -> Store:
    """Return the project's store for reading what is in it: all experiments, nothing is created.

    Raises:
        TrackingError: it cannot be reached, or is an SQLite file that is not there.
    """
    uri = tracking_uri(project)
    prepare_environment()
    if not has_store(project):
        raise TrackingError(f"{mask(uri)}: expected an MLflow store with runs, found no such file. Run first, or set MLFLOW_TRACKING_URI.")
    if _SERVER.match(uri):
        _probe(uri)
    with _guard(uri, "open the store"):
        from mlflow import MlflowClient

        return Store(uri, "", "", MlflowClient(tracking_uri=uri))


def run_url(store: Store, experiment_id: str, run_id: str) -> str:
    """Return a run's address in the MLflow UI: on its server, or where `fedpipe ui` will show a local store."""
    base = store.label.rstrip("/") if store.is_server else f"http://{UI_HOST}:{UI_PORT}"
    return f"{base}/#/experiments/{experiment_id}/runs/{run_id}"


def mask(uri: str) -> str:
    """Return `uri` without its password.

    >>> mask("postgresql://ann:s3cret@db.example.org/runs")
    'postgresql://ann:***@db.example.org/runs'
    """
    return hide(uri)


def _find_experiment(client: "MlflowClient", name: str, artifacts: str | None) -> tuple[str, str]:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            client.create_experiment(name, artifact_location=artifacts)
        except MlflowException as err:
            # Another run may have created it in between; then it is there now, and anything else is an error.
            if err.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise MlflowException(f"experiment '{name}' was deleted there; restore it or choose another tracking.experiment")
    return found.experiment_id, found.artifact_location


def _probe(uri: str) -> None:
    with _guard(uri, "reach the store"):
        if _SERVER.match(uri):
            _probe_server(uri)
        elif _DATABASE.match(uri):
            _probe_database(uri)


def _probe_server(uri: str) -> None:
    parts = urlsplit(uri)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(plain, method="HEAD")  # noqa: S310 - http(s), by the caller's match
    try:
        urllib.request.urlopen(request, timeout=_PROBE_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # It answers; whether it lets us in is for MLflow, which has the credentials.


def _probe_database(uri: str) -> None:
    import sqlalchemy

    sqlite = uri.lower().startswith("sqlite")
    # 20 s: another run may be creating the same store.
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, connect_args={"timeout": 20} if sqlite else {})
    with engine.connect() as connection:
        if sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # Takes the write lock: a read-only file fails here.
            connection.rollback()


def _check_artifacts(uri: str, location: str) -> None:
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        return
    folder = Path(unquote(parts.path))
    with _guard(uri, f"write artifacts to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Keep several runs from making the tables of a new SQLite store at the same time: MLflow's migrations do not bear it."""
    path = uri.partition(":///")[2].partition("?")[0]
    if not uri.lower().startswith("sqlite") or not path or path == ":memory:":
        yield
        return
    try:
        with FileLock(f"{unquote(path)}.lock", timeout=_MIGRATION_SECONDS):
            yield
    except Timeout as err:
        raise OSError(f"another run has made its tables for {_MIGRATION_SECONDS} s") from err


@contextmanager
def _guard(uri: str, doing: str) -> Iterator[None]:
    try:
        yield
    except Exception as err:
        # ImportError: the driver of a database that is not installed. requests' errors are OSErrors.
        known = isinstance(err, OSError | ValueError | ImportError)
        if not known and type(err).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy", "alembic", "http"):
            raise
        reason = textwrap.shorten(mask(str(err)).partition("(Background on this error")[0], 300, placeholder=" ...").rstrip(". ")
        raise TrackingError(
            f"{mask(uri)}: cannot {doing}: {reason}. Make the store writable, or name another in MLFLOW_TRACKING_URI."
        ) from err
