"""Size of a folder's files."""

from contextlib import suppress
from pathlib import Path


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a run that is running replaces its files
            if not path.is_dir():
                total += path.lstat().st_size
    return total
