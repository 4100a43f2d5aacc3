"""Downloads from a real server that fails in real ways."""

import hashlib
import io
import lzma
import multiprocessing
import os
import random
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedpipe.cli.downloads import DownloadBar
from fedpipe.data.download import DownloadError, download, verify_cached, watched
from fedpipe.data.tff_files import _unpack, fetch
from fedpipe.errors import DataError

BODY = random.Random(1).randbytes(1_000_000)  # noqa: S311 - it only has to be incompressible
SHA256 = hashlib.sha256(BODY).hexdigest()
Serve = Callable[[bytes], Any]


def get(site: Any, target: Path, **named: Any) -> str:
    return download(
        f"{site.url}/file",
        target,
        named.pop("sha256", SHA256),
        named.pop("size", None),
        sleep=lambda _: None,
        **named,
    )


def left(folder: Path) -> set[str]:
    """Return what is there beside locks."""
    return {name for name in os.listdir(folder) if not name.endswith(".lock")}


def test_a_file_gets_its_name_when_it_is_whole(serve: Serve, tmp_path: Path) -> None:
    site, seen = serve(BODY), []
    with watched(
        lambda received, total: seen.append((received, total, (tmp_path / "file").exists()))
    ):
        assert get(site, tmp_path / "file") == SHA256
    assert (tmp_path / "file").read_bytes() == BODY
    assert left(tmp_path) == {"file", "file.sha256"}
    assert seen[-1] == (len(BODY), len(BODY), False)
    assert [received for received, _, _ in seen] == sorted(received for received, _, _ in seen)
    get(site, tmp_path / "file")
    assert len(site.requests) == 1


def test_a_broken_download_is_resumed_where_it_broke(serve: Serve, tmp_path: Path) -> None:
    site = serve(BODY)
    site.break_after = [600_000]
    assert get(site, tmp_path / "file") == SHA256
    assert site.requests[0] is None
    assert site.requests[1] is not None
    assert 0 < int(site.requests[1].removeprefix("bytes=").rstrip("-")) <= 600_000
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_download_that_never_ends_whole_leaves_no_file_and_the_next_goes_on(
    serve: Serve, tmp_path: Path
) -> None:
    site = serve(BODY)
    site.break_after = [300_000, 200_000, 100_000]
    with pytest.raises(DownloadError, match=r"tried 3 times.*data\.source=mnist5k"):
        get(site, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert get(site, tmp_path / "file") == SHA256
    assert site.requests[-1] is not None


@pytest.mark.parametrize("change", ["no ranges", "another version"])
def test_what_cannot_be_resumed_starts_again(serve: Serve, tmp_path: Path, change: str) -> None:
    site = serve(BODY[::-1])
    site.break_after = [500_000, 0, 0]
    with pytest.raises(DownloadError):
        get(site, tmp_path / "file", sha256=None)
    site.body = BODY
    site.ranges, site.etag = (False, '"v1"') if change == "no ranges" else (True, '"v2"')
    assert get(site, tmp_path / "file") == SHA256
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(
    serve: Serve, tmp_path: Path
) -> None:
    site = serve(BODY)
    site.statuses = [503, 429]
    get(site, tmp_path / "file")
    assert len(site.requests) == 3
    site.statuses = [404]
    with pytest.raises(DownloadError, match="404"):
        get(site, tmp_path / "other")
    assert len(site.requests) == 4


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 5}])
def test_another_content_is_refused_and_kept_nowhere(
    serve: Serve, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(DownloadError, match=f"found sha256 {SHA256} and {len(BODY)} bytes"):
        get(serve(BODY), tmp_path / "file", **wrong)
    assert left(tmp_path) == set()


def test_a_length_that_is_a_lie_is_no_whole_file(serve: Serve, tmp_path: Path) -> None:
    site = serve(BODY)
    site.said_length = len(BODY) + 10
    with pytest.raises(DownloadError):
        get(site, tmp_path / "file", sha256=None)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("damage", [lambda body: body[:-1], lambda body: body[:-1] + b"?"])
def test_a_cached_file_that_was_altered_is_named(
    serve: Serve, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    site = serve(BODY)
    get(site, tmp_path / "file")
    (tmp_path / "file").write_bytes(damage(BODY))
    for use in (lambda: verify_cached(tmp_path / "file"), lambda: get(site, tmp_path / "file")):
        with pytest.raises(
            DataError, match=rf"{tmp_path}/file: expected sha256 {SHA256}.*altered or cut short"
        ):
            use()


def _download(url: str, target: str) -> None:
    download(url, Path(target), SHA256, None)


def test_of_two_processes_one_downloads(serve: Serve, tmp_path: Path) -> None:
    site = serve(BODY)
    context = multiprocessing.get_context("spawn")
    both = [
        context.Process(target=_download, args=(f"{site.url}/file", str(tmp_path / "file")))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(site.requests) == 1
    assert (tmp_path / "file").read_bytes() == BODY


def sqlite_file(path: Path) -> bytes:
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE examples (split_name TEXT, client_id TEXT, serialized_example_proto BLOB)"
        )
        connection.executemany(
            "INSERT INTO examples VALUES ('train', ?, ?)",
            [(str(i), os.urandom(2000)) for i in range(200)],
        )
    connection.close()
    return path.read_bytes()


def test_tffs_own_loader_takes_half_a_file_for_whole_and_ours_does_not(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorflow_federated.python.simulation.datasets import download as tff_download

    whole = sqlite_file(tmp_path / "made.sqlite")
    site = serve(lzma.compress(whole))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    site.break_after = [len(site.body) // 2]
    # The connection breaks half-way, and it does not even say so.
    half = Path(
        tff_download.get_compressed_file(
            f"{site.url}/emnist_all.sqlite.lzma", cache_dir=str(theirs)
        )
    )
    assert half == theirs / "emnist_all.sqlite"
    assert 0 < half.stat().st_size < len(whole)
    requests = len(site.requests)
    assert tff_download.get_compressed_file(
        f"{site.url}/emnist_all.sqlite.lzma", cache_dir=str(theirs)
    ) == str(half)
    assert len(site.requests) == requests, (
        "it asked the server again: the half file was not taken for whole"
    )
    with pytest.raises(DataError, match=f"expected a SQLite file of {len(whole)} bytes"):
        fetch("emnist", theirs, base_url=site.url)

    site.break_after = [len(site.body) // 2]
    path = fetch("emnist", ours, base_url=site.url)
    assert path.read_bytes() == whole
    assert left(ours) == {"emnist_all.sqlite", "emnist_all.sqlite.sha256"}
    path.write_bytes(whole[:-1] + b"?")
    with pytest.raises(DataError, match="altered or cut short"):
        fetch("emnist", ours, base_url=site.url)


def test_what_does_not_unpack_is_not_kept(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not unpack to a SQLite file"):
        fetch("cifar100", tmp_path, base_url=serve(b"<html>moved</html>").url)
    assert left(tmp_path) == set()


def test_what_unpacks_to_more_than_it_says_is_stopped_there(serve: Serve, tmp_path: Path) -> None:
    """A bomb: 60 MB of zeros behind a header that says 8 kB, in 9 kB."""
    header = sqlite_file(tmp_path / "made.sqlite")[:100]
    bomb = lzma.compress(
        header[:28] + (2).to_bytes(4, "big") + header[32:] + bytes(60_000_000), preset=0
    )
    assert len(bomb) < 20_000
    with pytest.raises(DataError, match=r"expected a SQLite file of 8192 bytes, found more"):
        fetch("emnist", tmp_path / "cache", base_url=serve(bomb).url)
    assert left(tmp_path / "cache") == set()
    (tmp_path / "packed").write_bytes(bomb)
    with pytest.raises(DataError, match="found more"):
        _unpack(tmp_path / "packed", tmp_path / "part")
    assert (tmp_path / "part").stat().st_size <= 1 << 20


def test_what_says_that_it_is_larger_than_the_disk_is_not_unpacked(
    serve: Serve, tmp_path: Path
) -> None:
    whole = sqlite_file(tmp_path / "made.sqlite")
    huge = (
        whole[:16]
        + (32768).to_bytes(2, "big")
        + whole[18:28]
        + (2**32 - 1).to_bytes(4, "big")
        + whole[32:]
    )
    with pytest.raises(
        DataError,
        match=r"expected a SQLite file, found 140737488322560 bytes of it, and \d+ bytes free",
    ):
        fetch("emnist", tmp_path / "cache", base_url=serve(lzma.compress(huge)).url)
    assert left(tmp_path / "cache") == set()


def test_the_bar_shows_bytes_rate_and_time_left_and_goes_on_after_a_break(
    serve: Serve, tmp_path: Path
) -> None:
    site, screen = serve(BODY), io.StringIO()
    site.break_after = [600_000]
    bar = DownloadBar(Console(file=screen, force_terminal=True, width=100), quiet=False)
    with bar.progress, watched(bar):
        get(site, tmp_path / "file")
    (task,) = bar.progress.tasks
    assert (task.completed, task.total, task.finished) == (len(BODY), len(BODY), True)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).strip().splitlines()[-1]
    assert re.search(r"1\.0/1\.0 MB +[\d.,]+ [kMG]?B/s +0:00:00", last), last
    assert len(site.requests) == 2
