"""Index of the runs that trained on a client's data, built from the tables of participation.

The index is an SQLite file of the project, `.fedpipe/lineage.sqlite`. It is never the only copy: it
is built from the runs' artifacts, again if it is missing, damaged or of another store, and brought
up to date with the runs that ended since before it answers. A run without a table, because it was
killed or is still running, counts by its cohort plan up to its last round.
"""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.errors import TrackingError
from fedpipe.status import MlflowStatus
from fedpipe.system.locks import file_lock
from fedpipe.tracking.artifacts import read_artifact
from fedpipe.tracking.lookup import experiment_ids, pages
from fedpipe.tracking.participation import (
    CLIENTS_NAME,
    REPORTED,
    ClientRound,
    read_clients,
    spans,
    totals,
)
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import DVC_DATA_MD5, PLAN_SHA256, POPULATION
from fedpipe.types import CohortPlan

if TYPE_CHECKING:
    from mlflow.entities import Run

SCHEMA = 1
TABLE = f"lineage/{CLIENTS_NAME}"
PLAN = "plan/cohorts.json"
_PAGE = 500
_SLACK_MS = 3600 * 1000
"""Clocks of machines differ: runs that ended up to an hour before the newest known end are read
again.
"""
_TABLES = """
CREATE TABLE about (store TEXT NOT NULL);
CREATE TABLE runs (number INTEGER PRIMARY KEY, run_id TEXT UNIQUE NOT NULL, state TEXT NOT NULL,
  end_time INTEGER, facts TEXT NOT NULL, examples INTEGER NOT NULL);
CREATE TABLE clients (number INTEGER PRIMARY KEY, client_id TEXT UNIQUE NOT NULL);
CREATE TABLE took_part (client INTEGER NOT NULL, run INTEGER NOT NULL, rounds INTEGER NOT NULL,
  spans TEXT NOT NULL, failed INTEGER NOT NULL, examples INTEGER NOT NULL,
  PRIMARY KEY (client, run)) WITHOUT ROWID;
CREATE INDEX by_run ON took_part (run);
CREATE INDEX by_end ON runs (end_time);
"""


@dataclass(frozen=True)
class ClientRun:
    """Participation of a client in a run.

    Attributes:
        run_id: the run.
        name, status, start_time: of the run; the time in milliseconds since 1970.
        source: `recorded`, or `plan` where the run has no table: its plan up to its last round.
        population: key of who the clients are (`runs.lineage.population_key`); the same id in
            another population is another client.
        data: name of the data set.
        data_md5: DVC's md5 of the data.
        rounds: number of rounds in which the client reported.
        spans: these rounds, such as `1-3, 7`.
        failed: number of rounds in which it was selected and did not report.
        examples: number of examples that it processed in all rounds; None without a table.
        share: fraction of the examples of all clients of the run; None without a table.
    """

    run_id: str
    name: str
    status: str
    start_time: int
    source: str
    population: str
    data: str
    data_md5: str
    rounds: int
    spans: str
    failed: int
    examples: int | None
    share: float | None


def runs_of_client(store: Store, path: Path, client_id: str) -> list[ClientRun]:
    """Return the runs that a client took part in, the newest first, from the index at `path`, which
    is brought up to date.

    Raises:
        TrackingError: the store cannot be read, or the index not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file_lock(path.with_suffix(".lock")):
            try:
                return _ask(store, path, client_id)
            except sqlite3.DatabaseError:
                path.unlink(missing_ok=True)  # damaged: it is made from what is elsewhere
                return _ask(store, path, client_id)
    except (sqlite3.Error, OSError) as err:
        raise TrackingError(
            f"{path}: expected to write the index of clients, found {err}. Make room, or remove "
            "the file."
        ) from err


def _ask(store: Store, path: Path, client_id: str) -> list[ClientRun]:
    with closing(sqlite3.connect(path)) as index:
        _prepare(index, store.label)
        with store.guard("read which clients took part in its runs"):
            _catch_up(index, store)
        rows = index.execute(
            "SELECT r.run_id, r.facts, r.examples, t.rounds, t.spans, t.failed, t.examples FROM "
            "took_part t JOIN runs r ON r.number = t.run JOIN clients c ON c.number = t.client "
            "WHERE c.client_id = ?",
            (client_id,),
        ).fetchall()
    runs = []
    for run_id, text, all_examples, rounds, spans_of_rounds, failed, examples in rows:
        facts = json.loads(text)
        is_recorded = facts["source"] == "recorded"
        runs.append(
            ClientRun(
                run_id,
                **facts,
                rounds=rounds,
                spans=spans_of_rounds,
                failed=failed,
                examples=examples if is_recorded else None,
                share=examples / max(1, all_examples) if is_recorded else None,
            )
        )
    return sorted(runs, key=lambda run: (-run.start_time, run.run_id))


def _prepare(index: sqlite3.Connection, store: str) -> None:
    """Create the tables again unless they exist, with this schema and for this store."""
    (version,) = index.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA and index.execute("SELECT store FROM about").fetchone() == (store,):
        return
    for (name,) in index.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        index.execute(f'DROP TABLE "{name}"')
    index.executescript(_TABLES)
    with index:
        index.execute("INSERT INTO about VALUES (?)", (store,))
        index.execute(f"PRAGMA user_version = {SCHEMA}")


def _catch_up(index: sqlite3.Connection, store: Store) -> None:
    known = dict(index.execute("SELECT run_id, state FROM runs"))
    (newest,) = index.execute("SELECT MAX(end_time) FROM runs").fetchone()
    with tempfile.TemporaryDirectory(prefix="fedpipe-lineage-") as scratch:
        for run in _runs(store, None if newest is None else newest - _SLACK_MS):
            state = f"{run.info.status} {run.info.end_time}"
            if known.get(run.info.run_id) == state and run.info.status != MlflowStatus.RUNNING:
                continue
            source, rows = _rows(store, run, Path(scratch))
            with index:
                _put(index, run, state, source, rows)


def _runs(store: Store, ended_since: int | None) -> "Iterator[Run]":
    """Yield all runs, or those that ended since a time or have not ended; deleted ones too."""
    from mlflow.entities import ViewType

    experiments = experiment_ids(store)
    filters = [""]
    if ended_since is not None:
        filters = [
            f"attributes.end_time >= {ended_since}",
            f"attributes.status = '{MlflowStatus.RUNNING}'",
        ]
    for condition in filters:

        def ask(token: str | None, condition: str = condition) -> Any:
            return store.client.search_runs(
                experiments, condition, ViewType.ALL, _PAGE, page_token=token
            )

        yield from pages(ask)


def _rows(store: Store, run: "Run", scratch: Path) -> tuple[str, list[ClientRound]]:
    if PLAN_SHA256 not in run.data.tags:
        return "none", []
    table = read_artifact(store, run, TABLE, scratch)
    if table is not None:
        return "recorded", read_clients(table)
    plan = read_artifact(store, run, PLAN, scratch)
    if plan is None:
        return "none", []
    cohorts = CohortPlan.from_json(plan.read_text(encoding="utf-8"))
    done = range(1, min(_last_round(store, run), len(cohorts)) + 1)
    return "plan", [
        ClientRound(number, client_id, REPORTED, 0)
        for number in done
        for client_id in cohorts.cohort(number)
    ]


def _last_round(store: Store, run: "Run") -> int:
    """Return the last round whose metrics the store has: each round has its number of clients."""
    history = store.client.get_metric_history(run.info.run_id, "round/clients")
    return max((metric.step for metric in history), default=0)


def _put(
    index: sqlite3.Connection, run: "Run", state: str, source: str, rows: list[ClientRound]
) -> None:
    tags = run.data.tags
    info = run.info
    facts = {
        "name": info.run_name or "",
        "status": info.status,
        "start_time": info.start_time or 0,
        "source": source,
        "population": tags.get(POPULATION, ""),
        "data": run.data.params.get("data.source", ""),
        "data_md5": tags.get(DVC_DATA_MD5, ""),
    }
    all_clients = totals(rows)
    old = index.execute("SELECT number FROM runs WHERE run_id = ?", (info.run_id,)).fetchone()
    if old:
        index.execute("DELETE FROM took_part WHERE run = ?", old)
        index.execute("DELETE FROM runs WHERE number = ?", old)
    cursor = index.execute(
        "INSERT INTO runs (run_id, state, end_time, facts, examples) VALUES (?, ?, ?, ?, ?)",
        (
            info.run_id,
            state,
            info.end_time,
            json.dumps(facts),
            sum(client.examples for client in all_clients),
        ),
    )
    number = cursor.lastrowid
    index.executemany(
        "INSERT OR IGNORE INTO clients (client_id) VALUES (?)",
        [(client.client_id,) for client in all_clients],
    )
    index.executemany(
        "INSERT INTO took_part SELECT c.number, ?, ?, ?, ?, ? FROM clients c WHERE c.client_id = ?",
        [
            (
                number,
                len(client.rounds),
                spans(client.rounds),
                client.failed,
                client.examples,
                client.client_id,
            )
            for client in all_clients
        ],
    )
