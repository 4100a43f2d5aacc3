"""A program that another process holds: its exit code and output pass, and it ends with its holder, children and all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedpipe.system.child_process import kept_command, run_kept

HOLD = """
import os, sys
from pathlib import Path
from fedpipe.system.child_process import run_kept
run_kept(["sh", "-c", "sleep 60 & echo $! > child; echo $$ > program; wait"], Path(sys.argv[1]), dict(os.environ), 60)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait(condition: object, what: str) -> None:
    limit = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit, what
        time.sleep(0.01)


def test_exit_code_and_output_pass(tmp_path: Path) -> None:
    done = run_kept(
        ["sh", "-c", "pwd; echo $WORD; echo told >&2; exit 3"],
        tmp_path,
        {"WORD": "here", "PATH": os.environ["PATH"]},
        30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{tmp_path}\nhere\n", "told\n")
    assert (
        run_kept(["sh", "-c", "kill -TERM $$"], tmp_path, os.environ, 30).returncode
        == 128 + signal.SIGTERM
    )
    missing = run_kept(["no-such-program"], tmp_path, os.environ, 30)
    assert (missing.returncode, missing.stderr) == (
        127,
        "no-such-program: No such file or directory\n",
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_the_holder(tmp_path: Path, number: int) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait(
        lambda: (tmp_path / "program").exists() and (tmp_path / "program").read_text(),
        "the program did not start",
    )
    pids = [int((tmp_path / name).read_text()) for name in ("program", "child")]
    assert not any(map(gone, pids))
    holder.send_signal(number)
    holder.wait(20)
    wait(lambda: all(map(gone, pids)), "something outlived its holder")


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_kept(["sh", "-c", "echo $$ > program; sleep 60"], tmp_path, os.environ, 0.5)
    wait(lambda: gone(int((tmp_path / "program").read_text())), "it outlived its time")


def test_sigterm_goes_on_to_the_program_which_ends_in_its_own_way(tmp_path: Path) -> None:
    command = kept_command(
        ["sh", "-c", "trap 'exit 7' TERM; echo > ready; while :; do sleep 0.05; done"]
    )
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE)
    wait((tmp_path / "ready").exists, "the program did not start")
    process.terminate()
    assert process.wait(20) == 7
