"""A whole MLflow store in another database and another place of artifacts, with all ids: a team's,
in place of the embedded one.

    look      is the target new, or this very copy? anything else is refused
    files     every artifact is copied, read back and compared
    rows      all tables in one transaction; then both databases are read and compared

Killed at any point it can be started again: files that are there and the same are passed over, rows
are there as a whole or not at all. MLflow's `migrate-filestore` writes SQLite only, and its export
and import give runs new ids, after which nothing that names one finds it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fedpipe.errors import TrackingError
from fedpipe.redact import hide
from fedpipe.status import MlflowStatus
from fedpipe.tracking.migrate.files import Sent, copy_folders
from fedpipe.tracking.migrate.places import find_places, tables
from fedpipe.tracking.migrate.rows import check_versions, copy_rows, digests, is_fresh
from fedpipe.tracking.reach import (
    check_artifacts,
    guarded,
    is_database,
    one_at_a_time,
    probe,
    readable,
)
from fedpipe.tracking.store import connection_uri, has_store, prepare_environment

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Copied:
    """What a copy holds.

    Attributes:
        to: the target, without its password; artifacts: where its files are.
        runs, models, versions: number of runs, logged models, registered versions.
        rows: of all tables.
        files: of all runs and models.
        already: whether the rows were there before this call.
    """

    to: str
    artifacts: str
    runs: int
    models: int
    versions: int
    rows: int
    files: Sent
    already: bool


def copy_store(
    project: Path,
    to: str,
    artifacts: str,
    *,
    served: bool,
    unfinished: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Copied:
    """Copy the project's store, all of it, to the database `to` and its files to `artifacts`; the
    source stays as it is.

    Args:
        project: whose store; `MLFLOW_TRACKING_URI` may name another.
        to: the target's tracking URI, a database that nobody has used; its tables are made.
        artifacts: where files go, such as `s3://BUCKET/FOLDER`.
        served: an MLflow server with `--artifacts-destination ARTIFACTS` hands them out; else each
            reader needs access to that place.
        unfinished: copy runs that are going on too, as they are now.
        say: takes a line when a part is done.

    Raises:
        TrackingError: the source is no database, or has runs that go on; the target cannot be
            reached, or holds something else.
    """
    source_uri = connection_uri(project)
    prepare_environment()
    _check(project, source_uri, to, artifacts)
    for uri in (source_uri, to):
        probe(uri)
    check_artifacts(to, artifacts)
    from mlflow import MlflowClient

    with guarded(to, "make the tables"), one_at_a_time(to):
        MlflowClient(tracking_uri=to).search_experiments(max_results=1)
    with guarded(source_uri, "read the store"):
        MlflowClient(tracking_uri=source_uri).search_experiments(
            max_results=1
        )  # says so where its tables are of another version
    with (
        guarded(source_uri, f"copy it to {hide(to)}"),
        _reading(source_uri) as source,
        _writing(to) as target,
    ):
        check_versions(source, target, source_uri, to)
        if not unfinished:
            _refuse_running(source, source_uri)
        places = find_places(source, artifacts, served)
        wanted = digests(source, places)
        already = _is_copy(target, wanted, to)
        target.rollback()  # nothing is held while files are sent
        sent = copy_folders(places.folders, places.root, say)
        if not already:
            with target.begin():
                if target.dialect.name == "postgresql":
                    target.exec_driver_sql("LOCK TABLE experiments, runs IN EXCLUSIVE MODE")
                if not _is_copy(target, wanted, to):
                    copy_rows(source, target, places)
                found = digests(target)
                _compare(found, wanted, to)
        counts = {name: count for name, (count, _) in wanted.items()}
    say(
        f"{sum(counts.values())} rows of {sum(map(bool, counts.values()))} tables, read back and "
        "the same"
    )
    runs = counts["runs"]
    models = counts["logged_models"]
    versions = counts["model_versions"]
    return Copied(hide(to), artifacts, runs, models, versions, sum(counts.values()), sent, already)


def _check(project: Path, source_uri: str, to: str, artifacts: str) -> None:
    if not is_database(source_uri) or not has_store(project):
        raise TrackingError(
            f"{readable(source_uri)}: expected the database of a store to copy, found "
            f"{'none' if is_database(source_uri) else 'another kind'}. "
            "Run it where the store is, with MLFLOW_TRACKING_URI unset or naming that database."
        )
    if not is_database(to):
        raise TrackingError(
            f"{hide(to)}: expected a database to copy to, such as postgresql://USER@HOST/NAME, "
            "found another address."
        )
    if to == source_uri:
        raise TrackingError(
            f"{hide(to)}: expected another database than the source, found the same. Name the new "
            "one."
        )
    if not urlsplit(artifacts).scheme or artifacts.startswith("mlflow-artifacts"):
        raise TrackingError(
            f"{artifacts}: expected the place of the files itself, such as s3://BUCKET/FOLDER, "
            "found another address."
        )


def _refuse_running(source: "Connection", uri: str) -> None:
    runs = next(table for table in tables() if table.name == "runs")
    found = [
        str(name)
        for (name,) in source.execute(
            runs.select()
            .with_only_columns(runs.c.name)
            .where(runs.c.status == MlflowStatus.RUNNING.value)
        )
    ]
    if found:
        raise TrackingError(
            f"{readable(uri)}: expected runs that have ended, found {len(found)} going on: "
            f"{', '.join(found[:10])}. Let them end, or copy them as they are with --unfinished: "
            "one that was killed can be resumed on the new store."
        )


def _is_copy(target: "Connection", wanted: object, to: str) -> bool:
    """Return whether the target is this copy already, False if nobody has used it. Raises
    TrackingError if it is something else.
    """
    if is_fresh(target):
        return False
    if digests(target) != wanted:
        raise TrackingError(
            f"{hide(to)}: expected a store that nobody has used, found one with runs, models or "
            "experiments of its own. Nothing was overwritten; name a new database."
        )
    return True


def _compare(found: object, wanted: object, to: str) -> None:
    if found != wanted:
        raise TrackingError(
            f"{hide(to)}: expected the rows that were written, found others when they were read. "
            "Nothing was kept there."
        )


@contextmanager
def _reading(uri: str) -> "Iterator[Connection]":
    """Give a connection on which the source stays as it is: nothing is written to an SQLite file
    meanwhile; runs wait for it.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection
        connection.rollback()


@contextmanager
def _writing(uri: str) -> "Iterator[Connection]":
    import sqlalchemy

    with sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect() as connection:
        yield connection
