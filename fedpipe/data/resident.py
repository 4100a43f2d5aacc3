"""Resident data: clients' examples as files that a TFF worker reads by itself, in one piece.

DVC's packed shards are what is tracked; these files are a cache derived from them, made for the
clients that a run samples, when it first needs them. Without it each round would send every
client's examples through Python and gRPC: at 200 clients that is most of the round.

A file is x, then y, then a check: `x.tobytes()` (uint8 stays uint8: a quarter of float32), `y` as
int32, or as float32 targets, little-endian, and the SHA-256 of both. It is found by content:
`ROOT/<key of the shards>/<SHA-256 of the client id>`, so other data are other files, two runs share
what is equal, and a client id never becomes a path. Its mtime is when it was last used.

Two processes may make the same file at once: each writes its own temporary file and renames it;
what a kill or a power cut leaves behind fails the check and is made again.
"""

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fedpipe.data.manifest import Manifest
from fedpipe.data.population import Population
from fedpipe.errors import DataError, EnvironmentProblem
from fedpipe.system.atomic_files import write_atomic
from fedpipe.types import Examples

_LAYOUT = "fedpipe-resident-1"
_CHECK_BYTES = hashlib.sha256().digest_size
_TOUCH_SECONDS = 60.0
_TEMPORARY = ".making-"
_ABANDONED_SECONDS = 3600.0
"""Age at which a temporary file is one that a killed process left, not one that another process is
writing.
"""
_STARTED = time.time()
_OWN_NAME = re.compile(rf"[0-9a-f]{{64}}|{re.escape(_TEMPORARY)}.+")


class ClientExamples(Protocol):
    """Population as the cache needs it."""

    def examples(self, client_id: str) -> Examples:
        """Return the client's training examples."""

    def num_examples(self, client_id: str) -> int:
        """Return the number of the client's training examples, without reading them."""


@dataclass(frozen=True)
class ResidentClient:
    """One client's file.

    Attributes:
        path: absolute path.
        count: number of examples in it.
        size_bytes: size of the whole file.
    """

    path: str
    count: int
    size_bytes: int

    @property
    def name(self) -> str:
        """Return the path below the folder of all resident files, which is the same on every
        machine that has the data.
        """
        return "/".join(self.path.rsplit("/", 2)[-2:])

    def exists(self) -> bool:
        """Return whether the file is still there."""
        return os.path.exists(self.path)

    def read_bytes(self) -> bytes:
        """Return the whole file."""
        return Path(self.path).read_bytes()

    def address(self, here: bool) -> bytes:
        """Return where a worker finds the file: its path on this machine (`here`), its `name` below
        the folder of resident files on another.
        """
        return os.fsencode(self.path if here else self.name)


@dataclass(frozen=True)
class CacheUsage:
    """What a cache folder holds."""

    files: int
    size_bytes: int


class ResidentCache:
    """The resident files of one population."""

    def __init__(
        self,
        root: Path,
        population: ClientExamples,
        shard_sha256s: Iterable[str],
        max_bytes: int,
        keep_seconds: float = 3600.0,
    ) -> None:
        """Name the cache; nothing is read or written yet.

        Args:
            root: folder of all resident files, of any data.
            population: where the examples come from.
            shard_sha256s: the SHA-256 of each shard that they come from, in any order.
            max_bytes: size that `root` is brought back to when new files were made, the least
                recently used going first.
            keep_seconds: a file used within this time is never removed, in whichever run, even
                above `max_bytes`: a round that was handed a path must find it. Longer than any
                round.
        """
        self._root = root
        self._folder = root.resolve() / _key(shard_sha256s)
        self._population = population
        self._max_bytes = max_bytes
        self._keep_seconds = keep_seconds
        self._verified: dict[str, ResidentClient] = {}
        self._root_bytes: int | None = None
        self._limit_lock = threading.Lock()
        self._background: ThreadPoolExecutor | None = None
        self._expected: Future[list[ResidentClient]] | None = None

    @classmethod
    def of(cls, population: Population, root: Path, max_bytes: int) -> "ResidentCache":
        """Return the cache of a population's training examples, keyed by the content of its shards;
        files go below `root`.
        """
        return cls(root, population, _train_sha256s(population.manifest), max_bytes)

    def prefetch(self, client_ids: Sequence[str]) -> None:
        """Start making missing files in a background thread, while a round computes.

        An error there is not lost: the round that needs the files tries again and raises it.
        This call looks which files are missing, as the thread would hold the interpreter for
        milliseconds when the round's results arrive.
        """
        missing = [
            client_id
            for client_id in client_ids
            if client_id not in self._verified and not os.path.exists(self._path(client_id))
        ]
        if not missing:
            return
        if self._background is None:
            self._background = ThreadPoolExecutor(1, thread_name_prefix="fedpipe-prefetch")
        self._expected = self._background.submit(self._ensure, missing)

    def clients(self, client_ids: Sequence[str]) -> list[ResidentClient]:
        """Return the clients' files, in their order; those that are missing or damaged are made.

        A file's check is computed once per process, its size is looked at each time. Of a file that
        is younger than this process's use of resident files the check is not computed: who made or
        used it since has done so, and what a power cut spoils is older.

        Raises:
            DataError: the population does not have the client, or its examples are not uint8, int32
                or float32 with int32 labels.
            EnvironmentProblem: the files cannot be written.
        """
        expected = self._expected
        self._expected = None
        if expected is not None:
            wait(
                [expected]
            )  # what it made is found below; what it could not make is tried again there
        return self._ensure(client_ids)

    def _ensure(self, client_ids: Sequence[str]) -> list[ResidentClient]:
        try:
            usable = [self._usable(client_id) for client_id in client_ids]
            made = [
                client or self._make(client_id)
                for client_id, client in zip(client_ids, usable, strict=True)
            ]
            self._hold_limit(
                made,
                sum(new.size_bytes for new, old in zip(made, usable, strict=True) if old is None),
            )
        except OSError as err:
            raise EnvironmentProblem(
                f"resident data: expected to write below {self._root}, found {err}. Free space, "
                "or choose another cache folder."
            ) from err
        return made

    def _hold_limit(self, needed: Sequence[ResidentClient], new_bytes: int) -> None:
        """Evict if what this process measured at first and has added since is above the limit."""
        if not new_bytes:
            return
        with self._limit_lock:
            if self._root_bytes is not None:
                self._root_bytes += new_bytes
            if self._root_bytes is None or self._root_bytes > self._max_bytes:
                spared = {client.path for client in needed}
                self._root_bytes = _evict(
                    self._root.resolve(), self._max_bytes, self._keep_seconds, spared
                )

    def _path(self, client_id: str) -> str:
        return f"{self._folder}/{hashlib.sha256(client_id.encode()).hexdigest()}"

    def _usable(self, client_id: str) -> ResidentClient | None:
        """Return the client's file if it can be used as it is."""
        client = self._verified.get(client_id)
        path = client.path if client else self._path(client_id)
        try:
            status = os.stat(path)
            if client is None and status.st_mtime > _STARTED:
                client = ResidentClient(
                    path, self._population.num_examples(client_id), status.st_size
                )
            elif client is None:
                client = self._verify(client_id, Path(path))
            if client is None or status.st_size != client.size_bytes:
                return None
            if time.time() - status.st_mtime > _TOUCH_SECONDS:
                os.utime(path)
        except OSError:  # missing, or not to be read: it is made anew
            return None
        self._verified[client_id] = client
        return client

    def _verify(self, client_id: str, path: Path) -> ResidentClient | None:
        body = path.read_bytes()
        if hashlib.sha256(memoryview(body)[:-_CHECK_BYTES]).digest() != body[-_CHECK_BYTES:]:
            return None
        return ResidentClient(str(path), self._population.num_examples(client_id), len(body))

    def _make(self, client_id: str) -> ResidentClient:
        examples = self._population.examples(client_id)
        body = to_bytes(examples, client_id)
        path = self._path(client_id)
        write_atomic(Path(path), body, prefix=_TEMPORARY, sync_file=False)
        client = ResidentClient(path, len(examples), len(body))
        self._verified[client_id] = client
        return client


def cache_key(manifest: Manifest) -> str:
    """Return the name of the folder that holds the resident files of these shards' clients."""
    return _key(_train_sha256s(manifest))


def _train_sha256s(manifest: Manifest) -> list[str]:
    return [file.sha256 for file in manifest.files if file.split == "train"]


def _key(shard_sha256s: Iterable[str]) -> str:
    return hashlib.sha256("\n".join([_LAYOUT, *sorted(shard_sha256s)]).encode()).hexdigest()


def to_bytes(examples: Examples, client_id: str) -> bytes:
    """Return x, y and their SHA-256 as one string of bytes. Raises DataError if the dtypes or
    lengths do not fit.
    """
    x = examples.x
    y = examples.y
    is_known = (y.dtype.name, y.ndim) in (("int32", 1), ("float32", 2))
    if x.dtype not in (np.uint8, np.int32, np.float32) or not is_known or len(x) != len(y):
        raise DataError(
            f"client {client_id}: expected uint8, int32 or float32 features and as many int32 "
            f"labels or rows of float32 targets, found {x.dtype} of {len(x)} and {y.dtype} of "
            f"{list(y.shape)}. Prepare the data again."
        )
    body = np.ascontiguousarray(x).tobytes() + np.ascontiguousarray(y).tobytes()
    return body + hashlib.sha256(body).digest()


def usage(root: Path) -> CacheUsage:
    """Return how many files the cache folder holds and their size; a folder that does not exist is
    empty.
    """
    sizes = [status.st_size for _, status in _files(root)]
    return CacheUsage(len(sizes), sum(sizes))


def clear(root: Path) -> CacheUsage:
    """Remove all resident files and return what there was.

    A run that is still active makes its files again in its next round; a round that was just
    handed them fails.
    """
    files = _files(root)
    for path, status in files:
        if not _in_making(path, status):
            path.unlink(missing_ok=True)
    return CacheUsage(len(files), sum(status.st_size for _, status in files))


def _files(root: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files that a cache made below `root`, no others."""
    files = []
    for path in root.glob("*/*"):
        if _OWN_NAME.fullmatch(path.name) and _OWN_NAME.fullmatch(path.parent.name):
            try:
                files.append((path, path.stat()))
            except FileNotFoundError:  # another process removed or renamed it meanwhile
                continue
    return files


def _evict(root: Path, max_bytes: int, keep_seconds: float, spared: Set[str]) -> int:
    """Remove the least recently used files above the limit, and what a killed process left; return
    the size that remains.
    """
    files = sorted(_files(root), key=lambda item: item[1].st_mtime)
    total = sum(status.st_size for _, status in files)
    now = time.time()
    for path, status in files:
        surplus = total > max_bytes or path.name.startswith(_TEMPORARY)
        unused = (
            now - status.st_mtime >= keep_seconds
            and str(path) not in spared
            and not _in_making(path, status)
        )
        if surplus and unused:
            path.unlink(missing_ok=True)
            total -= status.st_size
    return total


def _in_making(path: Path, status: os.stat_result) -> bool:
    return path.name.startswith(_TEMPORARY) and time.time() - status.st_mtime < _ABANDONED_SECONDS
