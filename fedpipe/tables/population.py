"""What a report shows of a run's population, as JSON: kept with the run, since the shards
themselves may be gone or changed by then.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.data.label_counts import LabelCounts
from fedpipe.data.skew import PopulationFigures

MOST_CLIENTS = 100
MOST_LABELS = 60


@dataclass(frozen=True)
class PopulationTable:
    """What is known of the clients.

    Attributes:
        figures: those of `fedpipe describe`, by name.
        labels: names of the labels that are counted, the most frequent 60.
        all_labels: how many there are.
        all_clients: how many clients have training examples.
        counts: int64 [clients, labels], training examples; of more than 100 clients as many at even
            steps through the sorted ids.
    """

    figures: dict[str, Any]
    labels: tuple[str, ...]
    all_labels: int
    all_clients: int
    counts: npt.NDArray[np.int64]


def population_json(
    figures: PopulationFigures, label_counts: LabelCounts, names: Sequence[str]
) -> str:
    """Return the table as JSON.

    Args:
        figures: of the population.
        label_counts: of the training split.
        names: of the labels.
    """
    trained = np.flatnonzero(label_counts.sizes())
    rows = np.unique(np.linspace(0, len(trained) - 1, min(MOST_CLIENTS, len(trained))).astype(int))
    frequent = label_counts.most_frequent(MOST_LABELS)
    body = {
        "figures": asdict(figures),
        "labels": [names[index] for index in frequent.tolist()],
        "all_labels": len(names),
        "all_clients": len(trained),
        "counts": label_counts.rows(trained[rows]).dense(frequent).tolist(),
    }
    return json.dumps(body) + "\n"


def read_population(path: Path) -> PopulationTable:
    """Return what `population_json` wrote. Raises ValueError, KeyError or TypeError if it is none
    of these.
    """
    body = json.loads(path.read_text(encoding="utf-8"))
    counts = np.array(body["counts"], np.int64)
    labels = tuple(map(str, body["labels"]))
    if counts.ndim != 2 or counts.shape[1] != len(labels):
        raise ValueError(
            f"expected counts [clients, {len(labels)} labels], found {list(counts.shape)}"
        )
    figures = dict(body["figures"])
    if missing := [field.name for field in fields(PopulationFigures) if field.name not in figures]:
        raise KeyError(f"expected the figures of a population, found none of {', '.join(missing)}")
    return PopulationTable(
        figures, labels, int(body["all_labels"]), int(body["all_clients"]), counts
    )
