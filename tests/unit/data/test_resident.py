"""The cache of resident files: what is in them, and that it holds under damage, races and its limit."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedpipe.data.resident import ResidentCache, clear, usage
from fedpipe.errors import DataError, EnvironmentProblem
from fedpipe.types import Examples

IDS = ("a", "ü/../c", "x" * 300, "\n")
FILE_BYTES = 3 * 4 + 3 * 4 + 32
"""Three examples of four bytes, three labels of four bytes, a SHA-256."""


class Clients:
    """Three examples of four uint8 features for every id; counts how often they are read."""

    def __init__(self) -> None:
        self.reads = 0

    def examples(self, client_id: str) -> Examples:
        self.reads += 1
        first = len(client_id)
        return Examples(
            np.arange(first, first + 12).astype(np.uint8).reshape(3, 4),
            np.array([0, 1, 2], np.int32),
        )

    def num_examples(self, client_id: str) -> int:  # noqa: ARG002
        return 3


def cache(
    root: Path,
    clients: Clients | None = None,
    shards: tuple[str, ...] = ("s1", "s2"),
    max_bytes: int = 10**6,
) -> ResidentCache:
    return ResidentCache(root, clients or Clients(), shards, max_bytes, keep_seconds=0)


def test_a_file_is_x_y_and_their_checksum(tmp_path: Path) -> None:
    (client,) = cache(tmp_path).clients(["a"])
    body = bytes(range(1, 13)) + bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])
    assert Path(client.path).read_bytes() == body + hashlib.sha256(body).digest()
    assert (client.count, client.size_bytes) == (3, FILE_BYTES)


def test_ids_never_become_paths(tmp_path: Path) -> None:
    paths = [Path(client.path) for client in cache(tmp_path / "root").clients(IDS)]
    assert len(set(paths)) == len(IDS)
    assert all(path.parents[1] == tmp_path / "root" and len(path.name) == 64 for path in paths)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_files_are_made_once_and_found_by_content(tmp_path: Path) -> None:
    first, again, other = Clients(), Clients(), Clients()
    made = cache(tmp_path, first).clients(IDS)
    assert cache(tmp_path, again, shards=("s2", "s1")).clients(IDS) == made
    assert (first.reads, again.reads) == (len(IDS), 0)
    assert cache(tmp_path, other, shards=("s1", "s3")).clients(IDS) != made
    assert other.reads == len(IDS)


@pytest.mark.parametrize(
    "damage",
    [lambda body: body[:-1], lambda body: b"\xff" + body[1:], lambda body: body[:0]],
    ids=["cut", "changed", "empty"],
)
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    (client,) = cache(tmp_path).clients(["a"])
    sound = Path(client.path).read_bytes()
    Path(client.path).write_bytes(damage(sound))
    os.utime(client.path, (0, 0))  # it lay there before this process began
    cache(tmp_path).clients(["a"])
    assert Path(client.path).read_bytes() == sound


def test_a_file_that_goes_or_shrinks_during_a_run_is_made_again(tmp_path: Path) -> None:
    used = cache(tmp_path)
    (client,) = used.clients(["a"])
    path, sound = Path(client.path), Path(client.path).read_bytes()
    path.write_bytes(sound[:5])
    used.clients(["a"])
    assert path.read_bytes() == sound
    path.unlink()
    used.clients(["a"])
    assert path.read_bytes() == sound


def test_two_processes_at_once_leave_sound_files_and_nothing_else(tmp_path: Path) -> None:
    ids = [str(number) for number in range(20)]
    script = f"""
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("here", {__file__!r})
here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(here)
root = Path({str(tmp_path)!r})
for _ in range(20):
    here.cache(root).clients({ids!r})
    here.clear(root)
here.cache(root).clients({ids!r})
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == ["", ""]
    cache(tmp_path).clients(ids)
    assert all(len(path.name) == 64 for path in tmp_path.glob("*/*"))
    assert usage(tmp_path).files == 20


def test_the_least_recently_used_go_first_and_the_rounds_own_never(tmp_path: Path) -> None:
    used = cache(tmp_path, max_bytes=2 * FILE_BYTES)
    paths = [Path(client.path) for client in used.clients(["a", "b", "c"])]
    assert all(path.exists() for path in paths), "a round needs three: the limit gives way"
    for age, path in zip((30, 10, 20), paths, strict=True):
        os.utime(path, (time.time() - age, time.time() - age))
    (new,) = used.clients(["d"])
    assert [path.exists() for path in paths] == [False, True, False]
    assert Path(new.path).exists()
    assert usage(tmp_path).size_bytes == 2 * FILE_BYTES


def test_use_keeps_a_file_young(tmp_path: Path) -> None:
    used = cache(tmp_path)
    (client,) = used.clients(["a"])
    os.utime(client.path, (0, 0))
    used.clients(["a"])
    assert time.time() - os.stat(client.path).st_mtime < 60


def test_files_of_another_run_that_were_used_lately_stay(tmp_path: Path) -> None:
    (theirs,) = cache(tmp_path, shards=("other",)).clients(["a"])
    ResidentCache(tmp_path, Clients(), ["s"], max_bytes=1, keep_seconds=3600).clients(["b"])
    assert Path(theirs.path).exists()


def test_usage_and_clear_see_the_cache_alone(tmp_path: Path) -> None:
    assert usage(tmp_path / "none").files == 0
    cache(tmp_path).clients(["a", "b"])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("not ours")
    assert (usage(tmp_path).files, usage(tmp_path).size_bytes) == (2, 2 * FILE_BYTES)
    assert clear(tmp_path).files == 2
    assert usage(tmp_path).files == 0
    assert (tmp_path / "notes" / "mine.txt").exists()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (client,) = cache(tmp_path).clients(["a"])
    left = Path(client.path).parent / ".making-abc"
    left.write_bytes(b"half")
    cache(tmp_path).clients(["b"])
    assert left.exists(), "it may be one that another process is writing"
    os.utime(left, (0, 0))
    cache(tmp_path).clients(["c"])
    assert not left.exists()


def test_examples_of_other_dtypes_are_refused(tmp_path: Path) -> None:
    class Doubles(Clients):
        def examples(self, client_id: str) -> Examples:  # noqa: ARG002
            return Examples(np.zeros((3, 4)), np.zeros(3, np.int32))

    with pytest.raises(
        DataError,
        match=r"client a: expected uint8, int32 or float32 features .* found float64 of 3",
    ):
        cache(tmp_path, Doubles()).clients(["a"])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        EnvironmentProblem,
        match=f"resident data: expected to write below {tmp_path}/file, found .*",
    ):
        cache(tmp_path / "file").clients(["a"])
