"""Runs a subprocess whose whole process tree dies with this process.

This file runs as a small process between the two: nothing inside a process survives its SIGKILL,
and a signal to the program alone would leave what the program has started, such as the stage that
DVC runs. It holds the program in a process group and watches a pipe whose other end this process
has open; the kernel closes that end with the process. It passes a SIGTERM on to the program.

Run as `python -I -S child_process.py COMMAND...`; it needs the standard library alone, so that it
starts in hundredths of a second.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_POLL_MS = 20


def run_kept(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout_seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Return the exit code and the output of a command, whose process tree is gone when this
    returns or raises.

    Raises:
        subprocess.TimeoutExpired: it took longer.
        OSError: it cannot be started.
    """
    ours = None
    theirs = None
    try:
        theirs, ours = os.pipe()
        process = subprocess.Popen(
            kept_command(command),
            cwd=cwd,
            env=dict(environment),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is this process's to handle
        )
        try:
            out, err = process.communicate(timeout=timeout_seconds)
        except BaseException:
            os.close(ours)
            ours = None
            process.communicate()  # the end of the pipe ends it
            raise
        return subprocess.CompletedProcess(list(command), process.returncode, out, err)
    finally:
        for end in (ours, theirs):
            if end is not None:
                os.close(end)


def kept_command(command: Sequence[str]) -> list[str]:
    """Return the command that keeps `command`, to be started with a pipe as its stdin."""
    return [sys.executable, "-I", "-S", __file__, *command]


def main(command: list[str]) -> int:
    """Run a command in a process group of its own until it ends or stdin does; return its exit
    code, 128 and more for a signal.
    """
    # Until there is someone to pass it on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = os.fork()
    if child == 0:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            os.setpgid(0, 0)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
        except OSError as err:
            os.write(2, f"{command[0]}: {err.strerror}\n".encode())
        finally:
            os._exit(127)
    with contextlib.suppress(OSError):  # the child has done it and become the program
        os.setpgid(child, child)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    while True:
        if poll.poll(_POLL_MS):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 128 + signal.SIGKILL
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            if code >= 0:
                return code
            return 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
