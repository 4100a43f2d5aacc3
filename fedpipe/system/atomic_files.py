"""Writes files whole or not at all: synced to the disk before they get their name."""

import os
import tempfile
from pathlib import Path

from fedpipe.errors import ConfigError
from fedpipe.system.new_files import new_file


def require_place(path: Path, purpose: str) -> None:
    """Refuse, before any work is done for it, a file that could not be written; its folder is made
    where there is none.

    Args:
        path: of the file.
        purpose: what the file is, for the error, such as `the report`.

    Raises:
        ConfigError: it is a folder, or its folder cannot be made or written.
    """
    if path.is_dir():
        raise ConfigError(
            f"{path}: expected a file for {purpose}, found a folder. Name a file in it."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as err:
        raise ConfigError(
            f"{path}: {purpose} cannot be written there: {err.strerror or err}. Name another file."
        ) from err


def write_atomic(
    path: Path,
    content: str | bytes,
    *,
    prefix: str = "",
    mode: int = 0o666,
    sync_file: bool = True,
    sync_folder: bool = False,
) -> None:
    """Write a file through a temporary one in the same folder, which is then renamed.

    Args:
        path: the file; its folder is made where there is none.
        content: a text is written in UTF-8.
        prefix: of the temporary file's name; `.NAME.` if empty.
        mode: permissions of the file, less the umask.
        sync_file: whether the content is on the disk before the file has its name.
        sync_folder: whether the name is on the disk on return, so that it outlives a power cut.

    Raises:
        OSError: it cannot be written; `filename` is always set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = new_file(path.parent, prefix or f".{path.name}.", mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if sync_file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as err:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(err, OSError) and err.filename is None:  # a full disk says no name
            err.filename = str(path)
        raise
    if sync_folder:
        sync(path.parent)


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
