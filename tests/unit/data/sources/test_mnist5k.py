import gzip
from pathlib import Path

import numpy as np
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.sources.mnist5k import open_mnist5k, read_digits
from fedpipe.errors import DataError


def packed(text: bytes) -> bytes:
    return gzip.compress(
        text, mtime=0
    )  # the same bytes, and so the same names of tests, in each process that collects them


def test_it_is_five_thousand_digits_with_dark_background(tmp_path: Path) -> None:
    source = open_mnist5k(DataConfig(), tmp_path)
    (data,) = source.batches()
    assert (data.x.shape, data.x.dtype, data.y.dtype) == ((5000, 28, 28), np.uint8, np.int32)
    assert np.bincount(data.y).tolist() == [500] * 10
    assert source.pixel_convention == "ink=1.0"
    assert data.x[:, 0, :].max() == 0  # the border is background
    assert data.x.max() == 255
    assert data.clients is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            packed(b",".join([b"1"] * 785) + b"\n"),
            r"expected digits with sha256 102ee5.*found [0-9a-f]{64} in .*digits",
        ),
        (packed(b"1,2,3\n"), r"expected lines of 785 numbers in .*, found 3 numbers"),
        (packed(b"no numbers"), r"expected lines of 785 numbers"),
        (packed(b""), r"expected lines of 785 numbers"),
        (b"not gzip", r"cannot read .*digits"),
        (packed(b"1" * 9999)[:-12], r"cannot read .*digits"),
        (None, r"cannot read .*digits"),
    ],
)
def test_other_digits_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "digits.csv.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_digits(path)
    assert "\n" not in str(caught.value)
