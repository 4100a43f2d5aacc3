"""However a run ends, its worker ends too."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXIT_CODES = {
    "normal": 0,
    "closed": 0,
    "exception": 1,
    "sys_exit": 3,
    "SIGINT": -signal.SIGINT,
    "SIGTERM": -signal.SIGTERM,
    "SIGHUP": -signal.SIGHUP,
    "SIGQUIT": -signal.SIGQUIT,
    "SIGKILL": -signal.SIGKILL,
    "sigkill_while_starting": -signal.SIGKILL,
    "abort": -signal.SIGABRT,
    "os_exit": 4,
    "exec": 0,
    "starting_thread_ends": 0,
    "supervisor_killed": 0,
    "supervisor_stopped": 0,
    "worker_stopped": 0,
    "forked_child_exits_first": 0,
    "forked_child_stays": 0,
    "forked_child_stays_sigkill": -signal.SIGKILL,
}


@pytest.mark.parametrize("how", EXIT_CODES)
def test_no_worker_outlives_its_run(
    how: str, tmp_path: Path, running: Callable[[int], bool], wait_until: Callable[..., None]
) -> None:
    script = Path(__file__).with_name("ending.py")
    with (tmp_path / "output").open("wb") as output:
        run = subprocess.Popen(
            [sys.executable, str(script), how, str(tmp_path)],
            stdout=output,
            stderr=output,
        )
    code = run.wait(60)
    text = (tmp_path / "output").read_text()
    assert code == EXIT_CODES[how], text
    pids = json.loads((tmp_path / "pids.json").read_text())
    try:
        for name in ("worker", "supervisor"):
            if pids[name]:
                wait_until(lambda pid=pids[name]: not running(pid), f"{name} outlived the run")
        if pids["target"].startswith("unix:") and how != "supervisor_stopped":
            socket = Path(pids["target"].removeprefix("unix:"))
            assert not socket.parent.exists() or how == "supervisor_killed"
        if how == "forked_child_stays":
            assert running(pids["forked"])  # so it was not the pipe's end that ended the worker
    finally:
        if pids["forked"]:
            os.kill(pids["forked"], signal.SIGKILL)
    if how == "sigkill_while_starting":
        assert "Traceback" not in (tmp_path / "worker.log").read_text()


def test_no_worker_outlives_a_run_that_becomes_another_program(
    tmp_path: Path, running: Callable[[int], bool], wait_until: Callable[..., None]
) -> None:
    # The process stays, so neither its parent's id nor its pidfd tells the supervisor: only the end of its stdin does.
    script = Path(__file__).with_name("ending.py")
    with (tmp_path / "output").open("wb") as output:
        run = subprocess.Popen(
            [sys.executable, str(script), "exec_stays", str(tmp_path)],
            stdout=output,
            stderr=output,
        )
    program = Path(f"/proc/{run.pid}/comm")
    try:
        wait_until(lambda: program.read_text() == "sleep\n", "the run did not become sleep")
        pids = json.loads((tmp_path / "pids.json").read_text())
        for name in ("worker", "supervisor"):
            wait_until(lambda pid=pids[name]: not running(pid), f"{name} outlived the run")
        assert run.poll() is None, "sleep ended first, so the test shows nothing"
    finally:
        run.kill()
        run.wait()
