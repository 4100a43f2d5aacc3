"""A user's clone in which runs are started, struck and brought to their end, and what is counted of them."""

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import psutil

from benchmarks.lib.common import BenchmarkError
from benchmarks.lib.user import User

ROUNDS, EPOCHS = 30, 60
SETTINGS = (
    "cohort.strategy=uniform",
    "client.shuffle=true",
    "server.optimizer=adam",
    "server.learning_rate=0.01",
)
LIMIT_SECONDS, GONE_SECONDS = 300.0, 15.0
_HOLD_POINTS = Path(__file__).with_name("hold_points")
"""Folder of the `sitecustomize` that holds a run; see there."""


@dataclass(frozen=True)
class Outcome:
    """What one fault did.

    Attributes:
        fault: its name.
        survived: whether all that was promised happened.
        steps_lost: of the run's metrics, steps that the store does not have.
        steps_doubled: steps that it has more than once.
        orphans: processes that outlived the run.
        weights_equal: whether the final weights are those of the undisturbed run, to the bit.
        note: what else there is to say.
    """

    fault: str
    survived: bool
    steps_lost: int = 0
    steps_doubled: int = 0
    orphans: int = 0
    weights_equal: bool = False
    note: str = ""

    def with_orphans(self, count: int) -> "Outcome":
        """Return the outcome with more processes that outlived the run."""
        return replace(self, orphans=self.orphans + count, survived=self.survived and not count)


class Clone(User):
    """A clone; `expected` is the undisturbed run's summary, once `undisturbed` has made it."""

    def __init__(self, folder: Path, rounds: int = ROUNDS, epochs: int = EPOCHS) -> None:
        """Copy the project, which is not used before; `rounds` and the clients' `epochs` are those of its runs."""
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, uv=False)
        self.rounds = rounds
        self.program = str(self._python.with_name("fedpipe"))
        settings = (f"rounds={rounds}", f"client.epochs={epochs}", *SETTINGS)
        self.run_command = [
            self.program,
            "run",
            "--json",
            *(part for setting in settings for part in ("-S", setting)),
        ]
        self.expected: dict[str, Any] = {}
        self.seconds = 0.0
        self._before: set[Path] = set()

    def undisturbed(self) -> None:
        """Make the undisturbed run, after a short one that leaves what a first run leaves."""
        self.timed([self.program, "run", "--json", "-S", "rounds=1"], "a first run")
        self.seconds, output = self.timed(self.run_command, "the undisturbed run")
        self.expected = json.loads(output)

    def read_expected(self, output: Path) -> None:
        """Take the undisturbed run's summary from the file of its output."""
        self.expected = json.loads(output.read_text(encoding="utf-8"))

    @property
    def _holds(self) -> Path:
        """Return the folder by which a run is held at its points."""
        return self._home / "holds"

    @property
    def database(self) -> Path:
        """Return the file of the project's own store."""
        return self.project / "mlflow.db"

    @property
    def said(self) -> str:
        """Return what the last started program wrote to stderr."""
        return (self._home / "stderr").read_text(encoding="utf-8", errors="replace")

    @property
    def last_line(self) -> str:
        """Return the last line of `said`, which is the error of a program that failed."""
        return self.said.strip().splitlines()[-1][-400:] if self.said.strip() else ""

    @property
    def answered(self) -> dict[str, Any]:
        """Return the JSON that the last started program wrote to stdout, empty if there is none."""
        lines = (self._home / "stdout").read_text(encoding="utf-8").splitlines()
        answer: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return answer

    @property
    def newest_run(self) -> Path | None:
        """Return the folder of the run that was started last, None before it is there."""
        return next(iter(self._runs() - self._before), None)

    def start(
        self,
        stdout: IO[str],
        stderr: IO[str],
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.Popen[bytes]":
        """Start a command (default: the run), whose output goes to files."""
        return subprocess.Popen(
            list(command or self.run_command),
            cwd=self.project,
            env=self._environment() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    @contextmanager
    def running(
        self,
        *extra: str,
        wrapper: "tuple[str, ...]" = (),
        holds: Sequence[str] = (),
        **environment: str,
    ) -> "Iterator[subprocess.Popen[bytes]]":
        """Start the run; it is ended with the block if it did not end. At each point of `holds` it waits for `release`."""
        self._before = self._runs()
        if holds:
            shutil.rmtree(self._holds, ignore_errors=True)
            self._holds.mkdir()
            environment |= {
                "PYTHONPATH": str(_HOLD_POINTS),
                "FEDPIPE_HOLD": ",".join(holds),
                "FEDPIPE_HOLD_FOLDER": str(self._holds),
            }
        with (
            (self._home / "stdout").open("w") as stdout,
            (self._home / "stderr").open("w") as stderr,
        ):
            process = self.start(stdout, stderr, [*wrapper, *self.run_command, *extra], environment)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def hold(self, process: "subprocess.Popen[bytes]", point: str) -> None:
        """Return when the run waits at a point of its `holds`. Raises BenchmarkError if it ends before."""
        self.until(
            lambda: (self._holds / f"{point}.reached").exists() or process.poll() is not None,
            f"the run at {point}",
        )
        if process.poll() is not None:
            raise BenchmarkError(
                f"expected a run that waits at {point}, it ended with {process.returncode}:\n{self.said[-2000:]}"
            )

    def release(self, point: str) -> None:
        """Let the run continue from a point where it waits."""
        (self._holds / f"{point}.go").touch()

    def rounds_done(self) -> int:
        """Return how many rounds the newest run's journal holds, the initial state among them."""
        path = self.newest_run / "journal.jsonl" if self.newest_run else None
        return (
            path.read_text(encoding="utf-8").count('"kind": "metrics"')
            if path and path.exists()
            else 0
        )

    def worker(self, process: "subprocess.Popen[bytes]") -> int:
        """Return the process id of a run's TFF worker."""
        for child in psutil.Process(process.pid).children(recursive=True):
            if "worker_binary" in " ".join(child.cmdline()[:1]):
                return child.pid
        raise BenchmarkError("expected a TFF worker below the run, found none")

    def resume(self, **environment: str) -> dict[str, Any]:
        """Return what `fedpipe resume --json` says."""
        code = self.command("resume", "--json", **environment)
        if code:
            raise BenchmarkError(f"fedpipe resume ended with {code}:\n{self.said[-2000:]}")
        return self.answered

    def command(self, *arguments: str, **environment: str) -> int:
        """Return the exit code of a fedpipe command; `said` and `answered` have the rest."""
        with (
            (self._home / "stdout").open("w") as stdout,
            (self._home / "stderr").open("w") as stderr,
        ):
            return self.start(stdout, stderr, [self.program, *arguments], environment).wait(
                LIMIT_SECONDS
            )

    def judge(
        self, fault: str, summary: dict[str, Any], note: str = "", database: Path | None = None
    ) -> Outcome:
        """Return what became of a run: its steps in the store, its weights, its processes."""
        if not summary:
            return Outcome(fault, False, note=f"{note}; there was no summary: {self.said[-800:]}")
        lost, doubled = self._steps(summary["run_id"], database or self.database)
        equal = summary["weights_sha256"] == self.expected["weights_sha256"]
        orphans = self.orphans()
        survived = equal and not (lost or doubled or orphans)
        return Outcome(fault, survived, lost, doubled, orphans, equal, note)

    def orphans(self) -> int:
        """Return how many processes still work in the project, after giving them time to end."""
        limit = time.monotonic() + GONE_SECONDS
        while (left := self._working_here()) and time.monotonic() < limit:
            time.sleep(0.1)
        return len(left)

    def until(self, condition: Callable[[], bool], what: str, pause_seconds: float = 0.01) -> None:
        """Wait for a condition. Raises BenchmarkError after a time."""
        limit = time.monotonic() + LIMIT_SECONDS
        while not condition():
            if time.monotonic() > limit:
                raise BenchmarkError(f"waited {LIMIT_SECONDS:g} s for {what}:\n{self.said[-2000:]}")
            time.sleep(pause_seconds)

    def _working_here(self) -> list[psutil.Process]:
        here = str(self.project.resolve())
        return [
            found
            for found in psutil.process_iter(["cwd", "status"])
            if found.info["cwd"] == here and found.info["status"] != "zombie"
        ]

    def _runs(self) -> set[Path]:
        folder = self.project / ".fedpipe" / "runs"
        return {path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()

    def _steps(self, run_id: str, database: Path) -> tuple[int, int]:
        """Return how many steps of the metrics that every round has are missing, and how many of any metric are there twice."""
        with sqlite3.connect(database) as store:
            rows = store.execute(
                "SELECT key, step, COUNT(*) FROM metrics WHERE run_uuid = ? GROUP BY key, step",
                (run_id,),
            ).fetchall()
        store.close()
        found = {(key, step) for key, step, _ in rows}
        wanted = {("test/loss", step) for step in range(self.rounds + 1)} | {
            ("train/loss", step) for step in range(1, self.rounds + 1)
        }
        wanted |= {("final/test/loss", 0)}
        return len(wanted - found), sum(count - 1 for _, _, count in rows)


def strike(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        psutil.Process(pid).send_signal(signal.Signals(number))
    except psutil.NoSuchProcess:
        return
