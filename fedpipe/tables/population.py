"""The table of a population that charts are drawn from, as JSON: kept with the run, since the
shards themselves may be deleted or changed when its report is written.
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
from fedpipe.tables.thinning import evenly_spaced

MOST_CLIENTS = 100
MOST_LABELS = 60


@dataclass(frozen=True)
class PopulationTable:
    """Sizes and labels of the clients.

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


def population_table(
    figures: PopulationFigures, label_counts: LabelCounts, names: Sequence[str]
) -> PopulationTable:
    """Return the table of a population.

    Args:
        figures: of the population.
        label_counts: of the training split.
        names: names of all labels.
    """
    trained = np.flatnonzero(label_counts.sizes()).tolist()
    clients = np.array(evenly_spaced(trained, MOST_CLIENTS), np.int64)
    frequent = label_counts.most_frequent(MOST_LABELS)
    return PopulationTable(
        asdict(figures),
        tuple(names[label] for label in frequent.tolist()),
        len(names),
        len(trained),
        label_counts.rows(clients).dense(frequent).astype(np.int64),
    )


def population_json(
    figures: PopulationFigures, label_counts: LabelCounts, names: Sequence[str]
) -> str:
    """Return the table of a population as JSON; arguments as of `population_table`."""
    body = vars(population_table(figures, label_counts, names))
    return json.dumps(body | {"counts": body["counts"].tolist()}) + "\n"


def read_population(path: Path) -> PopulationTable:
    """Return the table that `population_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is another file.
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
