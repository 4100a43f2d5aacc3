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
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.common import BenchmarkError
from benchmarks.faults_cases.clone import LIMIT_SECONDS, ROUNDS, Clone, Outcome

START_SECONDS, LOCKED_SECONDS, AT_ONCE = 120.0, 8.0, 5


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    """Run MLflow's server on `folder` while the block runs; it is killed at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        limit = time.monotonic() + START_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > limit:
                raise BenchmarkError(f"MLflow's server did not start; see {folder}/server.log")
            time.sleep(0.1)
        yield
    finally:
        _kill_group(process)


def server_away(clone: Clone, folder: Path, away_seconds: float) -> Outcome:
    """The server is killed in the middle of a run and comes back after `away_seconds`."""
    name, port = "MLflow server away for a while", free_port()
    where = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with clone.running("-S", "tracking.wait_seconds=300", **where) as process:
        with mlflow_server(folder, port):
            clone.wait_for(process, 5)
        time.sleep(away_seconds)
        done = clone.rounds_done()
        with mlflow_server(folder, port):
            code = process.wait(LIMIT_SECONDS)
            if code:
                return Outcome(name, False, note=f"the run ended with {code}: {clone.said[-500:]}")
            return clone.judge(name, clone.answered, f"{done} rounds were done while it was away", folder / "server.db")


def server_gone(clone: Clone, folder: Path) -> Outcome:
    """The server is killed in the middle of a run and is not there at its end: an error, `fedpipe sync`, `fedpipe resume`."""
    name, port = "MLflow server gone for good", free_port()
    where = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with clone.running("-S", "tracking.wait_seconds=2", **where) as process:
        with mlflow_server(folder, port):
            clone.wait_for(process, 5)
        code = process.wait(LIMIT_SECONDS)
        said = clone.said
    if code != 2 or "journal" not in said or "Traceback" in said:
        return Outcome(name, False, note=f"expected exit code 2 and an error that names the journal, found {code}: {said[-500:]}")
    with mlflow_server(folder, port):
        if clone.sync(**where):
            return Outcome(name, False, note=f"fedpipe sync failed: {clone.said[-500:]}")
        return clone.judge(name, clone.resume(**where), said.strip().splitlines()[-1][-300:], folder / "server.db")


def database_locked(clone: Clone) -> Outcome:
    """Another program holds the SQLite store for some seconds of the run."""
    name = "SQLite store locked"
    with clone.running() as process:
        clone.wait_for(process, 3)
        with sqlite3.connect(clone.database, isolation_level=None, timeout=60) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(LOCKED_SECONDS)
            other.execute("ROLLBACK")
        other.close()
        code = process.wait(LIMIT_SECONDS)
    if code:
        return Outcome(name, False, note=f"the run ended with {code}: {clone.said[-500:]}")
    return clone.judge(name, clone.answered, f"locked for {LOCKED_SECONDS:g} s")


def five_at_once(clone: Clone, folder: Path) -> Outcome:
    """Five runs in one project at the same time."""
    name = f"{AT_ONCE} runs at once"
    folder.mkdir(parents=True, exist_ok=True)
    processes = []
    for number in range(AT_ONCE):
        with (folder / f"{number}.out").open("w") as out, (folder / f"{number}.err").open("w") as err:
            processes.append(clone.start(out, err))
    codes = [process.wait(2 * LIMIT_SECONDS) for process in processes]
    if any(codes):
        broken = next(number for number, code in enumerate(codes) if code)
        return Outcome(name, False, note=f"exit codes {codes}: {(folder / f'{broken}.err').read_text(encoding='utf-8')[-500:]}")
    outcomes = [clone.judge(name, json.loads((folder / f"{number}.out").read_text(encoding="utf-8"))) for number in range(AT_ONCE)]
    lost, doubled = sum(one.steps_lost for one in outcomes), sum(one.steps_doubled for one in outcomes)
    equal = all(one.weights_equal for one in outcomes)
    note = f"{AT_ONCE} runs of {ROUNDS} rounds"
    return replace(
        outcomes[0], survived=all(one.survived for one in outcomes), steps_lost=lost, steps_doubled=doubled, weights_equal=equal, note=note
    )


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
