"""The store fails: a server that is away for a while or for good, a database that another holds, five runs at once."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.lib.common import BenchmarkError
from tests.e2e.faults.clone import LIMIT_SECONDS, Clone, Outcome

START_SECONDS, LOCKED_SECONDS, AT_ONCE = 120.0, 8.0, 5


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(
    command: list[str], health: str, folder: Path, environment: "dict[str, str] | None" = None
) -> Iterator[None]:
    """Run a server in `folder` while the block runs; it is killed at its end. Raises BenchmarkError if it does not answer at `health`."""
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / "server.log"
    with log_path.open("a") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        limit = time.monotonic() + START_SECONDS
        while not _answers(health):
            if process.poll() is not None or time.monotonic() > limit:
                raise BenchmarkError(
                    f"a server did not start: {log_path.read_text(encoding='utf-8')[-1500:]}"
                )
            time.sleep(0.1)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    """Run MLflow's server on `folder` while the block runs; it is killed at its end."""
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    with server(command, f"http://127.0.0.1:{port}/health", folder):
        yield


def server_away(clone: Clone, folder: Path, away_seconds: float) -> Outcome:
    """The server is killed in the middle of a run and comes back after `away_seconds`."""
    name, port = "MLflow server away for a while", free_port()
    where = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with ExitStack() as first:
        first.enter_context(mlflow_server(folder, port))
        with clone.running("-S", "tracking.wait_seconds=300", holds=["done@5"], **where) as process:
            clone.hold(process, "done@5")
            first.close()
            clone.release("done@5")
            time.sleep(away_seconds)
            done = clone.rounds_done()
            with mlflow_server(folder, port):
                code = process.wait(LIMIT_SECONDS)
                if code:
                    return Outcome(
                        name, False, note=f"the run ended with {code}: {clone.said[-500:]}"
                    )
    note = f"away for {away_seconds:g} s, {done} of {clone.rounds + 1} rounds were done when it came back"
    return clone.judge(name, clone.answered, note, folder / "server.db")


def server_gone(clone: Clone, folder: Path) -> Outcome:
    """The server is killed in the middle of a run and is not there at its end: an error, `fedpipe sync`, `fedpipe resume`."""
    name, port = "MLflow server gone for good", free_port()
    where = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with ExitStack() as first:
        first.enter_context(mlflow_server(folder, port))
        with clone.running("-S", "tracking.wait_seconds=2", holds=["done@5"], **where) as process:
            clone.hold(process, "done@5")
            first.close()
            clone.release("done@5")
            code = process.wait(LIMIT_SECONDS)
            said, last = clone.said, clone.last_line
    if (
        code != 2
        or "journal.jsonl" not in last
        or "fedpipe sync" not in last
        or "Traceback" in said
    ):
        return Outcome(
            name,
            False,
            note=f"expected exit code 2 and an error that names the journal, found {code}: {said[-500:]}",
        )
    with mlflow_server(folder, port):
        if clone.command("sync", "--json", **where) or not sum(clone.answered["sent"].values()):
            return Outcome(name, False, note=f"fedpipe sync sent nothing: {clone.said[-500:]}")
        return clone.judge(name, clone.resume(**where), last, folder / "server.db")


def database_locked(clone: Clone) -> Outcome:
    """Another program holds the SQLite store for some seconds, in the middle of the run and at its end."""
    name = "SQLite store locked"
    holds = ["done@3", f"done@{clone.rounds}"]
    with clone.running(holds=holds) as process:
        for point in holds:
            clone.hold(process, point)
            with sqlite3.connect(clone.database, isolation_level=None, timeout=60) as other:
                other.execute("BEGIN EXCLUSIVE")
                clone.release(point)
                time.sleep(LOCKED_SECONDS)
                other.execute("ROLLBACK")
            other.close()
        code = process.wait(LIMIT_SECONDS)
    if code:
        return Outcome(name, False, note=f"the run ended with {code}: {clone.said[-500:]}")
    return clone.judge(name, clone.answered, f"locked twice for {LOCKED_SECONDS:g} s")


def five_at_once(clone: Clone, folder: Path) -> Outcome:
    """Five runs at the same time in a project in which nothing was ever run: they also prepare the data and make the store."""
    name = f"{AT_ONCE} runs at once"
    fresh = Clone(folder, clone.rounds)
    fresh.expected = clone.expected
    processes = []
    for number in range(AT_ONCE):
        with (
            (folder / f"{number}.out").open("w") as out,
            (folder / f"{number}.err").open("w") as err,
        ):
            processes.append(fresh.start(out, err))
    try:
        codes = [process.wait(2 * LIMIT_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(codes):
        broken = next(number for number, code in enumerate(codes) if code)
        return Outcome(
            name,
            False,
            note=f"exit codes {codes}: {(folder / f'{broken}.err').read_text(encoding='utf-8')[-1500:]}",
        )
    outcomes = [
        fresh.judge(name, json.loads((folder / f"{number}.out").read_text(encoding="utf-8")))
        for number in range(AT_ONCE)
    ]
    lost, doubled = (
        sum(one.steps_lost for one in outcomes),
        sum(one.steps_doubled for one in outcomes),
    )
    return replace(
        outcomes[0],
        survived=all(one.survived for one in outcomes),
        steps_lost=lost,
        steps_doubled=doubled,
        weights_equal=all(one.weights_equal for one in outcomes),
        note=f"{AT_ONCE} runs of {clone.rounds} rounds in a fresh clone",
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - own server
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
