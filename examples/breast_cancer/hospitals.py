"""The data of scikit-learn's `load_breast_cancer` (Wisconsin, Street et al. 1993), given to 20 hospitals.

The table names no hospitals. They are made here: patients in the order of their tumour's mean radius, with some noise, so that hospitals
differ as those of real life do.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

from fedpipe.config import DataConfig
from fedpipe.data.sources import Batch, Source
from fedpipe.seeding import generator

HOSPITALS = 20


def patients(config: DataConfig, project: Path) -> Source:
    """569 patients: 30 measurements; the label is 1 for a benign tumour."""
    table = load_breast_cancer()
    radius = table.data[:, 0]
    draw = generator(config.seed, "hospitals")
    order = np.argsort(radius + draw.normal(scale=radius.std(), size=len(radius)))
    hospital = np.empty(len(radius), np.int64)
    hospital[order] = np.arange(len(radius)) * HOSPITALS // len(radius)

    def batches() -> Iterator[Batch]:
        yield Batch(
            table.data.astype(np.float32),
            table.target.astype(np.int32),
            clients=[f"hospital{number:02}" for number in hospital],
        )

    return Source(batches)
