"""One worker: how it starts, what it holds, and who can reach it."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedpipe.engine.local import worker as worker_module
from fedpipe.engine.local.worker import Isolation, Worker
from fedpipe.errors import WorkerError

START_SECONDS = 60.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Isolation], Worker]]:
    started: list[Worker] = []

    def make(isolation: Isolation) -> Worker:
        started.append(Worker(isolation, tmp_path / "worker.log"))
        started[-1].wait_ready(START_SECONDS)
        return started[-1]

    yield make
    for one in started:
        one.close()


def namespaces_allowed() -> bool:
    return (
        subprocess.run(["unshare", "-Urn", "true"], capture_output=True, check=False).returncode
        == 0
    )


needs_namespaces = pytest.mark.skipif(
    not shutil.which("unshare") or not namespaces_allowed(),
    reason="this kernel allows no user namespaces",
)


def run_without_network_namespaces(
    isolation: str, directory: Path
) -> subprocess.CompletedProcess[str]:
    """Start a worker where the kernel gives out no network namespace (a limit of the user namespace that it runs in)."""
    code = (
        "import sys, logging, pathlib; from fedpipe.engine.local.worker import Worker; logging.basicConfig(format='%(name)s %(message)s')\n"
        "for _ in range(2):\n"
        "    worker = Worker(sys.argv[1], pathlib.Path(sys.argv[2])); worker.wait_ready(60)\n"
        "    print(worker.isolated, worker.target); worker.close()\n"
    )
    command = f'echo 0 > /proc/sys/user/max_net_namespaces && exec {sys.executable} -c "$1" {isolation} {directory}/worker.log'
    return subprocess.run(
        ["unshare", "-Ur", "sh", "-c", command, "sh", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@needs_namespaces
def test_an_isolated_worker_cannot_be_reached_by_its_port(
    start: Callable[[Isolation], Worker],
) -> None:
    isolated = start("required")
    assert isolated.isolated
    assert os.readlink(f"/proc/{isolated.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    command = Path(f"/proc/{isolated.pid}/cmdline").read_text().split("\0")
    port = next(int(part.removeprefix("--port=")) for part in command if part.startswith("--port="))
    for address in ("127.0.0.1", socket.gethostbyname(socket.gethostname())):
        with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
            probe.connect((address, port))


def test_an_open_worker_is_reached_by_its_port(start: Callable[[Isolation], Worker]) -> None:
    opened = start("off")
    host, port = opened.target.split(":")
    with socket.socket() as probe:
        probe.connect((host, int(port)))
    assert not opened.isolated


def test_two_open_workers_never_share_a_port(start: Callable[[Isolation], Worker]) -> None:
    assert start("off").target != start("off").target


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("directory_open", [False, True])
def test_another_user_cannot_use_the_socket(
    start: Callable[[Isolation], Worker], directory_open: bool
) -> None:
    path = Path(start("required").target.removeprefix("unix:"))
    if directory_open:  # the second line of defence alone
        path.parent.chmod(0o755)
        path.chmod(0o666)
    code = (
        f"import os, socket; os.setuid(65534); s = socket.socket(socket.AF_UNIX)\n"
        f"try: s.connect({str(path)!r}); print('answer', s.recv(1))\n"
        f"except OSError as error: print(type(error).__name__)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.stdout.strip() in (
        {"answer b''", "ConnectionResetError"} if directory_open else {"PermissionError"}
    ), answer.stderr


@needs_namespaces
def test_required_isolation_that_cannot_be_had_is_an_error(tmp_path: Path) -> None:
    done = run_without_network_namespaces("required", tmp_path)
    assert done.returncode != 0
    assert (
        "runtime.isolation=required: the kernel refuses a network namespace for the TFF worker"
        in done.stderr
    )


@needs_namespaces
def test_auto_falls_back_with_one_warning(tmp_path: Path) -> None:
    done = run_without_network_namespaces("auto", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["False", "False"]
    assert done.stderr.count("fedpipe.engine the TFF worker is not isolated") == 1


def test_off_says_nothing(
    start: Callable[[Isolation], Worker], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "fedpipe.engine"):
        start("off")
    assert caplog.text == ""


def descriptors(pid: int) -> list[str]:
    """Return what a process has open; it may close some meanwhile."""
    held = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.append(os.readlink(entry))
    assert held
    return held


def test_the_worker_holds_nothing_of_the_runs(
    start: Callable[[Isolation], Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-secret")
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    try:
        started = start("auto")
        for pid in (started.pid, started.supervisor_pid):
            assert b"planted-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
            assert os.readlink(f"/proc/self/fd/{write_end}") not in descriptors(pid)
        outputs = {os.readlink(f"/proc/{started.pid}/fd/{number}") for number in (1, 2)}
        assert outputs == {str(tmp_path / "worker.log")}
        assert os.readlink(f"/proc/{started.pid}/fd/0") == "/dev/null"
        assert os.getsid(started.pid) != os.getsid(0)
    finally:
        os.close(read_end)
        os.close(write_end)


def script(directory: Path, text: str) -> Path:
    path = directory / "binary"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("echo planted reason; exit 3", "with exit code 3"),
        ("kill -ILL $$", "by SIGILL"),
        ("exit 0", "with exit code 0"),
    ],
)
def test_a_worker_that_ends_at_its_start_is_an_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, ending: str
) -> None:
    binary = script(tmp_path, text)
    monkeypatch.setattr(worker_module, "find_binary", lambda: binary)
    started = Worker("auto", tmp_path / "worker.log")
    with pytest.raises(
        WorkerError,
        match=rf"the TFF worker ended {ending} before it answered; see .*worker\.log",
    ):
        started.wait_ready(START_SECONDS)
    started.close()
    assert ("planted reason" in (tmp_path / "worker.log").read_text()) is ("planted" in text)


def test_a_binary_that_is_not_there_is_named_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "find_binary", lambda: tmp_path / "missing")
    started = Worker("auto", tmp_path / "worker.log")
    with pytest.raises(WorkerError, match="ended with exit code 127"):
        started.wait_ready(START_SECONDS)
    started.close()
    assert f"{tmp_path}/missing: No such file or directory" in (tmp_path / "worker.log").read_text()


def test_a_worker_that_never_answers_is_an_error_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: Callable[[int], bool]
) -> None:
    binary = script(tmp_path, "exec sleep 60")
    monkeypatch.setattr(worker_module, "find_binary", lambda: binary)
    started = Worker("auto", tmp_path / "worker.log")
    with pytest.raises(
        WorkerError,
        match=r"the TFF worker did not answer within runtime\.start_timeout_seconds=0\.5",
    ):
        started.wait_ready(0.5)
    assert not running(started.pid)


def test_close_removes_the_socket_and_may_be_called_twice(
    start: Callable[[Isolation], Worker], running: Callable[[int], bool]
) -> None:
    started = start("auto")
    started.close()
    started.close()
    assert not running(started.pid)
    assert not running(started.supervisor_pid)
    if started.isolated:
        assert not Path(started.target.removeprefix("unix:")).parent.exists()


@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGKILL, "by SIGKILL"), (signal.SIGSEGV, "by SIGSEGV")]
)
def test_a_lost_worker_says_how_it_ended(
    start: Callable[[Isolation], Worker], wait_until: Callable[..., None], number: int, ending: str
) -> None:
    started = start("auto")
    os.kill(started.pid, number)
    wait_until(lambda: not started.alive(), "the supervisor did not notice")
    assert started.how_it_ended() == ending
