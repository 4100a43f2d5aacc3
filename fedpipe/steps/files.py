"""Writes small files whole or not at all."""

import os
from pathlib import Path

from fedpipe.newfile import new_file


def write_atomic(path: Path, text: str) -> None:
    """Write `text` to `path` through a temporary file in the same folder, made durable and then renamed.

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
