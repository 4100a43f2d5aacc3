"""Finds, checks and opens the MLflow store of a project.

MLflow retries an unreachable database for minutes and reports a missing folder as an SQL error, so
the store is checked once first. All calls go through a client with explicit ids: MLflow's "active
run" and tracking URI are global or thread-local state, which a flow's threads would share or miss.
"""

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.errors import TrackingError
from fedpipe.tracking.reach import (
    DESCRIPTORS,
    check_artifacts,
    guarded,
    is_database,
    is_server,
    one_at_a_time,
    probe,
    readable,
)
from fedpipe.tracking.tags import CHECKED
from fedpipe.tracking.ui_address import UI_HOST, UI_PORT, ui_address

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Store:
    """An open MLflow store, and the experiment of new runs.

    Attributes:
        uri: the tracking URI; may hold a password, show `label` instead.
        experiment: name of the experiment.
        experiment_id: its id in the store.
        client: MLflow's client on `uri`; may be used by several threads.
        ui: base of the links to the store's runs.
        no_artifacts: why artifacts cannot be written although the store itself can; None if they
            can. Uploads then fail at once instead of retrying for minutes each.
    """

    uri: str = field(repr=False)
    experiment: str
    experiment_id: str
    client: "MlflowClient" = field(repr=False, compare=False)
    ui: str = field(default=f"http://{UI_HOST}:{UI_PORT}", repr=False, compare=False)
    no_artifacts: str | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """Return the tracking URI with its password masked."""
        return mask(self.uri)

    @property
    def is_server(self) -> bool:
        """Return whether the store is a server, with its own user interface."""
        return is_server(self.uri)

    def require_artifacts(self) -> None:
        """Raise TrackingError if artifacts could not be written when the store was opened."""
        if self.no_artifacts is not None:
            raise TrackingError(self.no_artifacts)

    @contextmanager
    def guard(self, doing: str) -> Iterator[None]:
        """Turn MLflow's errors inside into a TrackingError that names the store and the action."""
        with guarded(self.uri, doing):
            yield


def tracking_uri(project: Path) -> str:
    """Return `MLFLOW_TRACKING_URI` if it is set, else the SQLite file `mlflow.db` of the
    project.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project.resolve() / 'mlflow.db'}"


def connection_uri(project: Path) -> str:
    """Return the tracking URI for MLflow: `tracking_uri`, unless the project's path has a `?`.

    SQLAlchemy would parse the rest of such a path as options, and cannot escape it. The folder is
    then named by an open descriptor of this process; other processes cannot use the URI.
    """
    if os.environ.get("MLFLOW_TRACKING_URI") or "?" not in str(project.resolve()):
        return tracking_uri(project)
    return f"sqlite:///{DESCRIPTORS}/{_descriptor_of(project.resolve())}/mlflow.db"


@functools.cache
def _descriptor_of(folder: Path) -> int:
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def artifact_root(project: Path) -> str:
    """Return where a new experiment in a database keeps its artifacts:
    `MLFLOW_DEFAULT_ARTIFACT_ROOT`, else the project's `mlartifacts`.

    The variable is that of `mlflow server`, for example `s3://BUCKET/FOLDER`. An experiment keeps
    the place that it was created with.
    """
    return (
        os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT")
        or (project.resolve() / "mlartifacts").as_uri()
    )


def prepare_environment() -> None:
    """Set MLflow's environment variables that the user has not set; call it before mlflow is
    imported.

    No telemetry; nothing on stdout; no progress bars; only warnings on stderr; a request is retried
    for about half a minute, not for four minutes.
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


def open_store(project: Path, experiment: str, artifacts_needed: bool = True) -> Store:
    """Return the project's store with `experiment`, both created if missing, and checked to be
    writable.

    The first call on a new SQLite store takes about 2 s (MLflow's migrations); it may run in a
    background thread while TensorFlow is imported. In a database, a new experiment keeps its
    artifacts at `artifact_root`; a server decides itself.

    Args:
        project: folder of the project.
        experiment: its name.
        artifacts_needed: refuse a store whose artifacts cannot be written; else set
            `no_artifacts`.

    Raises:
        TrackingError: the store cannot be reached or written, or the experiment was deleted.
    """
    uri = connection_uri(project)
    prepare_environment()
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        with guarded(uri, "make the store"):
            # SQLite would make it 0644 whatever the umask; an empty file is an empty database.
            (project / "mlflow.db").touch()
    probe(uri)
    with guarded(uri, "open the store"):
        from mlflow import MlflowClient

        if is_database(uri) and "'" in str(Path.cwd()):
            with one_at_a_time(uri):
                _make_tables(uri, artifact_root(project))
        client = MlflowClient(tracking_uri=uri)
        artifacts = artifact_root(project) if is_database(uri) else None
        with one_at_a_time(uri):
            experiment_id, location = _find_experiment(client, experiment, artifacts)
    no_artifacts = None
    try:
        check_artifacts(uri, location)
    except TrackingError as err:
        if artifacts_needed:
            raise
        no_artifacts = str(err)
    return Store(
        uri=uri,
        experiment=experiment,
        experiment_id=experiment_id,
        client=client,
        ui=ui_address(project, tracking_uri(project)).url,
        no_artifacts=no_artifacts,
    )


def check_reachable(project: Path) -> None:
    """Check that the store of a run answers, if it exists already; MLflow is not imported.

    Raises:
        TrackingError: it cannot be reached or written.
    """
    if has_store(project):
        probe(connection_uri(project))


def write_and_read(store: Store) -> None:
    """Write a tag of the store's experiment, and read its runs and the tag back, as a run does
    first.

    Raises:
        TrackingError: either fails.
    """
    now = f"{time.time():.0f}"
    with store.guard("write to the store"):
        store.client.set_experiment_tag(store.experiment_id, CHECKED, now)
    with store.guard("read from the store"):
        store.client.search_runs([store.experiment_id], max_results=1)
        tags = store.client.get_experiment(store.experiment_id).tags
    if tags.get(CHECKED) is None:
        raise TrackingError(
            f"{store.label}: a tag that was written to the store cannot be read back. Name another "
            "store in MLFLOW_TRACKING_URI."
        )


def has_store(project: Path) -> bool:
    """Return whether there is a store to read: a server, or a database that exists."""
    uri = tracking_uri(project)
    if not is_own_store(project):
        uri = uri.partition("?")[0]
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def is_own_store(project: Path) -> bool:
    """Return whether the store is the SQLite file of the project."""
    return tracking_uri(project) == f"sqlite:///{project.resolve() / 'mlflow.db'}"


def read_store(project: Path) -> Store:
    """Return the project's store for reading all experiments; nothing is created.

    Raises:
        TrackingError: it cannot be reached, or is an SQLite file that does not exist.
    """
    uri = connection_uri(project)
    prepare_environment()
    if not has_store(project):
        raise TrackingError(
            f"{mask(uri)}: expected an MLflow store with runs, found no such file. Run first, or "
            "set MLFLOW_TRACKING_URI."
        )
    if not uri.lower().startswith("sqlite"):  # its probe would take the write lock
        probe(uri)
    with guarded(uri, "open the store"):
        from mlflow import MlflowClient

        return Store(
            uri,
            "",
            "",
            MlflowClient(tracking_uri=uri),
            ui_address(project, tracking_uri(project)).url,
        )


def run_url(store: Store, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page on the server, or in `fedpipe ui` for a local store."""
    return f"{store.ui}/#/experiments/{experiment_id}/runs/{run_id}"


def mask(uri: str) -> str:
    """Return `uri` without its password.

    >>> mask("postgresql://ann:s3cret@db.example.org/runs")
    'postgresql://ann:***@db.example.org/runs'
    """
    return readable(uri)


def _make_tables(uri: str, artifacts: str) -> None:
    """Create MLflow's tables in a new database, with a given place for the first experiment's
    artifacts.

    MLflow's client would use the current folder, and write it into an SQL statement unescaped, so
    that a quotation mark in its name breaks it.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, artifacts).engine.dispose()  # type: ignore[no-untyped-call]


def _find_experiment(client: "MlflowClient", name: str, artifacts: str | None) -> tuple[str, str]:
    """Return the id of an experiment, which is created if missing, and the place of its
    artifacts.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            client.create_experiment(name, artifact_location=artifacts)
        except MlflowException as err:
            if err.error_code != "RESOURCE_ALREADY_EXISTS":  # by another run, in between
                raise
        experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage != "active":
        raise MlflowException(
            f"experiment '{name}' was deleted there; restore it or choose another "
            "tracking.experiment"
        )
    return experiment.experiment_id, experiment.artifact_location
