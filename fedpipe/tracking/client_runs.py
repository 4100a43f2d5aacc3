"""Which runs trained on a client's data: an index over the tables that runs keep, so that thousands
of runs are asked in no time.

One SQLite file of the project's own, `.fedpipe/lineage.sqlite`. It is made from the runs' artifacts
and never the only copy: where it is missing, damaged, of another store or behind, it is brought up
to date from the store before it answers. Behind are runs that ended since (the store is asked for
these alone), and runs that have not ended. A run that left no table, because it was killed or is
still going on, counts by its cohort plan up to its last round.
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
"""Runs of several machines end by several clocks: what ended up to an hour before the newest known
end is looked at again.
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
    """What a client did in a run that trained on its data, or asked it.

    Attributes:
        run_id: the run.
        name, status, start_time: of the run; the time in milliseconds since 1970.
        source: `recorded`, or `plan` where the run left no table and the plan up to its last round
            has to do.
        population: who the clients are (`runs.lineage.population_key`); the same id of another
            population is another client.
        data: name of the data set; data_md5: its version.
        rounds: number of rounds in which it reported; spans: which.
        failed: number of rounds in which it was asked and did not report.
        examples: that it processed in all rounds; share: of all clients' in this run. None where
            the run left no table.
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
    found = []
    for run_id, text, of, rounds, which, failed, examples in rows:
        facts = json.loads(text)
        known = facts["source"] == "recorded"
        seen, share = (examples, examples / max(1, of)) if known else (None, None)
        found.append(
            ClientRun(
                run_id,
                **facts,
                rounds=rounds,
                spans=which,
                failed=failed,
                examples=seen,
                share=share,
            )
        )
    return sorted(found, key=lambda run: (-run.start_time, run.run_id))


def _prepare(index: sqlite3.Connection, store: str) -> None:
    """Make the tables anew unless they are there, of this schema, and of this store."""
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
            if known.get(run.info.run_id) == state and run.info.status != "RUNNING":
                continue
            source, rows = _rows(store, run, Path(scratch))
            with index:
                _put(index, run, state, source, rows)


def _runs(store: Store, ended_since: int | None) -> "Iterator[Run]":
    """Yield all runs, or those that ended since then or have not ended; deleted ones too."""
    from mlflow.entities import ViewType

    experiments = experiment_ids(store)
    filters = (
        [""]
        if ended_since is None
        else [f"attributes.end_time >= {ended_since}", "attributes.status = 'RUNNING'"]
    )
    for text in filters:

        def ask(token: str | None, text: str = text) -> Any:
            return store.client.search_runs(
                experiments, text, ViewType.ALL, _PAGE, page_token=token
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
        ClientRound(number, one, REPORTED, 0) for number in done for one in cohorts.cohort(number)
    ]


def _last_round(store: Store, run: "Run") -> int:
    """Return the last round whose metrics the store has: each round has its number of clients."""
    return max(
        (
            metric.step
            for metric in store.client.get_metric_history(run.info.run_id, "round/clients")
        ),
        default=0,
    )


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
            sum(one.examples for one in all_clients),
        ),
    )
    number = cursor.lastrowid
    index.executemany(
        "INSERT OR IGNORE INTO clients (client_id) VALUES (?)",
        [(one.client_id,) for one in all_clients],
    )
    index.executemany(
        "INSERT INTO took_part SELECT c.number, ?, ?, ?, ?, ? FROM clients c WHERE c.client_id = ?",
        [
            (number, len(one.rounds), spans(one.rounds), one.failed, one.examples, one.client_id)
            for one in all_clients
        ],
    )
