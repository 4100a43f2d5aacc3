"""The data of scikit-learn's `load_diabetes` (Efron et al. 2004), given to 20 clinics by age, with some noise."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_diabetes

from fedpipe.config import DataConfig
from fedpipe.data.sources import Batch, Source
from fedpipe.seeding import generator

CLINICS = 20


def patients(config: DataConfig, project: Path) -> Source:
    """442 patients: ten measurements; the target is a measure of the disease one year later, 25 to 346."""
    table = load_diabetes(scaled=False)
    age = table.data[:, 0]
    draw = generator(config.seed, "clinics")
    order = np.argsort(age + draw.normal(scale=age.std(), size=len(age)))
    clinic = np.empty(len(age), np.int64)
    clinic[order] = np.arange(len(age)) * CLINICS // len(age)

    def batches() -> Iterator[Batch]:
        yield Batch(
            table.data.astype(np.float32),
            table.target.astype(np.float32),
            clients=[f"clinic{number:02}" for number in clinic],
        )

    return Source(batches)
