"""Sources `emnist`, `emnist62`, `cifar100` and `synthetic`: the data sets that TFF knows.

TensorFlow and TFF are imported inside the functions. No TFF computation is run: that would start a
worker process. All clients are read through one `tf.data` pipeline, as one pipeline a client costs
50 ms each. TFF's loader is given a file that `data.tff_files` fetched and checked: by itself it
trusts whatever is there.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Array
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.tff_files import fetch
from fedpipe.errors import DataError
from fedpipe.redact import hide

NEEDS = {
    "synthetic": "TFF's two artificial clients of 28x28 images, for smoke tests; no network",
    "emnist": "digits of 3,383 real writers; downloaded once by fedpipe, or put into "
    "data.cache_dir by hand",
    "emnist62": "digits and letters of 3,400 real writers; the same file as emnist",
    "cifar100": "32x32 colour images of 100 classes at 500 clients; downloaded once, or put into "
    "data.cache_dir by hand",
}
_BATCH = 4096


def open_emnist(config: DataConfig, project: Path) -> Source:
    """Return the digits of the first `data.clients` writers (all with null), background = 1.0, with
    TFF's own test split.

    Clients are the writers of the training split in the order of their ids. `source_row` counts the
    training examples in the file's order, client by client, then the test examples.

    Raises:
        DataError: the file is not there and cannot be downloaded, or it is damaged.
    """
    return _open_emnist(config, project, 10)


def open_emnist62(config: DataConfig, project: Path) -> Source:
    """Return digits and letters, otherwise as `open_emnist`."""
    return _open_emnist(config, project, 62)


def _open_emnist(config: DataConfig, project: Path, classes: int) -> Source:
    path = fetch("emnist", cache_dir(config, project))
    options = {"only_digits": classes == 10}
    return Source(
        lambda: _both_splits("emnist", path, config.clients, "pixels", **options),
        classes,
        "background=1.0",
    )


def open_cifar100(config: DataConfig, project: Path) -> Source:
    """Return the images of the first `data.clients` of TFF's 500 clients; its test examples go to
    the clients of the same number.
    """
    path = fetch("cifar100", cache_dir(config, project))
    return Source(lambda: _both_splits("cifar100", path, config.clients, "image"), 100)


def open_synthetic(config: DataConfig, project: Path) -> Source:  # noqa: ARG001 - it is part of TFF
    """Return TFF's synthetic clients, background = 1.0; both hold the same ten images, and have no
    test split of their own.
    """

    def batches() -> Iterator[Batch]:
        import tensorflow_federated as tff

        clients = tff.simulation.datasets.emnist.get_synthetic()
        yield from _pixels(
            _read(clients, sorted(clients.client_ids)[: config.clients], "pixels", None)
        )

    return Source(batches, 10, "background=1.0")


def cache_dir(config: DataConfig, project: Path) -> Path:
    """Return the folder of downloaded files."""
    if config.cache_dir is None:
        return Path.home() / ".tff"
    return project / Path(config.cache_dir).expanduser()


def _both_splits(
    name: str, path: Path, clients: int | None, feature: str, **options: bool
) -> Iterator[Batch]:
    import tensorflow_federated as tff

    with damaged_is_an_error(name, path):
        train, test = getattr(tff.simulation.datasets, name).load_data(
            cache_dir=str(path.parent), **options
        )
        ids = sorted(train.client_ids)[:clients]
        tested = set(test.client_ids)

        def both() -> Iterator[Batch]:
            yield from _read(train, ids, feature, False)
            yield from _read(
                test, [client_id for client_id in ids if client_id in tested], feature, True
            )

        yield from _pixels(both())


@contextmanager
def damaged_is_an_error(name: str, path: Path) -> Iterator[None]:
    """Turn what a damaged file makes of TFF's loader into one error that names the file."""
    import tensorflow as tf
    import tensorflow_federated as tff

    try:
        yield
    except (
        tf.errors.OpError,
        sqlite3.Error,
        ValueError,
        tff.simulation.datasets.sql_client_data.DatabaseFormatError,
    ) as err:
        raise DataError(
            f"data.source={name}: {path} is damaged or not {name}: {_one_line(err)}. Delete it "
            "and prepare again."
        ) from err


def _read(clients: Any, ids: Sequence[str], feature: str, is_test: bool | None) -> Iterator[Batch]:
    import tensorflow as tf

    def client_examples(client_id: Any) -> Any:
        return clients.serializable_dataset_fn(client_id).map(
            lambda example: (client_id, example[feature], example["label"])
        )

    if not ids:
        return
    dataset = tf.data.Dataset.from_tensor_slices(list(ids)).flat_map(client_examples).batch(_BATCH)
    for owners, x, y in dataset.as_numpy_iterator():
        marks = None if is_test is None else np.full(len(y), is_test)
        yield Batch(x, y.astype(np.int32), [owner.decode() for owner in owners], marks)


def _pixels(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Turn float32 features into uint8 where the first batch shows that they are pixels; the others
    must then be too.
    """
    convert: Callable[[Array], npt.NDArray[np.generic]] | None = None
    for batch in batches:
        x = np.asarray(batch.x)
        if convert is None:
            convert = (
                exact_uint8
                if exact_uint8(x).dtype == np.uint8 and x.dtype != np.uint8
                else np.asarray
            )
        converted = convert(x)
        if convert is exact_uint8 and converted.dtype != np.uint8:
            raise ValueError("features that are k / 255 at first and other numbers later")
        yield Batch(converted, batch.y, batch.clients, batch.is_test)


def exact_uint8(x: Array) -> npt.NDArray[np.generic]:
    """Return float32 `x` as uint8 k if each value is float32(k / 255) to the last bit; else `x`
    itself.

    >>> exact_uint8(np.array([0, 1, 51 / 255], np.float32))
    array([  0, 255,  51], dtype=uint8)
    >>> exact_uint8(np.array([4 / 9], np.float32)).dtype
    dtype('float32')
    """
    if not np.isfinite(x).all() or x.size == 0 or x.min() < 0 or x.max() > 1:
        return x
    pixels: npt.NDArray[np.generic] = np.rint(x * np.float32(255)).astype(np.uint8)
    if np.array_equal(_to_float(pixels), x):
        return pixels
    return x


def _to_float(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _one_line(err: Exception) -> str:
    return hide(f"{type(err).__name__}: {' '.join(str(err).split())}")[:300]
