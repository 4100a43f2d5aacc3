"""The rows of one MLflow database in another: all tables, ids as they are, in one transaction or
not at all.

The tables are those of the MLflow that is installed, and both databases must be of its version.
Everything is read and compared through the same column types, so that what two kinds of database
spell differently (booleans, JSON) is the same here.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedpipe.errors import TrackingError
from fedpipe.redact import hide
from fedpipe.tracking.migrate.places import Places, tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

_CHUNK = 2000
_FRESH = (
    "runs",
    "logged_models",
    "registered_models",
    "trace_info",
    "evaluation_datasets",
    "secrets",
    "jobs",
)
"""Tables without a row in a store that nobody has used; `experiments` has one, Default."""

Digests = Mapping[str, tuple[int, int]]
"""Of each table: the number of rows, and a digest that does not depend on their order."""


def check_versions(
    source: "Connection", target: "Connection", source_uri: str, target_uri: str
) -> None:
    """Compare the versions of both databases' tables. Raises TrackingError if they differ."""
    found = [
        connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        for connection in (source, target)
    ]
    if found[0] != found[1]:
        raise TrackingError(
            f"{hide(target_uri)}: expected tables of the same version as those of "
            f"{hide(source_uri)}, {found[0]}, found {found[1]}. Back both up and bring the older "
            "to the newer's with `mlflow db upgrade URI`."
        )


def is_fresh(connection: "Connection") -> bool:
    """Return whether nobody has used a store: no runs, no models, no experiment but Default."""
    from sqlalchemy import func, select

    by_name = {table.name: table for table in tables()}
    experiments = by_name["experiments"]
    used = [
        name
        for name in _FRESH
        if name in by_name
        and connection.execute(select(by_name[name]).limit(1)).first() is not None
    ]
    others = connection.execute(
        select(func.count()).select_from(experiments).where(experiments.c.experiment_id != 0)
    ).scalar()
    return not used and not others


def digests(connection: "Connection", places: Places | None = None) -> Digests:
    """Return the digest of each table as it is, or with the places of artifacts that it would have
    in the copy.
    """
    found = {}
    for table in tables():
        count = total = 0
        for row in _rows(connection, table, places):
            text = repr([_plain(row[column.name]) for column in table.columns])
            total = (
                total + int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
            ) % 2**128
            count += 1
        found[table.name] = (count, total)
    return found


def copy_rows(source: "Connection", target: "Connection", places: Places) -> int:
    """Copy all rows into a store that nobody has used, and return how many; the caller commits.

    Its own Default experiment gives way to the source's.
    """
    listed = tables()
    for table in reversed(listed):
        target.execute(table.delete())
    copied = 0
    for table in listed:
        chunk: list[dict[str, Any]] = []
        for row in _rows(source, table, places):
            chunk.append(row)
            if len(chunk) == _CHUNK:
                target.execute(table.insert(), chunk)
                copied = copied + len(chunk)
                chunk = []
        if chunk:
            target.execute(table.insert(), chunk)
            copied += len(chunk)
    if target.dialect.name == "postgresql":
        _go_on_counting(target, listed)
    return copied


def _rows(
    connection: "Connection", table: "Table", places: Places | None
) -> Iterator[dict[str, Any]]:
    from sqlalchemy import select

    for row in connection.execute(
        select(table), execution_options={"yield_per": _CHUNK}
    ).mappings():
        values = dict(row)
        yield places.in_copy(table.name, values) if places else values


def _go_on_counting(target: "Connection", listed: "Sequence[Table]") -> None:
    """Have PostgreSQL number the next rows after those that came with their numbers."""
    for table in listed:
        for column in table.columns:
            if column.autoincrement is True:
                target.exec_driver_sql(
                    # MLflow's names
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), m) "  # noqa: S608
                    f"FROM (SELECT MAX({column.name}) AS m FROM {table.name}) AS last WHERE m > 0"
                )


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return value
