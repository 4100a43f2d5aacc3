"""Writes small files whole or not at all."""

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
    """Write `text` to `path` through a temporary file in the same folder, made durable and then
    renamed.

    Raises:
        OSError: it cannot be written; `filename` is always set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = new_file(path.parent, f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException as err:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(err, OSError) and err.filename is None:  # a full disk says no name
            err.filename = str(path)
        raise
