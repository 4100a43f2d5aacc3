"""A database of Prefect's that this Prefect cannot use: the project gets its own, and the reason is said."""

import logging
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fedpipe.orchestration import database as prefect_database
from fedpipe.orchestration.database import Database, choose_database, database_problem


def make(path: Path, version: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        if version is None:
            database.execute("CREATE TABLE mine (a)")
        else:
            database.execute("CREATE TABLE alembic_version (version_num)")
            database.execute("INSERT INTO alembic_version VALUES (?)", [version])
        database.commit()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home of what?%20 #"


def choose(home: Path) -> Database:
    return choose_database(home, f"sqlite+aiosqlite:///{home}/prefect.db", home / "own")


def test_a_database_of_this_prefect_or_none_is_used(home: Path) -> None:
    assert database_problem(home / "prefect.db") is None
    assert choose(home).folder == home
    make(home / "prefect.db", "9725c1cbee35")  # Prefect's first version
    assert database_problem(home / "prefect.db") is None
    assert choose(home).variables == {
        "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///prefect.db"
    }


def test_the_newest_version_is_known() -> None:
    known = prefect_database._known_versions()
    assert {"9725c1cbee35", "a3b9c7d2e5f1", "a1b2c3d4e5f7", "bb2345678901"} <= known
    assert len(known) > 90


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("newer", r"was made by another, newer Prefect \(its version is ffffffffffff\)"),
        ("other", "holds tables of something else"),
        ("damaged", r"cannot be used \(file is not a database\)"),
        ("locked", r"cannot be used \(database is locked\)"),
        ("folder", r"cannot be used \(unable to open database file\)"),
    ],
)
def test_one_that_cannot_be_used_is_replaced_and_named(
    home: Path,
    kind: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = home / "prefect.db"
    monkeypatch.setattr(prefect_database, "_LOCK_SECONDS", 0.1)
    make(path, {"newer": "ffffffffffff", "other": None}.get(kind, "9725c1cbee35"))
    if kind == "damaged":
        path.write_bytes(b"no database" * 1000)
    if kind == "folder":
        path.unlink()
        path.mkdir()
    before = path.read_bytes() if path.is_file() else b""
    with closing(
        sqlite3.connect(path if kind == "locked" else ":memory:", isolation_level=None)
    ) as other:
        other.execute("BEGIN EXCLUSIVE")
        with caplog.at_level(logging.WARNING, "flows"):
            chosen = choose(home)
    assert chosen.folder == home / "own"
    assert caplog.records[0].getMessage().startswith(f"Prefect's database {path} ")
    assert re.search(words, caplog.text)
    assert "PREFECT_HOME" in caplog.text
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everything")
def test_one_that_is_read_only_is_replaced(home: Path) -> None:
    make(home / "prefect.db", "9725c1cbee35")
    (home / "prefect.db").chmod(0o444)
    assert database_problem(home / "prefect.db") == "cannot be written"


def test_a_database_that_the_user_named_is_left_to_prefect(home: Path) -> None:
    assert choose_database(home, "postgresql+asyncpg://me@host/prefect", home / "own") == Database(
        None, {}
    )
    assert not (home / "own").exists()


def test_prefects_settings_are_what_is_expected_of_them(tmp_path: Path) -> None:
    """The connection's default is compared with as a text."""
    script = (
        "from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL as url, PREFECT_HOME as home\n"
        "value = url.value()\n"
        "print(value.get_secret_value() if hasattr(value, 'get_secret_value') else value, home.value(), sep='\\n')"
    )
    command = [sys.executable, "-P", "-c", script]
    printed = subprocess.run(
        command,
        env=os.environ | {"PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    url, home = printed.splitlines()
    assert choose_database(Path(home), url, tmp_path / "own").folder == tmp_path
