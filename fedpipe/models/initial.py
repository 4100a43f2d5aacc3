"""Initial weights: each tensor is drawn by its name from the run's seed; the same seed gives the
same bits, whatever else a model has.
"""

from collections.abc import Mapping
from math import prod, sqrt

import numpy as np
import numpy.typing as npt

from fedpipe.seeding import generator
from fedpipe.types import Weights


def glorot(seed: int, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return zeros for a name that ends in `bias`, else U(-a, a) with a = sqrt(6 / (fan_in +
    fan_out)).

    Fans are counted with the field of a convolution, [*field, in, out] (Glorot and Bengio 2010,
    equation 16; what Keras does).
    """
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    field = prod(shape[:-2])
    limit = sqrt(6.0 / (field * (shape[-2] + shape[-1])))
    return generator(seed, "weights", name).uniform(-limit, limit, shape).astype(np.float32)


def he(seed: int, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return N(0, 2 / fan_in) for a kernel [*field, in, out] (He et al. 2015, arXiv 1502.01852,
    equation 10).
    """
    return (
        generator(seed, "weights", name).standard_normal(shape) * sqrt(2.0 / prod(shape[:-1]))
    ).astype(np.float32)


def glorot_weights(seed: int, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """Return `glorot` for each name and shape."""
    return {name: glorot(seed, name, shape) for name, shape in shapes.items()}
