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
MOST_TARGETS = 4
"""Targets of a regression of which the values at each client are kept: the first ones."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_LABELS = "labels"


@dataclass(frozen=True)
class TargetRanges:
    """The training values of one target of a regression at each client.

    Attributes:
        target: its name.
        quantiles: float64 [clients, 5]: least value, 25th percentile, median, 75th percentile,
            largest value, in the order of the clients of the table.
    """

    target: str
    quantiles: npt.NDArray[np.float64]


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
        groups: what `labels` are: `labels`, of a regression `tenths of TARGET`; empty of tokens,
            which have none.
        targets: of a regression.
    """

    figures: dict[str, Any]
    labels: tuple[str, ...]
    all_labels: int
    all_clients: int
    counts: npt.NDArray[np.int64]
    groups: str = _LABELS
    targets: tuple[TargetRanges, ...] = ()


def shown_clients(label_counts: LabelCounts) -> npt.NDArray[np.int64]:
    """Return the numbers of the clients of the table, int64 [clients], rising: of those with
    training examples at most 100, at even steps.
    """
    trained = np.flatnonzero(label_counts.sizes()).tolist()
    return np.array(evenly_spaced(trained, MOST_CLIENTS), np.int64)


def population_table(
    figures: PopulationFigures,
    label_counts: LabelCounts,
    names: Sequence[str],
    groups: str = _LABELS,
    targets: Sequence[TargetRanges] = (),
) -> PopulationTable:
    """Return the table of a population.

    Args:
        figures: of the population.
        label_counts: of the training split.
        names: names of all labels.
        groups: what they are.
        targets: of `shown_clients`.
    """
    frequent = label_counts.most_frequent(MOST_LABELS)
    return PopulationTable(
        asdict(figures),
        tuple(names[label] for label in frequent.tolist()),
        len(names),
        int(np.count_nonzero(label_counts.sizes())),
        label_counts.rows(shown_clients(label_counts)).dense(frequent).astype(np.int64),
        groups,
        tuple(targets),
    )


def population_json(table: PopulationTable) -> str:
    """Return the table of a population as JSON; what is as of a classification is left out."""
    body = vars(table) | {"counts": table.counts.tolist()}
    body["targets"] = {ranges.target: ranges.quantiles.tolist() for ranges in table.targets}
    if table.groups == _LABELS:
        del body["groups"]
    if not table.targets:
        del body["targets"]
    return json.dumps(body) + "\n"


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
        figures,
        labels,
        int(body["all_labels"]),
        int(body["all_clients"]),
        counts,
        str(body.get("groups", _LABELS)),
        tuple(
            TargetRanges(str(name), np.array(quantiles, np.float64).reshape(-1, len(QUANTILES)))
            for name, quantiles in body.get("targets", {}).items()
        ),
    )
