"""Sources `emnist` and `synthetic`: TFF's EMNIST of real writers, and its two artificial clients of the same shape.

TensorFlow and TFF are imported inside the functions. No TFF computation is run: that would start a worker process. All
clients are read through one `tf.data` pipeline, as one pipeline a client costs 50 ms each.

`tff.simulation.datasets.emnist.load_data` downloads straight to the final name, without a limit on the wait, and later
trusts whatever is there. So a download goes to a temporary folder first, and a file that was cut short is refused.
"""

import http.client
import lzma
import os
import socket
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import NaturalClients, SourceData
from fedpipe.errors import DataError

_FILE = "emnist_all.sqlite"
_ORIGIN = "https://storage.googleapis.com/tff-datasets-public/emnist_all.sqlite.lzma"
_CLASSES = 10
_BATCH = 4096
_SILENCE_SECONDS = 60.0


def load_emnist(config: DataConfig, project: Path) -> SourceData:
    """Return the digits of the first `data.clients` writers (all with null), background = 1.0, with TFF's own test split.

    Clients are the writers of the training split in the order of their ids. `source_row` counts the training examples in
    the file's order, client by client, then the test examples.

    Raises:
        DataError: the file is not there and cannot be downloaded, or it is damaged.
    """
    cache = _cache_dir(config, project)
    path = cache / _FILE
    import tensorflow as tf
    import tensorflow_federated as tff

    if not path.exists():
        _download(path, tff)
    _refuse_cut_short(path)
    try:
        train, test = tff.simulation.datasets.emnist.load_data(only_digits=True, cache_dir=str(cache))
        ids = sorted(train.client_ids)[: config.clients]
        tested = set(test.client_ids)
        parts = [_read(train, ids), _read(test, [client_id for client_id in ids if client_id in tested])]
    except (tf.errors.OpError, sqlite3.Error, ValueError, tff.simulation.datasets.sql_client_data.DatabaseFormatError) as err:
        raise DataError(f"data.source=emnist: {path} is damaged or no EMNIST: {_one_line(err)}. Delete it and prepare again.") from err
    index = {client_id: i for i, client_id in enumerate(ids)}
    owner = np.array([index[client_id] for _, _, owners in parts for client_id in owners], np.int32)
    is_test = np.repeat([False, True], [len(y) for _, y, _ in parts])
    x, y = _join([x for x, _, _ in parts]), np.concatenate([y for _, y, _ in parts])
    return SourceData("background=1.0", _CLASSES, x, y, NaturalClients(tuple(ids), owner, is_test))


def load_synthetic(config: DataConfig, project: Path) -> SourceData:  # noqa: ARG001 - it is part of TFF
    """Return TFF's synthetic clients, background = 1.0; both hold the same ten images, and have no test split of their own."""
    import tensorflow_federated as tff

    clients = tff.simulation.datasets.emnist.get_synthetic()
    ids = sorted(clients.client_ids)[: config.clients]
    x, y, owners = _read(clients, ids)
    owner = np.array([ids.index(client_id) for client_id in owners], np.int32)
    return SourceData("background=1.0", _CLASSES, x, y, NaturalClients(tuple(ids), owner, None))


def exact_uint8(x: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
    """Return float32 `x` as uint8 k if each value is float32(k / 255) to the last bit; else `x` itself.

    >>> exact_uint8(np.array([0, 1, 51 / 255], np.float32)), exact_uint8(np.array([4 / 9], np.float32)).dtype
    (array([  0, 255,  51], dtype=uint8), dtype('float32'))
    """
    if not np.isfinite(x).all() or x.size == 0 or x.min() < 0 or x.max() > 1:
        return x
    pixels = np.rint(x * np.float32(255)).astype(np.uint8)
    return pixels if np.array_equal(_to_float(pixels), x) else x


def _to_float(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _read(clients: Any, ids: Sequence[str]) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.int32], list[str]]:
    """Return features, labels and each example's client id."""
    chunks = list(_chunks(clients, ids)) if ids else []
    if not chunks:
        return np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int32), []
    x = _join([x for x, _, _ in chunks])
    return x, np.concatenate([y for _, y, _ in chunks]), [client_id for _, _, owners in chunks for client_id in owners]


def _chunks(clients: Any, ids: Sequence[str]) -> Iterator[tuple[npt.NDArray[np.generic], npt.NDArray[np.int32], list[str]]]:
    import tensorflow as tf

    def client_examples(client_id: Any) -> Any:
        return clients.serializable_dataset_fn(client_id).map(lambda example: (client_id, example["pixels"], example["label"]))

    dataset = tf.data.Dataset.from_tensor_slices(list(ids)).flat_map(client_examples).batch(_BATCH)
    for owners, x, y in dataset.as_numpy_iterator():
        yield exact_uint8(x), y.astype(np.int32), [owner.decode() for owner in owners]


def _join(parts: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    """Return the parts in one array: uint8 if all are, else float32 (k / 255 of the uint8 ones, the same bits as before)."""
    filled = [part for part in parts if len(part)] or list(parts)
    if any(part.dtype != np.uint8 for part in filled):
        filled = [_to_float(part) if part.dtype == np.uint8 else part for part in filled]
    return np.concatenate(filled)


def _cache_dir(config: DataConfig, project: Path) -> Path:
    return Path.home() / ".tff" if config.cache_dir is None else project / Path(config.cache_dir).expanduser()


def _download(path: Path, tff: Any) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent) as folder:
            tff.simulation.datasets.emnist.load_data(only_digits=True, cache_dir=folder)
            _refuse_cut_short(Path(folder) / _FILE)
            os.replace(Path(folder) / _FILE, path)
    except (OSError, http.client.HTTPException, lzma.LZMAError, sqlite3.Error, DataError) as err:
        raise DataError(
            f"data.source=emnist: expected {path}, and it could not be downloaded: {_one_line(err)}. Unpack {_ORIGIN} "
            f"(`xz -dc`) to that file, or use data.source=mnist5k."
        ) from err
    finally:
        socket.setdefaulttimeout(before)


def _refuse_cut_short(path: Path) -> None:
    """Compare the size with the number of pages in the header (SQLite file format, 1.3); a whole check would take minutes."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
        found = path.stat().st_size
    except OSError as err:
        raise DataError(f"data.source=emnist: cannot read {path}: {err}.") from err
    page = int.from_bytes(header[16:18], "big")
    expected = (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
    if not header.startswith(b"SQLite format 3\0") or found < expected:
        wanted = f"a SQLite file of {expected} bytes" if header.startswith(b"SQLite") else "a SQLite file"
        raise DataError(f"data.source=emnist: expected {wanted} at {path}, found {found} bytes. Delete it and prepare again.")


def _one_line(err: Exception) -> str:
    return f"{type(err).__name__}: {' '.join(str(err).split())}"[:300]
