"""Downloads the files of TFF's data sets and checks them before TFF's loader reads them: it trusts
any file of their name.

`tff.simulation.datasets.download.get_compressed_file` unpacks straight to the final name, with no
lock and no check. A file in the place where it looks is used without a download, so fetching the
file first is all that is needed.
"""

import hashlib
import lzma
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from fedpipe.data.download import (
    DownloadError,
    Progress,
    download,
    is_noted,
    publish,
    verify_cached,
)
from fedpipe.errors import DataError
from fedpipe.system.locks import file_lock

BASE_URL = "https://storage.googleapis.com/tff-datasets-public"
"""Where TFF 0.87 downloads from. It publishes neither lengths nor checksums."""

FILES: Mapping[str, str] = {
    "emnist": "emnist_all.sqlite",
    "cifar100": "cifar100.sqlite",
    "shakespeare": "shakespeare.sqlite",
}
"""Name of each data set's file in the cache; at `BASE_URL` it is compressed, with `.lzma` at the
end. `emnist` has the letters too.
"""

_CHUNK_BYTES = 1 << 20


def fetch(
    name: Literal["emnist", "cifar100", "shakespeare"],
    cache_dir: Path,
    progress: Progress | None = None,
    base_url: str | None = None,
) -> Path:
    """Return the SQLite file of a data set in `cache_dir`; if it is not there it is downloaded and
    unpacked first.

    A file that is there is checked: its length against its own header, and its SHA-256 if fedpipe
    made it (a file that was put there by hand has none noted). The folder need not be writable
    then.

    Args:
        name: data set of TFF.
        cache_dir: folder of downloaded files; TFF's own is `~/.tff`.
        progress: called as compressed bytes arrive.
        base_url: address to use in place of `BASE_URL`, such as a mirror's.

    Raises:
        DataError: the file is damaged, or is not there and cannot be made.
    """
    path = cache_dir / FILES[name]
    if not path.exists():
        url = f"{(base_url or BASE_URL).rstrip('/')}/{path.name}.lzma"
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_name(f".{path.name}.lock")):
                if not path.exists():
                    _make(name, path, url, progress)
        except DownloadError as err:
            raise _not_made(name, path, url, err.reason) from err
        except OSError as err:
            raise _not_made(name, path, url, str(err)) from err
    refuse_cut_short(name, path)
    if is_noted(path):
        verify_cached(path)
    return path


def refuse_cut_short(name: str, path: Path, remedy: str = "Delete it and prepare again.") -> None:
    """Compare the length with the number of pages in the header (SQLite file format, 1.3); a whole
    check would take minutes.

    Raises:
        DataError: it is no SQLite file, or shorter than its header says.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
        size = path.stat().st_size
    except OSError as err:
        raise DataError(f"data.source={name}: cannot read {path}: {err}.") from err
    expected = _whole_size(header)
    if expected is None or size < expected:
        length = "" if expected is None else f" of {expected} bytes"
        raise DataError(
            f"data.source={name}: expected a SQLite file{length} at {path}, found {size} bytes. "
            f"{remedy}"
        )


def _whole_size(header: bytes) -> int | None:
    """Return the size in bytes that the first 100 bytes of a SQLite file say, 0 if they do not say
    it, None if they are of another kind.
    """
    if not header.startswith(b"SQLite format 3\0"):
        return None
    if header[24:28] != header[92:96]:  # written by an old SQLite, which keeps no number of pages
        return 0
    page = int.from_bytes(header[16:18], "big")
    return (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")


def _make(name: str, path: Path, url: str, progress: Progress | None) -> None:
    packed = path.with_name(f"{path.name}.lzma")
    unpacked = path.with_name(f".{path.name}.part")
    download(url, packed, None, None, progress)
    try:
        digest = _unpack(packed, unpacked)
        refuse_cut_short(name, unpacked)
        publish(unpacked, path, digest)
    except (lzma.LZMAError, EOFError, DataError) as err:
        raise _not_made(
            name, path, url, f"it does not unpack to a SQLite file: {' '.join(str(err).split())}"
        ) from err
    finally:
        # A good archive has done its work, and the next call must not use a bad one.
        for left in (unpacked, packed, packed.with_name(f"{packed.name}.sha256")):
            left.unlink(missing_ok=True)


def _unpack(packed: Path, unpacked: Path) -> str:
    """Unpack a file without holding it in memory, and return the SHA-256 (hex) of what came out.

    A few kilobytes can unpack to many gigabytes. So the SQLite header, which comes first, says how
    much is taken, and must fit the disk.

    Raises:
        DataError: it is no SQLite file, larger than it says itself, or larger than the disk's free
            space.
    """
    digest = hashlib.sha256()
    written = 0
    max_bytes = 0
    with lzma.open(packed) as source, unpacked.open("wb") as out:
        while chunk := source.read(_CHUNK_BYTES):
            if not written:
                size = _whole_size(chunk[:100])
                free = shutil.disk_usage(unpacked.parent).free
                if size is None:
                    raise DataError("expected a SQLite file, found another kind of file")
                if size > free:
                    raise DataError(
                        f"expected a SQLite file, found {size} bytes of it, and {free} bytes free"
                    )
                max_bytes = size or free
            written += len(chunk)
            if written > max_bytes:
                raise DataError(f"expected a SQLite file of {max_bytes} bytes, found more")
            out.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _not_made(name: str, path: Path, url: str, reason: str) -> DataError:
    return DataError(
        f"data.source={name}: expected {path}, and it could not be downloaded: {reason}. Unpack "
        f"{url} (`xz -dc`) to that file, or use data.source=mnist5k or data.source=synthetic, "
        "which need no network."
    )
