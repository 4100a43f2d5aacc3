"""Starts and ends one TFF worker process. Imports neither TensorFlow nor TFF, so that the worker
starts while they load.

The worker is TFF's own C++ server, shipped in its wheel. What owns it is `worker_owner.py`; this is
the run's end of the line.
"""

import functools
import importlib.util
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Literal

from fedpipe.errors import EnvironmentProblem, WorkerError

Isolation = Literal["auto", "required", "off"]

logger = logging.getLogger("fedpipe.engine")

SUPERVISOR = Path(__file__).with_name("worker_owner.py")
CLOSE_SECONDS = 2.0
SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108 with the final zero
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TF_CPP_MIN_LOG_LEVEL")
"""All that a worker sees of the run's environment: names, not a prefix, because other tools keep
secrets under `TF_` too.
"""


def find_binary() -> Path:
    """Return the path of TFF's worker, without importing TFF. Raises EnvironmentProblem if TFF is
    not installed.
    """
    spec = importlib.util.find_spec("tensorflow_federated")
    if spec is None or spec.origin is None:
        raise EnvironmentProblem(
            "expected the package tensorflow-federated, found none. Install it with `uv sync`."
        )
    return Path(spec.origin).parent / "data" / "worker_binary"


def worker_environment() -> dict[str, str]:
    """Return the whole environment of a worker.

    One intra-op thread makes results independent of the machine's cores and costs nothing, as
    clients run in parallel; oneDNN makes convolutions about 1.5 times as fast. Both change the last
    bits, so a run's environment cannot change them.
    """
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        "TF_CPP_MIN_LOG_LEVEL": "1",
        **passed_on,
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "1",
    }


def socket_directory() -> str:
    """Return a new directory with mode 0700 whose path leaves room for a socket's name and is plain
    in a gRPC address.
    """
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes the name and the mode
        if len(os.fsencode(base)) <= SOCKET_PATH_BYTES - len(
            "/fedpipe-xxxxxxxx/s"
        ) and re.fullmatch(r"[\w./-]+", base, re.ASCII):
            return tempfile.mkdtemp(prefix="fedpipe-", dir=base)
    raise EnvironmentProblem(
        "expected a temporary directory with a short path, found none. Make /tmp writable."
    )


@functools.cache
def _warn_not_isolated(reason: str) -> None:
    logger.warning(
        "the TFF worker is not isolated (%s): while it runs, any process that reaches its port "
        "can use it. Set runtime.isolation to 'required' to refuse this, or to 'off' to accept it.",
        reason,
    )


def _end(process: "subprocess.Popen[bytes]", directory: str, owner: int) -> None:
    """End supervisor and worker and wait until they are gone. Does nothing in a forked child, which
    does not own them.
    """
    if os.getpid() != owner:
        return
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(CLOSE_SECONDS)
        # the supervisor itself is stopped; the kernel kills the worker after it
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    shutil.rmtree(directory, ignore_errors=True)  # there only if the supervisor could not remove it


class Worker:
    """One running TFF worker. The process starts with the object; `wait_ready` fills in the
    attributes.

    Attributes:
        target: gRPC address, `unix:PATH` or `127.0.0.1:PORT`.
        pid: process id of the TFF worker; `supervisor_pid` is its owner's.
        isolated: whether it lives in a network namespace of its own.
        log_path: file to which the worker's output is appended.
    """

    def __init__(self, isolation: Isolation, log_path: Path, directory: Path | None = None) -> None:
        """Start the worker and return at once (some milliseconds). Its log's directory is made if
        need be.

        `directory`: where it looks for files whose paths are not absolute; this process's, if not
            given.
        """
        self.log_path = log_path
        self.target = ""
        self.pid = 0
        self.isolated = False
        self._isolation = isolation
        self._started_at = time.monotonic()
        self._lines: list[str] = []
        self._unread = b""
        log_path.parent.mkdir(parents=True, exist_ok=True)
        sockets = socket_directory()
        self._socket = f"{sockets}/s"
        command = [
            sys.executable,
            "-I",
            "-S",
            str(SUPERVISOR),
            str(os.getpid()),
            isolation,
            self._socket,
            str(find_binary()),
        ]
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=directory,
                env=worker_environment(),
                start_new_session=True,  # the terminal's Ctrl-C is the run's to handle
            )
        self.supervisor_pid = self._process.pid
        self._close = weakref.finalize(self, _end, self._process, sockets, os.getpid())

    def wait_ready(self, timeout_seconds: float) -> None:
        """Return when the worker accepts connections.

        Raises:
            WorkerError: it ended, its isolation is required and not to be had, or `timeout_seconds`
                after its start are over.
        """
        deadline = self._started_at + timeout_seconds
        while "ready" not in self._lines:
            if self._read(max(0.0, deadline - time.monotonic())):
                continue
            if not self.alive():
                raise WorkerError(self._why_not_started())
            self.close()
            raise WorkerError(
                "the TFF worker did not answer within "
                f"runtime.start_timeout_seconds={timeout_seconds:g}. Raise the limit or see "
                f"{self.log_path}."
            )

    def alive(self) -> bool:
        """Return whether the worker still runs."""
        return self._process.poll() is None

    def memory_mb(self) -> float:
        """Return the worker's resident memory in MB (10**6 bytes); 0 if it is not started or
        gone.
        """
        if not self.pid:
            return 0.0
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return 0.0
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    def how_it_ended(self) -> str:
        """Return how a worker that is no longer alive ended, for an error message."""
        while self._read(0.0):
            pass
        ended = [line.split()[1] for line in self._lines if line.startswith("ended ")]
        if not ended:
            return "with its supervisor"
        code = int(ended[0])
        if code >= 0:
            return f"with exit code {code}"
        return f"by {signal.Signals(-code).name}"

    def begin_close(self) -> None:
        """Tell the worker to end, without waiting for it."""
        if self._close.alive and self._process.poll() is None:
            self._process.terminate()

    def close(self) -> None:
        """End the worker and its supervisor; returns when they are gone. A second call does
        nothing.
        """
        self._close()

    def _read(self, timeout_seconds: float) -> bool:
        """Take what the supervisor reports within the time; return False on a timeout or at the end
        of its reports.
        """
        reports = self._process.stdout
        if reports is None or reports.closed:
            return False
        poll = select.poll()
        poll.register(reports, select.POLLIN)
        if not poll.poll(timeout_seconds * 1000):
            return False
        try:
            data = reports.read(4096)
        except ValueError:  # closed by another thread in between
            return False
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._take(line.decode())
        if not data:
            self._process.wait()  # its output is at its end because it is ending
        return bool(data)

    def _take(self, line: str) -> None:
        self._lines.append(line)
        match line.split(maxsplit=4):
            case ["started", pid, "isolated"]:
                self.pid = int(pid)
                self.isolated = True
                self.target = f"unix:{self._socket}"
            case ["started", pid, "open", port, *_]:
                self.pid = int(pid)
                self.target = f"127.0.0.1:{port}"
                if self._isolation == "auto":
                    _warn_not_isolated(line.split(maxsplit=4)[4])
            case _:
                pass

    def _why_not_started(self) -> str:
        for line in self._lines:
            if line.startswith("refused "):
                return (
                    "runtime.isolation=required: the kernel refuses a network namespace for the "
                    f"TFF worker ({line.removeprefix('refused ')}). Allow user namespaces or set "
                    "runtime.isolation to 'auto'."
                )
        return (
            f"the TFF worker ended {self.how_it_ended()} before it answered; see {self.log_path}."
        )
