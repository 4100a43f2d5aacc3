"""Where every random draw of fedpipe starts.

A draw is named: `generator(seed, "cohort", round_num)` depends on the names and on nothing else,
neither on what was drawn before nor on the process. So a resumed run draws what the uninterrupted
one would have drawn, and adding a draw somewhere changes no other. Imports numpy alone.
"""

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the draw called `names` under the run's `seed`.

    The value is the first 8 bytes of the SHA-256 of the names, each with its type and length, so
    that ("a", "bc") and ("ab", "c"), or 1 and "1", differ. The top bit is cleared: TensorFlow takes
    signed 64-bit seeds.

    >>> derive_seed(1, "cohort", 3) == derive_seed(1, "cohort", 3)
    True
    >>> derive_seed(1, "cohort", 3) == derive_seed(1, "cohort", "3")
    False
    """
    digest = hashlib.sha256()
    for name in (seed, *names):
        text = str(name).encode()
        digest.update(f"{type(name).__name__}:{len(text)}:".encode() + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator (PCG64) for the draw called `names` under the run's `seed`."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *names)))
