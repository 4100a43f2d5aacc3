"""Copies the rows of one MLflow database to another: all tables, with their ids, in one
transaction.

The tables are those of the installed MLflow, and both databases must have its version. Values are
compared through the same column types, as databases write some of them (booleans, JSON)
differently.
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
"""Tables that are empty in an unused store; `experiments` has one row, Default."""

Digests = Mapping[str, tuple[int, int]]
"""Number of rows and a digest, independent of their order, by table."""


def check_versions(
    source: "Connection", target: "Connection", source_uri: str, target_uri: str
) -> None:
    """Compare the versions of both databases' tables. Raises TrackingError if they differ."""
    query = "SELECT version_num FROM alembic_version"
    source_version = source.exec_driver_sql(query).scalar()
    target_version = target.exec_driver_sql(query).scalar()
    if source_version != target_version:
        raise TrackingError(
            f"{hide(target_uri)}: expected tables of the same version as those of "
            f"{hide(source_uri)}, {source_version}, found {target_version}. Back both up and bring "
            "the older to the newer's with `mlflow db upgrade URI`."
        )


def is_fresh(connection: "Connection") -> bool:
    """Return whether a store is unused: no runs, no models, no experiment except Default."""
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
    """Return the digest of each table; with `places`, as the table is in the copy."""
    by_table = {}
    for table in tables():
        count = total = 0
        for row in _rows(connection, table, places):
            text = repr([_plain(row[column.name]) for column in table.columns])
            total = (
                total + int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
            ) % 2**128
            count += 1
        by_table[table.name] = (count, total)
    return by_table


def copy_rows(source: "Connection", target: "Connection", places: Places) -> int:
    """Copy all rows into an unused store, and return their number; the caller commits.

    The source's Default experiment replaces that of the target.
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
        _continue_sequences(target, listed)
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


def _continue_sequences(target: "Connection", listed: "Sequence[Table]") -> None:
    """Make PostgreSQL's sequences continue after the copied rows."""
    for table in listed:
        for column in table.columns:
            if column.autoincrement is True:
                sequence = f"pg_get_serial_sequence('{table.name}', '{column.name}')"
                target.exec_driver_sql(
                    # MLflow's names
                    f"SELECT setval({sequence}, m) FROM "  # noqa: S608
                    f"(SELECT MAX({column.name}) AS m FROM {table.name}) AS last WHERE m > 0"
                )


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return value
