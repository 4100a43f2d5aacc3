"""Copies the artifacts of a store to another place, and reads each back to compare it; files that
exist there already must have the same bytes.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from fedpipe.errors import TrackingError

_AT_A_TIME = 8
"""Number of files that are sent and read back at the same time, as most time is spent on the
network.
"""


@dataclass(frozen=True)
class Sent:
    """Files of a copy: their number, their bytes, and how many of them this call wrote."""

    files: int
    size_bytes: int
    written: int


def copy_folders(folders: dict[str, str], root: str, say: Callable[[str], None]) -> Sent:
    """Copy folders, and read all of them back.

    Args:
        folders: the path under `root` by the address of each folder.
        root: address of the copy.
        say: takes a line of progress.

    Raises:
        TrackingError: a file exists with other bytes, or other bytes are read than were written.
    """
    count = 0
    size = 0
    written = 0
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for number, (uri, path) in enumerate(sorted(folders.items()), 1):
            with _on_this_machine(uri) as folder:
                files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
                if files:
                    copy = _Folder(f"{root}/{path}")
                    written += sum(pool.map(partial(copy.take, folder=folder), files))
                    count += len(files)
                    size += sum(file.stat().st_size for file in files)
            if number % 100 == 0 or number == len(folders):
                say(
                    f"{number} of {len(folders)} folders of artifacts: {count} files, "
                    f"{size / 2**20:.1f} MiB, read back and the same"
                )
    return Sent(count, size, written)


class _Folder:
    """A folder of artifacts in the copy."""

    def __init__(self, uri: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self._uri = uri
        self._repository: Any = get_artifact_repository(uri)
        self._names = set(_walk(self._repository))

    def take(self, file: Path, folder: Path) -> bool:
        """Copy a file of `folder` unless it exists, and compare both; return whether it was
        written.
        """
        name = file.relative_to(folder).as_posix()
        is_new = name not in self._names
        if is_new:
            self._repository.log_artifact(str(file), name.rpartition("/")[0] or None)
        with TemporaryDirectory(prefix="fedpipe-copy-") as scratch:
            read = Path(self._repository.download_artifacts(name, dst_path=scratch))
            sha256 = _sha256(file)
            sha256_of_copy = _sha256(read)
        if sha256 != sha256_of_copy:
            expected = "to read back the bytes that were written"
            if not is_new:
                expected = "nothing there, or the same file"
            raise TrackingError(
                f"{self._uri}/{name}: expected {expected}, sha256 {sha256[:12]} of {file}, found "
                f"{sha256_of_copy[:12]}. Nothing was overwritten; name another place, or remove "
                "the file there."
            )
        return is_new


@contextmanager
def _on_this_machine(uri: str) -> Iterator[Path]:
    """Yield the folder of an address: a local one itself, else a temporary copy."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        yield Path(unquote(parts.path))
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with TemporaryDirectory(prefix="fedpipe-copy-") as scratch:
        repository: Any = get_artifact_repository(uri)
        yield (
            Path(repository.download_artifacts("", dst_path=scratch))
            if repository.list_artifacts()
            else Path(scratch)
        )


def _walk(repository: Any, folder: str | None = None) -> Iterator[str]:
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            yield from _walk(repository, entry.path)
        else:
            yield str(entry.path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
