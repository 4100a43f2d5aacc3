"""Downloads files safely: a target that exists is whole, and a later change of it is detected.

A download goes to `.NAME.part` beside the target and gets the name only when its length and SHA-256
are right and it is on the disk; `.NAME.part.json` holds what a resumed download needs;
`NAME.sha256` (as `sha256sum` writes it) stays beside the target.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.data.digest import file_sha256
from fedpipe.errors import DataError
from fedpipe.redact import hide
from fedpipe.system.atomic_files import sync
from fedpipe.system.locks import file_lock

if TYPE_CHECKING:
    from requests import Response

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole, None if the server does not
say.
"""

_watchers: list[Progress] = []

_TRIES = 3
_TIMEOUT_SECONDS = 60
_CHUNK_BYTES = 1 << 18
_SYNC_BYTES = 1 << 24


class DownloadError(DataError):
    """A file could not be downloaded; `reason` is one line without advice, for callers that have
    better.
    """

    def __init__(self, url: str, target: Path, reason: str) -> None:
        """Make the message: what failed, which file to put where, what needs no network."""
        self.reason = reason
        super().__init__(
            f"expected {target}, and {url} could not be downloaded: {reason}. Put the file there "
            "by hand, or use data.source=mnist5k or data.source=synthetic, which need no network."
        )


class _TryAgainError(Exception):
    """What may be better at the next try."""


def download(
    url: str,
    target: Path,
    sha256: str | None,
    size: int | None,
    progress: Progress | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Make `target` from `url` and return its SHA-256 (hex); a target that is there is checked and
    kept.

    Of several processes one downloads, the others wait and use its file. A download that broke off
    or was killed is resumed where the server allows ranges and has the same version still (ETag or
    Last-Modified). Broken connections, short bodies and the server's own errors (429, 5xx) are
    tried again after 1 and 2 seconds; proxies are those of the environment.

    Args:
        url: http or https.
        target: file to make; its folder is made if need be.
        sha256: what the file must have (hex), None if it is not known.
        size: bytes that the file must have, None if it is not known.
        progress: called as bytes arrive; see also `watched`.
        sleep: waits between tries, in seconds.

    Raises:
        DownloadError: it failed, or length or SHA-256 are not the expected ones; then nothing of it
            is kept.
        DataError: a target that was there is not the expected file, or nothing can be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(target.with_name(f".{target.name}.lock")):
            if target.exists():
                return _checked(target, sha256)
            partial_file = target.with_name(f".{target.name}.part")
            digest = _tried(
                url,
                target,
                partial_file,
                size,
                progress or (_watchers[-1] if _watchers else None),
                sleep,
            )
            actual_size = partial_file.stat().st_size
            if (size is not None and actual_size != size) or (
                sha256 is not None and digest != sha256.lower()
            ):
                _forget(partial_file)
                expected = (
                    f"sha256 {sha256 or 'of any value'} and "
                    f"{'any number of' if size is None else size} bytes"
                )
                raise DownloadError(
                    url,
                    target,
                    f"expected {expected}, found sha256 {digest} and {actual_size} bytes",
                )
            publish(partial_file, target, digest)
            _forget(partial_file)
            return digest
    except OSError as err:
        raise DataError(
            f"{target}: expected to write it there, found {err}. Free some disk space, or choose "
            "another folder."
        ) from err


@contextmanager
def watched(progress: Progress) -> Iterator[None]:
    """Let `progress` see every download of this process within the block, unless the download names
    another.
    """
    _watchers.append(progress)
    try:
        yield
    finally:
        _watchers.remove(progress)


def verify_cached(target: Path) -> None:
    """Return if `target` has the SHA-256 that is noted beside it.

    Raises:
        DataError: it has another (it was altered or cut short), or one of the two files cannot be
            read.
    """
    note = _note(target)
    try:
        noted = note.read_text("utf-8").split(maxsplit=1)[0]
        actual = file_sha256(target)
        size = target.stat().st_size
    except (OSError, ValueError, IndexError) as err:
        raise DataError(
            f"{target}: expected the file and its SHA-256 in {note}, found {err}. Delete both and "
            "prepare again."
        ) from err
    if actual != noted:
        raise DataError(
            f"{target}: expected sha256 {noted}, noted in {note.name} when it was made, found "
            f"{actual} ({size} bytes): it was altered or cut short since. Delete both and prepare "
            "again."
        )


def is_noted(target: Path) -> bool:
    """Return whether a SHA-256 is noted beside `target`; it is not for files that were put there by
    hand.
    """
    return _note(target).exists()


def publish(temporary: Path, target: Path, sha256: str) -> None:
    """Rename a whole file to `target`, both in one folder, and note its SHA-256; both are on the
    disk before it returns.
    """
    sync(temporary)
    temporary.replace(target)
    _note(target).write_text(f"{sha256}  {target.name}\n", "utf-8")
    sync(_note(target))
    sync(target.parent)


def _checked(target: Path, sha256: str | None) -> str:
    if is_noted(target):
        verify_cached(target)
    digest = file_sha256(target)
    if sha256 is not None and digest != sha256.lower():
        raise DataError(
            f"{target}: expected sha256 {sha256}, found {digest}. Delete it and prepare again."
        )
    return digest


def _tried(
    url: str,
    target: Path,
    partial_file: Path,
    size: int | None,
    progress: Progress | None,
    sleep: Callable[[float], None],
) -> str:
    from requests import RequestException
    from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout

    reason: Exception = _TryAgainError("not tried")
    for attempt in range(_TRIES):
        if attempt:
            sleep(2.0 ** (attempt - 1))
        try:
            return _transfer(url, partial_file, size, progress)
        except (_TryAgainError, ConnectionError, Timeout, ChunkedEncodingError) as err:
            reason = err
        except RequestException as err:  # a wrong address, 404, ...: no better the next time
            raise DownloadError(url, target, _one_line(err)) from err
    raise DownloadError(url, target, f"{_one_line(reason)} (tried {_TRIES} times)") from reason


def _transfer(url: str, partial_file: Path, size: int | None, progress: Progress | None) -> str:
    """Get what is missing of `part`, and return the SHA-256 of the whole."""
    import requests

    state = _resumable(url, partial_file)
    start = int(state["synced"]) if state else 0
    headers = {
        "Accept-Encoding": "identity"
    }  # else lengths and ranges would be those of a compressed body
    if state:
        headers |= {"Range": f"bytes={start}-", "If-Range": state["validator"]}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        if response.status_code in (416, 429) or response.status_code >= 500:
            if response.status_code == 416:
                _forget(partial_file)
            raise _TryAgainError(f"the server answered {response.status_code} {response.reason}")
        response.raise_for_status()
        if response.status_code == 206:
            content_range = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "")
            )
            expected = (start, state.get("total"), state["validator"]) if state else None
            if content_range is None or expected != (
                int(content_range[1]),
                int(content_range[2]),
                _validator(response),
            ):
                _forget(partial_file)
                raise _TryAgainError("the server sent a part that does not fit what is there")
            total: int | None = int(content_range[2])
        elif response.status_code == 200:
            start = 0
            total = _length(response)
        else:
            raise _TryAgainError(f"the server answered {response.status_code} {response.reason}")
        if (
            total is None
            and size is None
            and response.headers.get("Transfer-Encoding") != "chunked"
        ):
            raise requests.RequestException(
                "the server does not say how long the file is, so none could tell whether it is "
                "whole"
            )
        state = {"url": url, "validator": _validator(response), "total": total}
        return _receive(
            response, partial_file, start, state, size if total is None else total, progress
        )


def _receive(
    response: "Response",
    partial_file: Path,
    start: int,
    state: dict[str, Any],
    total: int | None,
    progress: Progress | None,
) -> str:
    with partial_file.open("r+b" if start else "w+b") as file:
        file.truncate(start)
        digest = hashlib.file_digest(file, "sha256")
        received = synced = file.seek(start)
        try:
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                if progress is not None:
                    progress(received, total)
                if total is not None and received > total:
                    break
                if received - synced >= _SYNC_BYTES:
                    synced = _save_state(file, partial_file, state)
        finally:
            _save_state(file, partial_file, state)
    if total is not None and received != total:
        if received > total:
            _forget(partial_file)
        raise _TryAgainError(f"expected {total} bytes, the server sent {received}")
    return digest.hexdigest()


def _resumable(url: str, partial_file: Path) -> dict[str, Any] | None:
    """Return what is known of a broken-off download, None if it cannot be resumed."""
    try:
        state = json.loads(_state(partial_file).read_text("utf-8"))
        usable = (
            state["url"] == url
            and isinstance(state["validator"], str)
            and 0 < state["synced"] <= partial_file.stat().st_size
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # killed before or while it was written: start again
    if usable and (state["total"] is None or state["synced"] < state["total"]):
        return dict(state)
    return None


def _save_state(file: Any, partial_file: Path, state: dict[str, Any]) -> int:
    """Note how many bytes are on the disk: after a power cut the part's length says nothing."""
    file.flush()
    os.fsync(file.fileno())
    synced = int(file.tell())
    _state(partial_file).write_text(json.dumps({**state, "synced": synced}), "utf-8")
    return synced


def _validator(response: "Response") -> str | None:
    """Return what names this version of the file: RFC 9110 allows no weak ETag (W/) with ranges."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _length(response: "Response") -> int | None:
    text = response.headers.get("Content-Length", "")
    if text.isdecimal():
        return int(text)
    return None


def _state(partial_file: Path) -> Path:
    return partial_file.with_name(f"{partial_file.name}.json")


def _note(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _forget(partial_file: Path) -> None:
    partial_file.unlink(missing_ok=True)
    _state(partial_file).unlink(missing_ok=True)


def _one_line(err: Exception) -> str:
    return hide(f"{type(err).__name__.strip('_')}: {' '.join(str(err).split())}")[:300]
