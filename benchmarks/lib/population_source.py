"""A source of any number of clients: 20 digits each, drawn from mnist5k, each moved by up to two pixels.

Also a worked example of a user's own source: `data.source: benchmarks.lib.population_source:shifted_digits`, `data.clients: N`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.sources import SOURCES, Batch, Source
from fedpipe.seeding import generator

EXAMPLES_PER_CLIENT, MOST_SHIFT, CLIENTS_PER_BATCH = 20, 2, 200


def shifted_digits(config: DataConfig, project: Path) -> Source:
    """Return the source; `data.clients` says how many clients, `data.seed` which examples."""
    clients = config.clients or 100
    return Source(lambda: _batches(config, project, clients), 10, "ink=1.0")


def _batches(config: DataConfig, project: Path, clients: int) -> Iterator[Batch]:
    (digits,) = SOURCES["mnist5k"](config, project).batches()
    x, y = np.asarray(digits.x), np.asarray(digits.y)
    padded = np.pad(x, ((0, 0), (MOST_SHIFT, MOST_SHIFT), (MOST_SHIFT, MOST_SHIFT)))
    side = x.shape[1]
    for first in range(0, clients, CLIENTS_PER_BATCH):
        numbers = range(first, min(first + CLIENTS_PER_BATCH, clients))
        rng = generator(config.seed, "population", first)
        rows = rng.integers(0, len(y), len(numbers) * EXAMPLES_PER_CLIENT)
        moves = rng.integers(0, 2 * MOST_SHIFT + 1, (2, len(rows)))
        moved = np.empty((len(rows), side, side), np.uint8)
        for down in range(2 * MOST_SHIFT + 1):
            for right in range(2 * MOST_SHIFT + 1):
                chosen = np.flatnonzero((moves[0] == down) & (moves[1] == right))
                moved[chosen] = padded[rows[chosen], down : down + side, right : right + side]
        yield Batch(
            moved, y[rows], [f"c{k:07}" for k in numbers for _ in range(EXAMPLES_PER_CLIENT)]
        )
