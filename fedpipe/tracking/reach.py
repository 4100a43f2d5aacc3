"""Whether a store can be reached and written, tried once and at once, and what its failures become.

MLflow and its drivers try an unreachable database or bucket for minutes, and each has exceptions of
its own. Here a store is tried before anything is trained, and what goes wrong with it, then or
later, is a TrackingError that names the store without its password.
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
"""Folder of the files and folders that this process has open, by the numbers of their
descriptors.
"""

_SERVER = re.compile(r"^https?://", re.IGNORECASE)
_DATABASE = re.compile(r"^(sqlite|postgresql|mysql|mssql)(\+\w+)?:", re.IGNORECASE)
_POSTGRES = re.compile(r"^postgresql(\+psycopg2?)?:", re.IGNORECASE)
_LACKS_SCHEME = re.compile(
    r"^(localhost|\d+\.\d+\.\d+\.\d+|[\w-]+(\.[\w-]+)*):\d+(/|$)", re.IGNORECASE
)
_PROBE_SECONDS = 5
_MIGRATION_SECONDS = 120
_MIGRATION_LOCK = 7_362_913
"""The number of PostgreSQL's advisory lock that is held while MLflow's tables are made; any number
will do, if it is always the same.
"""

_PROBE_OBJECT = ".fedpipe-can-write"
_THEIRS = ("mlflow", "sqlalchemy", "alembic", "http", "botocore", "boto3", "s3transfer", "psycopg2")
"""Packages whose exceptions say that a store failed. requests' errors are OSErrors."""


def is_server(uri: str) -> bool:
    """Return whether a tracking URI is a server's."""
    return bool(_SERVER.match(uri))


def is_database(uri: str) -> bool:
    """Return whether a tracking URI is a database's."""
    return bool(_DATABASE.match(uri))


def is_postgres(uri: str) -> bool:
    """Return whether a tracking URI is that of a PostgreSQL database, by a driver that speaks
    libpq's language.
    """
    return bool(_POSTGRES.match(uri))


def readable(uri: str) -> str:
    """Return a tracking URI for people: without its password, and with the folder that a descriptor
    stands for.
    """
    found = re.match(rf"sqlite:///({DESCRIPTORS}/\d+)(/.*)", uri)
    if found is None:
        return hide(uri)
    try:
        return hide(f"sqlite:///{os.readlink(found[1])}{found[2]}")
    except OSError:
        return uri


@contextmanager
def guarded(uri: str, doing: str) -> Iterator[None]:
    """Turn what a store raises inside into a TrackingError that names `uri` and what was being
    done.
    """
    try:
        yield
    except Exception as err:
        # ImportError: the driver of a database, or boto3, that is not installed.
        known = isinstance(err, OSError | ValueError | ImportError)
        if not known and type(err).__module__.partition(".")[0] not in _THEIRS:
            raise
        reason = textwrap.shorten(
            hide(str(err)).partition("(Background on this error")[0], 300, placeholder=" ..."
        ).rstrip(". ")
        mend = _extra(err) or "Make the store writable, or name another in MLFLOW_TRACKING_URI"
        raise TrackingError(f"{readable(uri)}: cannot {doing}: {reason}. {mend}.") from err


def probe(uri: str) -> None:
    """Ask a server or a database whether it is there; of an SQLite file, whether it can be written.

    Raises:
        TrackingError: it is not.
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
    """Write to a folder or a bucket of artifacts; what a server serves, and other kinds of places,
    are not tried.

    Raises:
        TrackingError: it cannot be written.
    """
    parts = urlsplit(location)
    if parts.scheme == "s3":
        with guarded(uri, f"write artifacts to {location}"):
            # One object of no bytes, always the same: a role that may not delete leaves one at
            # most.
            key = "/".join(filter(None, [parts.path.strip("/"), _PROBE_OBJECT]))
            bucket_client().put_object(Bucket=parts.netloc, Key=key, Body=b"")
    elif parts.scheme in ("", "file"):
        folder = Path(unquote(parts.path))
        with guarded(uri, f"write artifacts to {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()


def bucket_client() -> Any:
    """Return a client of the S3 server that MLflow will use, one that gives up soon; credentials
    are found as boto3 finds them.
    """
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
    """Keep several runs from making the tables of a new store at the same time: MLflow's migrations
    do not bear it.
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
    """Hold PostgreSQL's own lock, which is gone with the connection of whoever holds it."""
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
        return  # It answers; whether it lets us in is for MLflow, which has the credentials.


def _probe_database(uri: str) -> None:
    import sqlalchemy

    sqlite = uri.lower().startswith("sqlite")
    # 20 s: another run may be creating the same store.
    arguments = (
        {"timeout": 20}
        if sqlite
        else {"connect_timeout": _PROBE_SECONDS}
        if is_postgres(uri)
        else {}
    )
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, connect_args=arguments)
    with engine.connect() as connection:
        if sqlite:
            connection.exec_driver_sql(
                "BEGIN IMMEDIATE"
            )  # Takes the write lock: a read-only file fails here.
            connection.rollback()


def _extra(err: Exception) -> str | None:
    """Return which extra of fedpipe brings a driver that is missing."""
    missing = (
        (getattr(err, "name", None) or "").partition(".")[0] if isinstance(err, ImportError) else ""
    )
    extra = {"psycopg2": "postgres", "boto3": "s3", "botocore": "s3"}.get(missing)
    return (
        extra
        and f"Install its driver: `uv sync --extra {extra}`, or `pip install 'fedpipe[{extra}]'`"
    )
