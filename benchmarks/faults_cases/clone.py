"""A user's clone in which runs are started, struck and brought to their end, and what is counted of them."""

import json
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

from benchmarks.common import BenchmarkError
from benchmarks.endtoend import User

ROUNDS = 30
SETTINGS = (
    f"rounds={ROUNDS}",
    "cohort.strategy=uniform",
    "client.shuffle=true",
    "client.epochs=60",
    "server.optimizer=adam",
    "server.learning_rate=0.01",
)
LIMIT_SECONDS, GONE_SECONDS = 300.0, 15.0


@dataclass(frozen=True)
class Outcome:
    """What one fault did.

    Attributes:
        fault: its name.
        survived: whether all that was promised happened.
        steps_lost: of the run's metrics, steps that the store does not have.
        steps_doubled: steps that it has more than once.
        orphans: TFF workers and supervisors that outlived the run.
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


class Clone(User):
    """A clone with the undisturbed run's summary in `expected`."""

    def __init__(self, folder: Path) -> None:
        """Copy the project and make the undisturbed run."""
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, uv=False)
        self._program = str(self._python.with_name("fedpipe"))
        self.run_command = [self._program, "run", "--json", *(part for setting in SETTINGS for part in ("-S", setting))]
        self.timed([self._program, "run", "--json", "-S", "rounds=1"], "a first run")  # what a first run makes is there
        self.seconds, output = self.timed(self.run_command, "the undisturbed run")
        self.expected: dict[str, Any] = json.loads(output)
        self._before: set[Path] = set()
        self._family: list[psutil.Process] = []

    @property
    def database(self) -> Path:
        """Return the file of the project's own store."""
        return self.project / "mlflow.db"

    @property
    def said(self) -> str:
        """Return what the last started program wrote to stderr."""
        return (self._home / "stderr").read_text(encoding="utf-8", errors="replace")

    @property
    def answered(self) -> dict[str, Any]:
        """Return the JSON that the last started program wrote to stdout, empty if there is none."""
        lines = (self._home / "stdout").read_text(encoding="utf-8").splitlines()
        answer: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return answer

    def start(
        self, stdout: IO[str], stderr: IO[str], command: Sequence[str] = (), environment: Mapping[str, str] | None = None
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
    def running(self, *extra: str, wrapper: "tuple[str, ...]" = (), **environment: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Start the run; it is ended with the block if it did not end."""
        self._before = self._runs()
        with (self._home / "stdout").open("w") as stdout, (self._home / "stderr").open("w") as stderr:
            process = self.start(stdout, stderr, [*wrapper, *self.run_command, *extra], environment)
        try:
            yield process
        finally:
            self.note_family(process)
            if process.poll() is None:
                process.kill()
                process.wait()

    def wait_for(self, process: "subprocess.Popen[bytes]", rounds: int) -> None:
        """Return when the run that was started has done `rounds` rounds. Raises BenchmarkError if it ends before."""
        self.until(lambda: self.rounds_done() >= rounds or process.poll() is not None, f"round {rounds} of the run")
        if process.poll() is not None:
            raise BenchmarkError(f"expected a run that goes on, it ended with {process.returncode}:\n{self.said[-2000:]}")
        self.note_family(process)

    def rounds_done(self) -> int:
        """Return how many rounds the newest run's journal holds."""
        new = [folder / "journal.jsonl" for folder in self._runs() - self._before]
        return sum(path.read_text(encoding="utf-8").count('"kind": "metrics"') for path in new if path.exists())

    def worker(self) -> int:
        """Return the process id of the run's TFF worker."""
        for process in self._family:
            if process.is_running() and "worker_binary" in " ".join(process.cmdline()[:1]):
                return process.pid
        raise BenchmarkError("expected a TFF worker below the run, found none")

    def note_family(self, process: "subprocess.Popen[bytes]") -> None:
        """Remember the processes below the run, to see later whether one outlived it."""
        if process.poll() is None:
            self._family = psutil.Process(process.pid).children(recursive=True)

    def resume(self, **environment: str) -> dict[str, Any]:
        """Return what `fedpipe resume --json` says."""
        with (self._home / "stdout").open("w") as stdout, (self._home / "stderr").open("w") as stderr:
            command = [self._program, "resume", "--json"]
            code = self.start(stdout, stderr, command, environment).wait(LIMIT_SECONDS)
        if code:
            raise BenchmarkError(f"fedpipe resume ended with {code}:\n{self.said[-2000:]}")
        return self.answered

    def sync(self, **environment: str) -> int:
        """Return the exit code of `fedpipe sync`."""
        with (self._home / "stdout").open("w") as stdout, (self._home / "stderr").open("w") as stderr:
            return self.start(stdout, stderr, [self._program, "sync", "--quiet"], environment).wait(LIMIT_SECONDS)

    def judge(self, fault: str, summary: dict[str, Any], note: str = "", database: Path | None = None) -> Outcome:
        """Return what became of a run: its steps in the store, its weights, its processes."""
        lost, doubled = self._steps(summary["run_id"], database or self.database)
        equal = summary["weights_sha256"] == self.expected["weights_sha256"]
        orphans = self.orphans()
        survived = equal and not (lost or doubled or orphans)
        return Outcome(fault, survived, lost, doubled, orphans, equal, note)

    def orphans(self) -> int:
        """Return how many TFF workers and supervisors of the run live on, after giving them time to end."""
        mine = [process for process in self._family if _is_tff(process)]
        _, alive = psutil.wait_procs(mine, timeout=GONE_SECONDS)
        self._family = []
        return len(alive)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition. Raises BenchmarkError after a time."""
        limit = time.monotonic() + LIMIT_SECONDS
        while not condition():
            if time.monotonic() > limit:
                raise BenchmarkError(f"waited {LIMIT_SECONDS:g} s for {what}:\n{self.said[-2000:]}")
            time.sleep(0.01)

    def _runs(self) -> set[Path]:
        folder = self.project / ".fedpipe" / "runs"
        return set(folder.iterdir()) if folder.is_dir() else set()

    def _steps(self, run_id: str, database: Path) -> tuple[int, int]:
        """Return how many steps of the metrics that every round has are missing, and how many of any metric are there twice."""
        with sqlite3.connect(database) as store:
            rows = store.execute("SELECT key, step, COUNT(*) FROM metrics WHERE run_uuid = ? GROUP BY key, step", (run_id,)).fetchall()
        store.close()
        found = {(key, step) for key, step, _ in rows}
        wanted = {("test/loss", step) for step in range(ROUNDS + 1)} | {("train/loss", step) for step in range(1, ROUNDS + 1)}
        return len(wanted - found), sum(count - 1 for _, _, count in rows)


def _is_tff(process: psutil.Process) -> bool:
    try:
        return any(word in part for part in process.cmdline() for word in ("worker_binary", "supervisor.py"))
    except psutil.NoSuchProcess:
        return False


def strike(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        psutil.Process(pid).send_signal(signal.Signals(number))
    except psutil.NoSuchProcess:
        return


def failed(fault: str, error: Exception) -> Outcome:
    """Return the outcome of a fault that was made and not survived."""
    return replace(Outcome(fault, False), note=" ".join(str(error).split())[:3000])
