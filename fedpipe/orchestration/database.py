"""Whether Prefect's database can serve this Prefect: asked before a temporary server is started on
it, which says nothing when it cannot.

All of a user's temporary servers share the database in `PREFECT_HOME`; so does `prefect server
start`. Where that one is of a newer Prefect, damaged, read-only or locked, a run has a database of
the project's own, and says so.
"""

import logging
import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fedpipe.redact import hide

_LOCK_SECONDS = 10
_NAME = "prefect.db"

logger = logging.getLogger("flows")


@dataclass(frozen=True)
class Database:
    """Where a temporary server keeps its runs.

    Attributes:
        folder: of the SQLite file; None for a database that the user named.
        variables: what the server's environment needs beside that of this process.
    """

    folder: Path | None
    variables: dict[str, str]


def choose_database(home: Path, connection_url: str, own: Path) -> Database:
    """Return the user's database, or one in the folder `own` where the user's cannot be used and
    none was named.

    `home` and `connection_url` are Prefect's settings. The SQLite file is named relative to its
    folder, in which the server is started: no character of the path means anything then.
    """
    if connection_url != f"sqlite+aiosqlite:///{home}/{_NAME}":
        return Database(None, {})
    problem = database_problem(home / _NAME)
    folder = home
    if problem is not None and home != own:
        folder = own
        logger.warning(
            "Prefect's database %s %s. This run uses %s instead, so `prefect server start` does "
            "not show it. To change that: set PREFECT_HOME to another folder, or move that file "
            "away.",
            home / _NAME,
            problem,
            folder / _NAME,
        )
    folder.mkdir(parents=True, exist_ok=True)
    return Database(
        folder.resolve(), {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{_NAME}"}
    )


def database_problem(path: Path) -> str | None:
    """Return why this Prefect cannot use the SQLite file at `path`; None if it can, or will make
    it.
    """
    if not path.exists():
        return None
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return "cannot be written"
    try:
        uri = f"{path.resolve().as_uri()}?mode=rw"
        with closing(
            sqlite3.connect(uri, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)
        ) as database:
            database.execute("BEGIN IMMEDIATE")
            tables = {
                str(row[0])
                for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            versions = (
                database.execute("SELECT version_num FROM alembic_version").fetchall()
                if "alembic_version" in tables
                else []
            )
            database.execute("ROLLBACK")
    except sqlite3.Error as err:
        return f"cannot be used ({err})"
    unknown = [str(version) for (version,) in versions if version not in _known_versions()]
    if unknown:
        return f"was made by another, newer Prefect (its version is {hide(unknown[0])})"
    if tables and not versions:
        return "holds tables of something else"
    return None


def _known_versions() -> set[str]:
    """Return the versions of the database that the installed Prefect can migrate: each of its
    migrations has one.
    """
    import prefect

    folder = (
        Path(prefect.__file__).parent
        / "server"
        / "database"
        / "_migrations"
        / "versions"
        / "sqlite"
    )
    texts = (file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    return {
        match[1]
        for text in texts
        if (match := re.search(r"^revision\b.*=\s*[\"'](\w+)[\"']", text, re.MULTILINE))
    }
