"""The artifacts of one store in another place, each read back and compared: what is there already
must be the same bytes.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from fedpipe.errors import TrackingError

_AT_A_TIME = 8
"""Files that are sent and read back at the same time: each waits for the network most of its
time.
"""


@dataclass(frozen=True)
class Sent:
    """Files of a copy: how many there are, their bytes, and how many of them this call wrote."""

    files: int
    size_bytes: int
    written: int


def copy_folders(folders: dict[str, str], root: str, say: Callable[[str], None]) -> Sent:
    """Copy each folder, by its address, to its path under `root`, and read all of it back.

    Raises:
        TrackingError: a file is there with other bytes, or what was written is not what is read.
    """
    files = size = written = 0
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for number, (uri, path) in enumerate(sorted(folders.items()), 1):
            with _on_this_machine(uri) as folder:
                found = (
                    [file for file in sorted(folder.rglob("*")) if file.is_file()]
                    if folder.is_dir()
                    else []
                )
                if found:
                    there = _Folder(f"{root}/{path}")
                    done = list(
                        pool.map(
                            lambda file, there=there, folder=folder: there.take(file, folder), found
                        )
                    )
                    written += sum(done)
                    files = files + len(found)
                    size = size + sum(file.stat().st_size for file in found)
            if number % 100 == 0 or number == len(folders):
                say(
                    f"{number} of {len(folders)} folders of artifacts: {files} files, "
                    f"{size / 2**20:.1f} MiB, read back and the same"
                )
    return Sent(files, size, written)


class _Folder:
    """A folder of artifacts in the copy."""

    def __init__(self, uri: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self._uri = uri
        self._repository: Any = get_artifact_repository(uri)
        self._there = set(_walk(self._repository))

    def take(self, file: Path, folder: Path) -> bool:
        """Have a file of `folder`, checked byte by byte; return whether it had to be written."""
        name = file.relative_to(folder).as_posix()
        new = name not in self._there
        if new:
            self._repository.log_artifact(str(file), name.rpartition("/")[0] or None)
        with TemporaryDirectory(prefix="fedpipe-copy-") as scratch:
            read = Path(self._repository.download_artifacts(name, dst_path=scratch))
            here = _sha256(file)
            other = _sha256(read)
        if here != other:
            what = "to read back what was written" if new else "nothing there, or the same file"
            raise TrackingError(
                f"{self._uri}/{name}: expected {what}, sha256 {here[:12]} of {file}, found "
                f"{other[:12]}. Nothing was overwritten; name another place, or remove what is "
                "there."
            )
        return new


@contextmanager
def _on_this_machine(uri: str) -> Iterator[Path]:
    """Give the folder of an address: itself where it is a local one, else what is fetched from
    there for the time of the block.
    """
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
    for one in repository.list_artifacts(folder):
        if one.is_dir:
            yield from _walk(repository, one.path)
        else:
            yield str(one.path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
