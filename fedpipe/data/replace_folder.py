"""Replaces a folder in one step: readers, also after a kill, find the old contents or the new."""

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedpipe.system.atomic_files import sync
from fedpipe.system.locks import file_lock

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `out` when the block ends, and vanishes if the block
    raises.

    The new folder lies beside `out`, is written through to the disk and then exchanged with it in
    one step (`renameat2(RENAME_EXCHANGE)`). Writers of folders in the same place wait for each
    other; what a killed one left behind is removed by the next. Where the file system cannot
    exchange, the old folder is moved away first, and a kill just then leaves it under the name
    `.NAME.old`, with no `out`.

    Raises:
        OSError: something cannot be made, written or renamed.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    new = out.with_name(f".{out.name}.new")
    old = out.with_name(f".{out.name}.old")
    parent = os.open(out.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with _one_writer(parent, out):
            _remove(new, old)
            new.mkdir()
            try:
                yield new
                for path in (*sorted(new.iterdir()), new):
                    sync(path)
                _swap(new, out, old)
                os.fsync(parent)
            finally:
                _remove(new, old)
    finally:
        os.close(parent)


@contextmanager
def _one_writer(parent: int, out: Path) -> Iterator[None]:
    """Hold the lock on the folder `parent`, an open descriptor; where its file system locks no
    folders, one on a file beside `out`.
    """
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
    except OSError:
        with file_lock(out.with_name(f".{out.name}.lock")):
            yield
        return
    yield


def _swap(new: Path, out: Path, old: Path) -> None:
    if not out.exists():
        new.rename(out)
    elif not _exchange(new, out):
        out.rename(old)
        try:
            new.rename(out)
        except BaseException:
            old.rename(out)
            raise


def _exchange(path: Path, other_path: Path) -> bool:
    """Return whether the kernel and the file system exchanged the two names."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    names = (_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(other_path))
    return renameat2 is not None and renameat2(*names, _RENAME_EXCHANGE) == 0


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
