"""Locks between processes, with the kernel's locks and without."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import Timeout

from fedpipe.data.replace_folder import replaced_folder
from fedpipe.system import locks
from fedpipe.system.locks import can_lock, file_lock, lock_help, lock_if_free

MISSING = [errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK, errno.EBADF]
HOLDER = """
import sys
from pathlib import Path
from fedpipe.system import locks
locks.can_lock = lambda folder: False
with locks.file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    can_lock.cache_clear()
    yield
    can_lock.cache_clear()


@pytest.fixture(params=MISSING, ids=[errno.errorcode[number] for number in MISSING])
def no_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", fail)


def test_the_kernel_holds_locks_here(tmp_path: Path) -> None:
    assert can_lock(tmp_path)
    assert lock_help(tmp_path / "lock") == ""
    with file_lock(tmp_path / "lock"), pytest.raises(Timeout), file_lock(tmp_path / "lock", 0):
        pass
    with file_lock(tmp_path / "lock", 0):
        pass
    assert os.listdir(tmp_path) == ["lock"], "the probe leaves nothing"


@pytest.mark.usefixtures("no_flock")
def test_a_lock_excludes_without_flock(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()  # left by a process that had flock
    assert not can_lock(tmp_path)
    with file_lock(tmp_path / "lock"):
        with pytest.raises(Timeout), file_lock(tmp_path / "lock", 0):
            pass
        assert str(tmp_path / "lock.owner") in lock_help(tmp_path / "lock")
    with file_lock(tmp_path / "lock", 0):
        pass
    assert os.listdir(tmp_path) == ["lock"]


@pytest.mark.usefixtures("no_flock")
def test_a_folder_is_replaced_without_flock(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replaced_folder(tmp_path / "out") as new:
            (new / "a").write_text(text)
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_the_lock_of_a_killed_process_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "can_lock", lambda _: False)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(Timeout), file_lock(tmp_path / "lock", 0):
        pass
    holder.kill()
    holder.wait()
    with file_lock(tmp_path / "lock", 1):
        pass


def test_a_wait_for_another_machine_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "can_lock", lambda _: False)
    monkeypatch.setattr(locks, "_PATIENCE_SECONDS", 0.1)
    marker = tmp_path / "lock.owner"
    marker.write_text("4711\nelsewhere\n")
    monkeypatch.setattr(
        locks.logger,
        "warning",
        lambda text, *parts: (marker.unlink(), messages.append(text % parts)),
    )
    messages: list[str] = []
    with file_lock(tmp_path / "lock"):
        pass
    assert messages == [
        f"waiting for another process (process 4711 on elsewhere). This file system has no file locks: if no process of fedpipe uses the "
        f"project, delete {marker}."
    ]


def test_a_folder_that_cannot_be_written_is_not_blamed_on_locks(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    assert can_lock(tmp_path / "a file")
    with pytest.raises(OSError, match="a file"), file_lock(tmp_path / "a file" / "lock"):
        pass


def test_a_lock_is_taken_only_if_it_is_free(tmp_path: Path) -> None:
    with lock_if_free(tmp_path / "lock") as first:
        with lock_if_free(tmp_path / "lock") as second:
            assert (first, second) == (True, False)
        with lock_if_free(tmp_path / "lock") as still_held:
            assert not still_held
    with lock_if_free(tmp_path / "lock") as again:
        assert again
