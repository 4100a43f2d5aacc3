"""Warnings of a run that finished and whose result is doubtful all the same: each says what was
seen, and the setting that helps.

They change nothing: the exit code stays 0. They are shown in the run's table, in its report and in
the tag `fedpipe.warnings`.
"""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind
from fedpipe.errors import shorten
from fedpipe.metric_names import ALLOWED
from fedpipe.runs.step_results import EvalRef, TrainRef

if TYPE_CHECKING:
    from fedpipe.data.manifest import Manifest
    from fedpipe.data.population import Population

"""The tag that holds the run's warnings, a line each."""
_EXPLODED = 10.0
"""Factor above its first value at which a loss has exploded."""
_NOISE = 1e-3
"""Relative rise of a loss that says nothing."""
_SPREAD = 1000.0
"""Ratio of the largest to the smallest column, by the largest |x| of each, above which features are
unscaled.
"""
_LARGE = 100.0
"""The largest |x| of a column above which features are unscaled, whatever the others are."""
_MANY_CLASSES = 100
_FEW_EXAMPLES = 10
"""Whole numbers as labels look like a quantity: so many classes, with fewer test examples each than
this.
"""
_RATES = "client.learning_rate or server.learning_rate"

Row = Mapping[str, float]


@dataclass(frozen=True)
class RunWarning:
    """One warning.

    Attributes:
        what: what was seen, a sentence.
        help: the setting or the step that helps, a sentence.
    """

    what: str
    help: str

    def __str__(self) -> str:
        return f"{self.what} {self.help}"


def find_warnings(
    trained: TrainRef,
    evaluated: EvalRef,
    population: "Callable[[], Population]",
    kind: TaskKind = "classification",
) -> list[RunWarning]:
    """Return what makes the result of a finished run doubtful, the gravest first.

    Args:
        trained: its training; the table of rounds is read.
        evaluated: its evaluation; the tables of confusion, labels and targets are read where they
            were made.
        population: opens its data.
        kind: of the task.

    Raises:
        OSError, ValueError, DataError: a table or the data cannot be read.
    """
    from fedpipe.tracking.journal import read_refused

    with Path(trained.rounds_table).open(encoding="utf-8", newline="") as file:
        rows = [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    warnings = [*loss_warnings(rows), *not_a_number_warnings(rows, evaluated)]
    refused = read_refused(Path(trained.run_dir))
    if refused:
        text = f"The store refused {len(refused)} values: {shorten(refused, 3)}."
        warnings.append(
            RunWarning(
                text,
                f"Rename them (a name may have {ALLOWED}); their values are in tables/rounds.csv.",
            )
        )
    data = population()
    if kind == "regression":
        warnings += target_warnings(evaluated)
    elif kind == "multilabel":
        warnings += never_predicted_warnings(evaluated)
    else:
        warnings += one_class_warnings(evaluated, data)
    examples = data.central_test()
    warnings += feature_warnings(examples.x, _feature_names(data.manifest))
    warnings += label_warnings(data.manifest, examples.y)
    return warnings


def _feature_names(manifest: "Manifest") -> tuple[str, ...]:
    """Return the names of the columns that a model takes; none where features are no columns."""
    if manifest.steps is not None:
        return manifest.steps.result
    if manifest.understood is not None:
        return manifest.understood.columns
    return ()


def loss_warnings(rows: Sequence[Row]) -> Iterator[RunWarning]:
    """Yield a warning where a loss of the server's weights ends above where it began, or exploded
    on the way.

    Args:
        rows: of the rounds, with `round`, `test_loss` and `validation_loss`.
    """
    for split in ("test", "validation"):
        losses = [
            (int(row["round"]), row[f"{split}_loss"])
            for row in rows
            if math.isfinite(row.get(f"{split}_loss", math.nan))
        ]
        if len(losses) < 2:
            continue
        (_, first), (_, last) = losses[0], losses[-1]
        worst_round, worst = max(losses, key=lambda pair: pair[1])
        if last > first + _NOISE * abs(first):
            text = (
                f"The {split} loss ended above where it began: {first:.4g} before training, "
                f"{last:.4g} after the last round."
            )
            yield RunWarning(text, f"Lower {_RATES}, or scale the features.")
            return
        if first > 0 and worst > _EXPLODED * first:
            text = (
                f"The {split} loss exploded on the way: {first:.4g} before training, {worst:.4g} "
                f"after round {worst_round}."
            )
            yield RunWarning(text, f"Lower {_RATES}.")
            return


def not_a_number_warnings(rows: Sequence[Row], evaluated: EvalRef) -> Iterator[RunWarning]:
    """Yield a warning where a loss or the metric that chooses is no finite number."""
    names = ("loss", evaluated.metric)
    broken: dict[str, int] = {}
    for row in rows:
        for key, value in row.items():
            if key.endswith(tuple(f"_{name}" for name in names)) and not math.isfinite(value):
                broken.setdefault(key.replace("_", "/", 1), int(row["round"]))
    for which, figures in (("final", evaluated.final), ("best", evaluated.best or {})):
        for key, value in figures.items():
            if key.endswith(tuple(f"/{name}" for name in names)) and not math.isfinite(value):
                broken.setdefault(f"{which}/{key}", -1)
    if broken:
        places = [
            key if number < 0 else f"{key} (first in round {number})"
            for key, number in broken.items()
        ]
        yield RunWarning(
            f"Not a finite number: {shorten(places, 4)}.", f"Lower {_RATES}, or scale the features."
        )


def one_class_warnings(evaluated: EvalRef, population: "Population") -> Iterator[RunWarning]:
    """Yield a warning where the model gives one answer to all test examples, though they have
    several.
    """
    from fedpipe.models.input_facts import shown_names
    from fedpipe.tables.confusion import read_confusion
    from fedpipe.tables.texts import drawn

    if not Path(evaluated.confusion_counts).exists():
        return
    names = shown_names(population.manifest)
    confusion = read_confusion(Path(evaluated.confusion_counts), names)
    predicted = confusion.predicted_classes()
    if (
        len(predicted) == 1
        and confusion.num_classes > 1
        and np.count_nonzero(confusion.examples()) > 1
    ):
        text = (
            f"The model predicts the class '{drawn(names[int(predicted[0])])}' for all "
            f"{confusion.total} test examples."
        )
        yield RunWarning(text, f"Train for more rounds, change {_RATES}, or scale the features.")


def target_warnings(evaluated: EvalRef) -> Iterator[RunWarning]:
    """Yield a warning where the predictions of a target are all alike, or worse than its mean."""
    from fedpipe.tables.kinds import TARGETS
    from fedpipe.tables.regression import read_target_scores
    from fedpipe.tables.texts import drawn

    path = _kind_table(evaluated, TARGETS)
    if path is None:
        return
    constant = []
    worse = []
    for score in read_target_scores(path):
        if score.predicted_std <= _NOISE * score.std:
            constant.append(f"'{drawn(score.target)}' ({score.predicted_mean:.4g})")
        elif score.r2 is not None and score.r2 < 0:
            worse.append(f"'{drawn(score.target)}' (R2 {score.r2:.3f})")
    help_text = f"Train for more rounds, change {_RATES}, or scale features and targets."
    if constant:
        yield RunWarning(
            f"The model predicts the same number for all test examples: {shorten(constant, 4)}.",
            help_text,
        )
    if worse:
        yield RunWarning(
            "The predictions for the test examples are worse than the mean of the target: "
            f"{shorten(worse, 4)}.",
            help_text,
        )


def never_predicted_warnings(evaluated: EvalRef) -> Iterator[RunWarning]:
    """Yield a warning where labels that test examples have are predicted of none of them."""
    from fedpipe.tables.kinds import LABELS
    from fedpipe.tables.multilabel import read_label_scores
    from fedpipe.tables.texts import drawn

    path = _kind_table(evaluated, LABELS)
    if path is None:
        return
    scores = read_label_scores(path)
    never = [
        f"'{drawn(score.label)}'" for score in scores if score.examples and not score.predicted
    ]
    if never:
        yield RunWarning(
            f"{len(never)} of {len(scores)} labels are predicted of no test example: "
            f"{shorten(never, 4)}.",
            f"Train for more rounds, change {_RATES}, or weigh rare labels with "
            "task.class_weights.",
        )


def _kind_table(evaluated: EvalRef, name: str) -> Path | None:
    """Return the path of a table of the kind; None if it was not made."""
    for path in map(Path, evaluated.kind_tables):
        if path.name == name and path.exists():
            return path
    return None


def feature_warnings(x: npt.NDArray[np.generic], names: Sequence[str] = ()) -> Iterator[RunWarning]:
    """Yield a warning where columns of numbers are unscaled: large, or far apart in size.

    Args:
        x: features [examples, columns]; others than float32 of one dimension are pictures or
            tokens, and have a scale.
        names: of the columns; their numbers are said where there are none.
    """
    if x.dtype != np.float32 or x.ndim != 2 or not x.size:
        return
    sizes = np.maximum(x.max(axis=0), -x.min(axis=0)).astype(np.float64)
    used = np.flatnonzero(sizes > 0)
    if not len(used):
        return
    high = int(used[sizes[used].argmax()])
    low = int(used[sizes[used].argmin()])
    if sizes[high] <= _LARGE and sizes[high] <= _SPREAD * sizes[low]:
        return

    def shown(column: int) -> str:
        name = f"'{names[column]}'" if len(names) == x.shape[1] else f"column {column + 1}"
        return f"{name} up to {sizes[column]:.4g}"

    both = shown(high) if high == low else f"{shown(low)}, {shown(high)}"
    yield RunWarning(
        f"Features are unscaled, by the largest |x| of a column of the test examples: {both}.",
        "Set data.preprocess=[{name: standardize}], leave columns out with data.ignore_columns, or "
        "lower client.learning_rate.",
    )


def label_warnings(
    manifest: "Manifest", labels: npt.NDArray[np.int32] | npt.NDArray[np.float32]
) -> Iterator[RunWarning]:
    """Yield a warning where classes look like a number to predict: hundreds of whole numbers, few
    examples each. Of other kinds than classification there is none.
    """
    if manifest.kind != "classification":
        return
    names = manifest.vocabulary or ()
    is_number = all(name.lstrip("-").isdecimal() for name in names)
    examples = sum(manifest.examples.values())
    if (
        manifest.num_classes > _MANY_CLASSES
        and is_number
        and len(labels)
        and examples < _FEW_EXAMPLES * manifest.num_classes
    ):
        yield RunWarning(
            f"The labels are whole numbers, {manifest.num_classes} classes with "
            f"{examples / manifest.num_classes:.1f} examples each: they look like a quantity, and "
            "the model tells classes apart.",
            "Set task.kind=regression, name another data.label_column, or put the numbers into a "
            "few ranges before `fedpipe prepare`.",
        )
