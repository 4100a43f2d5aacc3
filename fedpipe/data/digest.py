"""SHA-256 of files, and DVC's md5 of files and folders, computed without DVC, whose import costs a
second.
"""

import hashlib
import json
import os
from fnmatch import fnmatchcase
from pathlib import Path

from fedpipe.errors import DataError

IGNORED = ("__pycache__", "*.pyc")
"""Names that are left out, as the project's `.dvcignore` says to DVC; no other pattern is known
here.
"""


def dvc_md5(path: Path) -> str:
    """Return the md5 (hex) that DVC 3 records for a file, or for a folder, `<md5>.dir`.

    A folder's md5 is that of the JSON list of its files' md5 and relative paths, sorted by path;
    empty folders do not count.

    Raises:
        DataError: nothing is there, or it cannot be read.
    """
    try:
        if not path.is_dir():
            return _file_md5(path)
        entries = [
            {"md5": _file_md5(file), "relpath": file.relative_to(path).as_posix()}
            for file in _files(path)
        ]
    except OSError as err:
        raise DataError(
            f"{path}: expected a file or folder to compute its md5, found {err}."
        ) from err
    entries.sort(key=lambda entry: entry["relpath"])
    return (
        hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
        + ".dir"
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _files(folder: Path) -> list[Path]:
    paths = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _ignored(name)]
        paths += [Path(parent) / name for name in names if not _ignored(name)]
    return paths


def _ignored(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in IGNORED)
