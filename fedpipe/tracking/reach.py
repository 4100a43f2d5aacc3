"""Fail-fast check that a store is reachable and writable; maps its exceptions to TrackingError.

MLflow and its drivers retry an unreachable database or bucket for minutes, each with exceptions of
its own. A store is checked before training; its errors, then or later, become a TrackingError that
names the store without its password.
"""

import os
import re
import tempfile
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import Timeout

from fedpipe.errors import TrackingError
from fedpipe.redact import hide
from fedpipe.system.locks import file_lock
from fedpipe.tracking.addresses import why_no_mlflow

DESCRIPTORS = "/proc/self/fd"
"""Folder of this process's open files, by descriptor."""

_SERVER = re.compile(r"^https?://", re.IGNORECASE)
_DATABASE = re.compile(r"^(sqlite|postgresql|mysql|mssql)(\+\w+)?:", re.IGNORECASE)
_POSTGRES = re.compile(r"^postgresql(\+psycopg2?)?:", re.IGNORECASE)
_LACKS_SCHEME = re.compile(
    r"^(localhost|\d+\.\d+\.\d+\.\d+|[\w-]+(\.[\w-]+)*):\d+(/|$)", re.IGNORECASE
)
_PROBE_SECONDS = 5
_MIGRATION_SECONDS = 120
_MIGRATION_LOCK = 7_362_913
"""Number of PostgreSQL's advisory lock that is held while MLflow's tables are created."""

_PROBE_OBJECT = ".fedpipe-can-write"
_THEIRS = ("mlflow", "sqlalchemy", "alembic", "http", "botocore", "boto3", "s3transfer", "psycopg2")
"""Packages whose exceptions are failures of a store; those of requests are OSErrors."""


def is_server(uri: str) -> bool:
    """Return whether a tracking URI is a server's."""
    return bool(_SERVER.match(uri))


def is_database(uri: str) -> bool:
    """Return whether a tracking URI is a database's."""
    return bool(_DATABASE.match(uri))


def is_postgres(uri: str) -> bool:
    """Return whether a tracking URI is a PostgreSQL database's, with a driver based on libpq."""
    return bool(_POSTGRES.match(uri))


def readable(uri: str) -> str:
    """Return a tracking URI for people: without its password, and with the folder in place of its
    descriptor.
    """
    match = re.match(rf"sqlite:///({DESCRIPTORS}/\d+)(/.*)", uri)
    if match is None:
        return hide(uri)
    try:
        return hide(f"sqlite:///{os.readlink(match[1])}{match[2]}")
    except OSError:
        return uri


@contextmanager
def guarded(uri: str, doing: str) -> Iterator[None]:
    """Turn a store's errors inside into a TrackingError that names `uri` and the action."""
    try:
        yield
    except Exception as err:
        # ImportError: the driver of a database, or boto3, that is not installed.
        is_builtin = isinstance(err, OSError | ValueError | ImportError)
        if not is_builtin and type(err).__module__.partition(".")[0] not in _THEIRS:
            raise
        reason = textwrap.shorten(
            hide(str(err)).partition("(Background on this error")[0], 300, placeholder=" ..."
        ).rstrip(". ")
        fix = (
            _missing_extra(err) or "Make the store writable, or name another in MLFLOW_TRACKING_URI"
        )
        raise TrackingError(f"{readable(uri)}: cannot {doing}: {reason}. {fix}.") from err


def probe(uri: str) -> None:
    """Check that a server or a database answers, and that an SQLite file can be written.

    Raises:
        TrackingError: it does not, or cannot.
    """
    if _LACKS_SCHEME.match(uri):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={uri}: expected an address with http:// or https:// in front. "
            f"Set http://{uri}."
        )
    if is_server(uri) and (problem := why_no_mlflow(uri)):
        raise TrackingError(problem)
    with guarded(uri, "reach the store"):
        if is_server(uri):
            _probe_server(uri)
        elif is_database(uri):
            _probe_database(uri)


def check_artifacts(uri: str, location: str) -> None:
    """Check that a folder or a bucket of artifacts can be written; other kinds of places, such as
    those of a server, are not checked.

    Raises:
        TrackingError: it cannot be written.
    """
    parts = urlsplit(location)
    if parts.scheme == "s3":
        with guarded(uri, f"write artifacts to {location}"):
            # Always the same empty object: a role that may not delete leaves one at most.
            key = "/".join(filter(None, [parts.path.strip("/"), _PROBE_OBJECT]))
            bucket_client().put_object(Bucket=parts.netloc, Key=key, Body=b"")
    elif parts.scheme in ("", "file"):
        folder = Path(unquote(parts.path))
        with guarded(uri, f"write artifacts to {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()


def bucket_client() -> Any:
    """Return a client of MLflow's S3 server with short timeouts, and boto3's credentials."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_PROBE_SECONDS, read_timeout=30, retries={"total_max_attempts": 2}
    )
    return boto3.client(
        "s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None, config=config
    )


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Keep runs from creating the tables of a new store at the same time, which MLflow's migrations
    do not handle.
    """
    if is_postgres(uri):
        with _advisory_lock(uri):
            yield
        return
    path = uri.partition(":///")[2].partition("?")[0]
    if not uri.lower().startswith("sqlite") or not path or path == ":memory:":
        yield
        return
    try:
        with file_lock(Path(f"{path}.lock"), _MIGRATION_SECONDS):
            yield
    except Timeout as err:
        raise OSError(f"another run has made its tables for {_MIGRATION_SECONDS} s") from err


@contextmanager
def _advisory_lock(uri: str) -> Iterator[None]:
    """Hold PostgreSQL's own lock, which is released when its holder's connection ends."""
    import sqlalchemy

    with sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect() as connection:
        connection.exec_driver_sql(f"SET lock_timeout = '{_MIGRATION_SECONDS}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})")
        yield


def _probe_server(uri: str) -> None:
    parts = urlsplit(uri)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    # http(s), by the caller's match
    request = urllib.request.Request(plain, method="HEAD")  # noqa: S310
    try:
        urllib.request.urlopen(request, timeout=_PROBE_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # It answers; MLflow has the credentials to enter.


def _probe_database(uri: str) -> None:
    import sqlalchemy

    sqlite = uri.lower().startswith("sqlite")
    arguments = {}
    if sqlite:
        arguments["timeout"] = 20  # another run may be creating the same store
    elif is_postgres(uri):
        arguments["connect_timeout"] = _PROBE_SECONDS
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, connect_args=arguments)
    with engine.connect() as connection:
        if sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails on a read-only file
            connection.rollback()


def _missing_extra(err: Exception) -> str | None:
    """Return how to install the driver whose import failed; None for other errors."""
    if not isinstance(err, ImportError) or not err.name:
        return None
    package = err.name.partition(".")[0]
    extra = {"psycopg2": "postgres", "boto3": "s3", "botocore": "s3"}.get(package)
    if extra is None:
        return None
    return f"Install its driver: `uv sync --extra {extra}`, or `pip install 'fedpipe[{extra}]'`"
