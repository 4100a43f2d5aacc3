"""Processes of a sweep's trials: as many at a time as cores and memory allow.

A trial is `fedpipe sweep-child FOLDER`, started through `fedpipe.system.child_process`: its process
tree dies with this process. After each validated round it sends the metric on a socket, and waits
for the answer: continue, or stop.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from fedpipe.errors import program_error
from fedpipe.project.paths import Project
from fedpipe.system.child_process import kept_command
from fedpipe.system.resources import free_memory_mb, usable_cores

LOG_NAME = "child.log"
TRIAL = (sys.executable, "-P", "-m", "fedpipe", "sweep-child")
"""What runs a trial; its arguments are the run's folder and `--line DESCRIPTOR`."""

_END_SECONDS = 9.0
_POLL_SECONDS = 0.2
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Round:
    """A trial validated a round."""

    number: int
    round_num: int
    value: float


@dataclass(frozen=True)
class Ended:
    """A trial's process is gone: 0, an error's exit code, or 128 and more for a signal."""

    number: int
    code: int


@dataclass
class _TrialProcess:
    process: "subprocess.Popen[bytes]"
    line: socket.socket
    unread: bytes = b""
    over: bool = field(default=False)


class Pool:
    """The trials that are running. Ends them all with its block: with SIGTERM, or with SIGKILL
    those that need too long.
    """

    def __init__(self, project: Project, most: int, cores: int, memory_mb: int) -> None:
        """Take at most so many trials at a time, of so many cores and so much memory each."""
        self._project = project
        self._most = most
        self._cores = cores
        self._memory_mb = memory_mb
        self._trials: dict[int, _TrialProcess] = {}
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> "Pool":
        """Return the pool."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the trials."""
        try:
            for trial in self._trials.values():
                trial.process.terminate()
            limit = time.monotonic() + _END_SECONDS
            for trial in self._trials.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    trial.process.wait(max(0.0, limit - time.monotonic()))
        finally:
            for number in list(self._trials):
                self._forget(number)
            self._selector.close()

    @property
    def running(self) -> int:
        """Return how many trials are running."""
        return len(self._trials)

    def has_room(self) -> bool:
        """Return whether another trial may start: one always may where none runs."""
        return not self._trials or (
            len(self._trials) < self._most and free_memory_mb() >= self._memory_mb
        )

    def start(self, number: int, folder: Path) -> None:
        """Start the trial whose run is in `folder`; its output goes to a file there."""
        ours, theirs = socket.socketpair()
        command = [*TRIAL, str(folder), "--line", str(theirs.fileno())]
        with theirs, (folder / LOG_NAME).open("ab") as log:
            process = subprocess.Popen(
                kept_command(command),
                cwd=self._project.root,
                env=os.environ | dict.fromkeys(_THREADS, str(self._cores)),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # the terminal's Ctrl-C is this process's to handle
            )
        self._trials[number] = _TrialProcess(process, ours)
        self._selector.register(ours, selectors.EVENT_READ, number)

    def events(self) -> Iterator[Round | Ended]:
        """Yield what happened within the next moment. A `Round` is to be answered."""
        for key, _ in self._selector.select(_POLL_SECONDS):
            yield from self._read(key.data)
        for number, trial in list(self._trials.items()):
            code = trial.process.poll()
            if code is not None:
                self._forget(number)
                yield Ended(number, code if code >= 0 else 128 - code)

    def answer(self, number: int, why_not: str | None) -> None:
        """Tell a trial to continue, or to stop and why."""
        trial = self._trials.get(number)
        if trial is not None:
            with contextlib.suppress(OSError):  # it is gone; its end is the next event
                trial.line.sendall(json.dumps({"end": why_not}).encode() + b"\n")

    def _read(self, number: int) -> Iterator[Round]:
        trial = self._trials[number]
        try:
            data = trial.line.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(trial.line)
            trial.over = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                trial.process.wait(_POLL_SECONDS)
            return
        *lines, trial.unread = (trial.unread + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            yield Round(number, int(message["round"]), float(message["value"]))

    def _forget(self, number: int) -> None:
        """Close what holds a trial: it is killed if it still runs."""
        trial = self._trials.pop(number)
        if not trial.over:
            self._selector.unregister(trial.line)
        trial.line.close()
        if trial.process.stdin is not None:
            trial.process.stdin.close()
        trial.process.wait()


def most_trials(cores_per_child: int, memory_mb: int, asked: int | None) -> int:
    """Return how many trials may run at a time: as asked for, within this process's cores and the
    memory that is free; 1 at least.
    """
    cores = usable_cores() // cores_per_child
    return max(1, min(asked or cores, cores, int(free_memory_mb() // memory_mb)))


def how_it_ended(folder: Path, code: int) -> str:
    """Return why an unfinished trial ended, in words: the signal, or its last error message."""
    if code > 128:
        return f"ended by {signal.Signals(code - 128).name}"
    log = (folder / LOG_NAME).read_text(encoding="utf-8", errors="replace")
    messages = [
        line.removeprefix("fedpipe: ") for line in log.splitlines() if line.startswith("fedpipe: ")
    ]
    if messages:
        return messages[-1]
    return program_error(log) or f"exit code {code}"
