"""Tables of a regression: the error of each target, its distribution, and examples of predicted
and true values.
"""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.seeding import generator
from fedpipe.tables.csv_text import csv_text

Floats = npt.NDArray[Any]

MOST_TARGETS = 4
"""Targets of which errors and examples are kept: the first ones."""
_MOST_EXAMPLES = 1000
_BINS = 30


@dataclass(frozen=True)
class TargetScore:
    """What predictions of one target are worth, in units of the target.

    Attributes:
        target: its name.
        examples: number of predictions.
        mean: of the true values.
        std: of the true values, standard deviation of the population.
        predicted_mean: of the predictions.
        predicted_std: of the predictions.
        rmse: root of the mean squared error.
        mae: mean absolute error.
        bias: mean of predicted minus true.
        r2: fraction of the variance that is explained; None if all true values are equal.
    """

    target: str
    examples: int
    mean: float
    std: float
    predicted_mean: float
    predicted_std: float
    rmse: float
    mae: float
    bias: float
    r2: float | None


_FIGURES = tuple(field.name for field in fields(TargetScore))[2:-1]


@dataclass(frozen=True)
class TargetErrors:
    """The distribution of one target's errors, predicted minus true.

    Attributes:
        target: its name.
        edges: float64 [bins + 1], limits of the bins, in units of the target.
        counts: int64 [bins], number of examples.
    """

    target: str
    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TargetPairs:
    """True and predicted values of one target: of at most 1,000 examples.

    Attributes:
        target: its name.
        true: float64 [examples].
        predicted: float64 [examples].
    """

    target: str
    true: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.float64]


def target_scores(predicted: Floats, true: Floats, names: Sequence[str]) -> list[TargetScore]:
    """Return the score of each target.

    Args:
        predicted: [examples, targets]; at least one example.
        true: [examples, targets].
        names: of the targets.
    """
    columns = zip(names, _columns(predicted), _columns(true), strict=True)
    return [_score(name, guess, value) for name, guess, value in columns]


def _score(
    name: str, predicted: npt.NDArray[np.float64], true: npt.NDArray[np.float64]
) -> TargetScore:
    errors = predicted - true
    squared = float(errors @ errors)
    deviations = true - true.mean()
    variation = float(deviations @ deviations)
    r2 = None
    if variation > 0:
        r2 = 1 - squared / variation
    return TargetScore(
        target=name,
        examples=len(true),
        mean=float(true.mean()),
        std=float(true.std()),
        predicted_mean=float(predicted.mean()),
        predicted_std=float(predicted.std()),
        rmse=(squared / len(true)) ** 0.5,
        mae=float(np.abs(errors).mean()),
        bias=float(errors.mean()),
        r2=r2,
    )


def target_scores_csv(scores: Sequence[TargetScore]) -> str:
    """Return a line for each target; `r2` is empty where it does not exist."""
    return csv_text([field.name for field in fields(TargetScore)], map(astuple, scores))


def read_target_scores(path: Path) -> list[TargetScore]:
    """Return the scores of the table that `target_scores_csv` wrote.

    Raises:
        ValueError, KeyError: it is another table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return [_target_score(row) for row in csv.DictReader(file)]


def _target_score(row: dict[str, str]) -> TargetScore:
    figures = {name: float(text) for name, text in row.items() if name in _FIGURES}
    r2 = None
    if row["r2"]:
        r2 = float(row["r2"])
    return TargetScore(row["target"], int(row["examples"]), **figures, r2=r2)


def residuals_csv(predicted: Floats, true: Floats, names: Sequence[str]) -> str:
    """Return the histogram of errors, predicted minus true, of the first 4 targets: a line
    `target,from,to,examples` for each of 30 bins from the least error to the largest.
    """
    rows: list[Sequence[object]] = []
    columns = zip(names[:MOST_TARGETS], _columns(predicted), _columns(true), strict=False)
    for name, guess, value in columns:
        errors = guess - value
        errors = errors[np.isfinite(errors)]
        if not len(errors):
            continue
        counts, edges = np.histogram(errors, _BINS)
        ends = edges.tolist()
        rows += [(name, *line) for line in zip(ends[:-1], ends[1:], counts.tolist(), strict=True)]
    return csv_text(["target", "from", "to", "examples"], rows)


def read_residuals(path: Path) -> list[TargetErrors]:
    """Return the histograms of the table that `residuals_csv` wrote.

    Raises:
        ValueError, KeyError: it is another table.
    """
    lines: dict[str, list[tuple[float, float, int]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            bins = lines.setdefault(row["target"], [])
            bins.append((float(row["from"]), float(row["to"]), int(row["examples"])))
    histograms = []
    for target, bins in lines.items():
        starts, ends, counts = zip(*bins, strict=True)
        edges = np.array([*starts, ends[-1]], np.float64)
        histograms.append(TargetErrors(target, edges, np.array(counts, np.int64)))
    return histograms


def predicted_csv(predicted: Floats, true: Floats, names: Sequence[str], seed: int) -> str:
    """Return `target,true,predicted` of the first 4 targets, of at most 1,000 examples, which
    `seed` draws.
    """
    examples = len(true)
    rows = np.arange(examples)
    if examples > _MOST_EXAMPLES:
        draw = generator(seed, "predicted against true")
        rows = np.sort(draw.choice(examples, _MOST_EXAMPLES, replace=False))
    lines: list[Sequence[object]] = []
    columns = zip(names[:MOST_TARGETS], _columns(predicted), _columns(true), strict=False)
    for name, guess, value in columns:
        pairs = zip(value[rows].tolist(), guess[rows].tolist(), strict=True)
        lines += [(name, *pair) for pair in pairs]
    return csv_text(["target", "true", "predicted"], lines)


def read_predicted(path: Path) -> list[TargetPairs]:
    """Return the pairs of the table that `predicted_csv` wrote.

    Raises:
        ValueError, KeyError: it is another table.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = (float(row["true"]), float(row["predicted"]))
            pairs.setdefault(row["target"], []).append(values)
    return [
        TargetPairs(target, *np.array(values, np.float64).T) for target, values in pairs.items()
    ]


def _columns(values: Floats) -> npt.NDArray[np.float64]:
    """Return the values as float64 [targets, examples]."""
    return values.reshape(len(values), -1).T.astype(np.float64)
