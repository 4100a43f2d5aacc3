"""Copies a whole MLflow store, with all ids, to another database and another place of artifacts.

1. Check that the target is new, or a copy of this store; anything else is refused.
2. Copy every artifact, read it back and compare it.
3. Copy all tables in one transaction; then read and compare both databases.

It can be killed and started again at any point: files that are equal are skipped, and rows are
written all or none. MLflow's `migrate-filestore` writes SQLite only, and its export and import give
runs new ids, which breaks every reference to them.
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
    """A copy of a store.

    Attributes:
        to: the target, without its password.
        artifacts: the place of its files.
        runs, models, versions: number of runs, logged models, registered versions.
        rows: number of rows of all tables.
        files: of all runs and models.
        already: whether the rows existed before this call.
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
    """Copy the whole store of a project; the source is not changed.

    Args:
        project: folder of the project; `MLFLOW_TRACKING_URI` may name another store.
        to: the target's tracking URI, an unused database; its tables are created.
        artifacts: place of the copied files, such as `s3://BUCKET/FOLDER`.
        served: an MLflow server with `--artifacts-destination ARTIFACTS` serves them; else each
            reader needs access to that place.
        unfinished: copy running runs too, as they are now.
        say: takes a line when a part is done.

    Raises:
        TrackingError: the source is no database, or has running runs; the target cannot be reached,
            or has other contents.
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
        # An error if its tables are of another version.
        MlflowClient(tracking_uri=source_uri).search_experiments(max_results=1)
    with (
        guarded(source_uri, f"copy it to {hide(to)}"),
        _reading(source_uri) as source,
        _writing(to) as target,
    ):
        check_versions(source, target, source_uri, to)
        if not unfinished:
            _refuse_running(source, source_uri)
        places = find_places(source, artifacts, served)
        expected = digests(source, places)
        already = _is_copy(target, expected, to)
        target.rollback()  # hold no locks while files are sent
        sent = copy_folders(places.folders, places.root, say)
        if not already:
            with target.begin():
                if target.dialect.name == "postgresql":
                    target.exec_driver_sql("LOCK TABLE experiments, runs IN EXCLUSIVE MODE")
                if not _is_copy(target, expected, to):
                    copy_rows(source, target, places)
                if digests(target) != expected:
                    raise TrackingError(
                        f"{hide(to)}: the rows that were written are read back differently. "
                        "Nothing was kept there."
                    )
        counts = {name: count for name, (count, _) in expected.items()}
    say(
        f"{sum(counts.values())} rows of {sum(map(bool, counts.values()))} tables, read back and "
        "the same"
    )
    return Copied(
        to=hide(to),
        artifacts=artifacts,
        runs=counts["runs"],
        models=counts["logged_models"],
        versions=counts["model_versions"],
        rows=sum(counts.values()),
        files=sent,
        already=already,
    )


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
    names = [
        str(name)
        for (name,) in source.execute(
            runs.select()
            .with_only_columns(runs.c.name)
            .where(runs.c.status == MlflowStatus.RUNNING.value)
        )
    ]
    if names:
        raise TrackingError(
            f"{readable(uri)}: expected runs that have ended, found {len(names)} running: "
            f"{', '.join(names[:10])}. Let them finish, or copy them as they are with "
            "--unfinished: one that was killed can be resumed on the new store."
        )


def _is_copy(target: "Connection", expected: object, to: str) -> bool:
    """Return whether the target is this copy already; False if it is unused. Raises TrackingError
    if it has other contents.
    """
    if is_fresh(target):
        return False
    if digests(target) != expected:
        raise TrackingError(
            f"{hide(to)}: expected a store that nobody has used, found one with runs, models or "
            "experiments of its own. Nothing was overwritten; name a new database."
        )
    return True


@contextmanager
def _reading(uri: str) -> "Iterator[Connection]":
    """Yield a connection that sees the source unchanged: writers of an SQLite file wait."""
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
