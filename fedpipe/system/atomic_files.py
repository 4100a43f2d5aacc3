"""Writes files whole or not at all: synced to the disk before they get their name."""

import os
import tempfile
from pathlib import Path

from fedpipe.errors import ConfigError
from fedpipe.system.new_files import new_file


def require_place(path: Path, what: str) -> None:
    """Refuse, before any work is done for it, a file that could not be written; its folder is made
    where there is none.

    Args:
        path: of the file.
        what: what it is, for the error.

    Raises:
        ConfigError: it is a folder, or its folder cannot be made or written.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: expected a file for {what}, found a folder. Name a file in it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as err:
        raise ConfigError(
            f"{path}: {what} cannot be written there: {err.strerror or err}. Name another file."
        ) from err


def write_atomic(path: Path, text: str) -> None:
    """Write `text` to `path` as `write_bytes_atomic` does; its folder is made where there is none.

    Raises:
        OSError: it cannot be written; `filename` is always set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, text.encode())


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a temporary file in the same folder, synced and then
    renamed.

    Raises:
        OSError: it cannot be written; `filename` is always set.
    """
    handle, temporary = new_file(path.parent, f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException as err:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(err, OSError) and err.filename is None:  # a full disk says no name
            err.filename = str(path)
        raise


def publish(temporary: Path, target: Path) -> None:
    """Rename a finished file or folder to `target`, after its contents and before its new name are
    synced to the disk.

    Args:
        temporary: on the same file system as `target`.
        target: a new name, or that of a file or empty folder to replace.

    Raises:
        OSError: it cannot be synced or renamed.
    """
    for path in [*sorted(temporary.rglob("*")), temporary]:
        sync(path)
    temporary.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to the disk.

    Raises:
        OSError: it cannot be opened or synced.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
