"""Locks between processes, on file systems with and without `flock`.

With it the kernel holds the lock, and drops it with the process. Some network and FUSE file systems
have none: there a file beside the lock names its owner (process, machine, start time); a process
that finds the owner gone takes the lock over.
"""

import errno
import fcntl
import functools
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from fedpipe.errors import ConfigError

_HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN)
_PATIENCE_SECONDS = 10.0

logger = logging.getLogger("fedpipe.system.locks")


@functools.cache
def can_lock(folder: Path) -> bool:
    """Return whether the file system of `folder` has `flock`; tried once per process. True too
    where the folder cannot be written.
    """
    try:
        with tempfile.TemporaryFile(prefix=".fedpipe-lock-", dir=folder) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as err:
                return err.errno in _HELD_BY_ANOTHER
    except OSError:
        return True
    return True


@contextmanager
def file_lock(path: Path, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold the lock `path` during the block; its folder is made if need be.

    Args:
        path: the lock's file; what it holds is of no meaning, and it stays.
        timeout_seconds: how long to wait for another owner; None waits as long as it takes.

    Raises:
        filelock.Timeout: another process holds it for longer.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if can_lock(path.parent):
        with FileLock(path, timeout=-1 if timeout_seconds is None else timeout_seconds):
            yield
        return
    marker = _marker_of(path)
    lock = SoftFileLock(marker, timeout=-1)
    if timeout_seconds is None:
        try:
            lock.acquire(timeout=_PATIENCE_SECONDS)
        except Timeout:
            logger.warning("waiting for another process (%s). %s", _owner(marker), lock_help(path))
            lock.acquire()
    else:
        lock.acquire(timeout=timeout_seconds)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock `path` during the block and give True, or give False where another process
    holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, 0))
        except Timeout:
            yield False
            return
        yield True


def lock_help(path: Path) -> str:
    """Return what to do about a lock whose owner may be gone without this machine seeing it; empty
    where the kernel holds locks.
    """
    if can_lock(path.parent):
        return ""
    return (
        "This file system has no file locks: if no process of fedpipe uses the project, delete "
        f"{_marker_of(path)}."
    )


def _marker_of(path: Path) -> Path:
    """Return the name of the owner's file: another one than that of the kernel's lock, which stays
    behind when it is dropped.
    """
    return path.with_name(f"{path.name}.owner")


def _owner(marker: Path) -> str:
    try:
        lines = marker.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return "owner unknown"
    if len(lines) > 1:
        return f"process {lines[0]} on {lines[1]}"
    return "owner unknown"


@contextmanager
def held(lock: Path, name: str, otherwise: str = "") -> Iterator[None]:
    """Hold a lock while the block runs; it may be held elsewhere for a moment by who asks about it.

    Args:
        lock: its file.
        name: whose it is, such as `run a`, for the error.
        otherwise: what can be done beside waiting.

    Raises:
        ConfigError: another process holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(lock, 1))
        except Timeout as err:
            wait = ", ".join(filter(None, ("Wait for it to finish", otherwise)))
            raise ConfigError(
                f"{name}: it is still running. {wait}. {lock_help(lock)}".rstrip()
            ) from err
        yield
