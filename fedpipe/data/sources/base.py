"""What every source gives: examples as columns, with or without clients of their own."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

PixelConvention = Literal["ink=1.0", "background=1.0"]


@dataclass(frozen=True)
class NaturalClients:
    """The clients and the test split that a source brings itself.

    Attributes:
        client_ids: sorted.
        owner: int32 [n], for each example the index of its client in `client_ids`.
        is_test: bool [n], or None where the source has clients and no test split.
    """

    client_ids: tuple[str, ...]
    owner: npt.NDArray[np.int32]
    is_test: npt.NDArray[np.bool_] | None


@dataclass(frozen=True)
class SourceData:
    """All examples of a source; example `i` of each array is the same example, and `i` is its `source_row` in the shards.

    Attributes:
        pixel_convention: what 1.0 means, as the source has it.
        num_classes: labels are 0..num_classes - 1.
        x: uint8 (0..255, to be divided by 255) or float32 (used as they are) [n, *feature_shape].
        y: int32 [n].
        natural: the source's own clients, or None for a pool to be partitioned.
    """

    pixel_convention: PixelConvention
    num_classes: int
    x: npt.NDArray[np.generic]
    y: npt.NDArray[np.int32]
    natural: NaturalClients | None = None

    def sha256(self) -> str:
        """Return the SHA-256 (hex) of the examples' little-endian bytes and, if natural, of their clients and test split."""
        digest = hashlib.sha256()
        for values in (self.x, self.y):
            little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
            digest.update(f"{little.dtype.str}:{little.shape}:".encode())
            digest.update(little.data)
        if self.natural is not None:
            digest.update("\0".join(self.natural.client_ids).encode())
            digest.update(self.natural.owner.astype("<i4").tobytes())
            digest.update(b"" if self.natural.is_test is None else self.natural.is_test.tobytes())
        return digest.hexdigest()
