"""Predictions for single examples, by the kind of the task, and their tables."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind
from fedpipe.inference.input_reader import InputBatch
from fedpipe.models.input_facts import InputFacts
from fedpipe.tables.csv_text import csv_text

SEPARATOR = ";"
"""Between the labels of one example in a table."""


@dataclass(frozen=True)
class Example(ABC):
    """An example of a file.

    Attributes:
        file: as it was named.
        row: number of the example in a table, from 0; None of an image.
    """

    file: str
    row: int | None

    @property
    @abstractmethod
    def text(self) -> str:
        """Return what is predicted, in one line."""

    @property
    @abstractmethod
    def columns(self) -> dict[str, str | float]:
        """Return what is predicted, by column of a table."""


@dataclass(frozen=True)
class Prediction(Example):
    """The class of an example, or the token that follows it.

    Attributes:
        label: name of the most probable class; its number where classes have no names.
        number: number of that class.
        probability: probability of that class.
        probabilities: of all classes.
    """

    label: str
    number: int
    probability: float
    probabilities: list[float]

    @property
    def text(self) -> str:
        """Return the label."""
        return self.label

    @property
    def columns(self) -> dict[str, str | float]:
        """Return the label and its probability."""
        return {"label": self.label, "probability": self.probability}


@dataclass(frozen=True)
class BinaryPrediction(Example):
    """One of two classes.

    Attributes:
        label: name of the predicted class: the positive one from a probability of 0.5 on.
        number: 1 of the positive class, else 0.
        positive: name of the positive class.
        probability: probability of the positive class.
    """

    label: str
    number: int
    positive: str
    probability: float

    @property
    def text(self) -> str:
        """Return the label."""
        return self.label

    @property
    def columns(self) -> dict[str, str | float]:
        """Return the label and the probability of the positive class."""
        return {"label": self.label, f"probability of {self.positive}": self.probability}


@dataclass(frozen=True)
class MultilabelPrediction(Example):
    """Any number of labels.

    Attributes:
        labels: names of those with a probability of at least 0.5.
        probabilities: of every label, by its name.
    """

    labels: list[str]
    probabilities: dict[str, float]

    @property
    def text(self) -> str:
        """Return the labels."""
        return SEPARATOR.join(self.labels)

    @property
    def columns(self) -> dict[str, str | float]:
        """Return the labels, and the probability of each."""
        return {"labels": self.text, **self.probabilities}


@dataclass(frozen=True)
class RegressionPrediction(Example):
    """The numbers of a regression.

    Attributes:
        values: of every target, by its name.
    """

    values: dict[str, float]

    @property
    def text(self) -> str:
        """Return the numbers in the order of the targets."""
        return ",".join(f"{value:.9g}" for value in self.values.values())

    @property
    def columns(self) -> dict[str, str | float]:
        """Return the numbers."""
        return dict(self.values)


def predictions_of(
    predicted: npt.NDArray[np.float32], batch: InputBatch, facts: InputFacts
) -> list[Example]:
    """Return the prediction for each example of a batch.

    Args:
        predicted: float32 [n, outputs] of the batch, as `SavedClassifier.predict` returns them; of
            a model that predicts after each token [n, length, outputs], the last of which counts.
        batch: the examples.
        facts: of the model.
    """
    predicted = of_last_token(predicted, batch)
    makers: dict[TaskKind, Callable[..., Example]] = {
        "binary": _binary,
        "multilabel": _multilabel,
        "regression": _regression,
    }
    make = makers.get(facts.kind, _class)
    predictions = []
    for index, values in enumerate(predicted.tolist()):
        row = None
        if batch.first_row is not None:
            row = batch.first_row + index
        predictions.append(make(str(batch.file), row, values, facts.labels))
    return predictions


def of_last_token(predicted: npt.NDArray[np.float32], batch: InputBatch) -> npt.NDArray[np.float32]:
    """Return what is predicted for each example, float32 [n, outputs]; arguments as those of
    `predictions_of`.
    """
    if predicted.ndim < 3:
        return predicted
    last = np.maximum((batch.x != 0).sum(axis=1) - 1, 0)
    return np.asarray(predicted[np.arange(len(predicted)), last])


def predictions_csv(predictions: Sequence[Example]) -> str:
    """Return a line for each example: its file, its row, and what is predicted."""
    if not predictions:
        return csv_text(["file", "row"], [])
    rows: list[list[Any]] = []
    for prediction in predictions:
        row = "" if prediction.row is None else prediction.row
        rows.append([prediction.file, row, *prediction.columns.values()])
    return csv_text(["file", "row", *predictions[0].columns], rows)


def _class(file: str, row: int | None, values: list[float], names: Sequence[str]) -> Prediction:
    best = int(np.argmax(values))
    return Prediction(file, row, _name(names, best), best, values[best], values)


def _binary(
    file: str, row: int | None, values: list[float], names: Sequence[str]
) -> BinaryPrediction:
    probability = values[0]
    number = int(probability >= 0.5)
    return BinaryPrediction(file, row, _name(names, number), number, _name(names, 1), probability)


def _multilabel(
    file: str, row: int | None, values: list[float], names: Sequence[str]
) -> MultilabelPrediction:
    named = _named(values, names)
    labels = [name for name, probability in named.items() if probability >= 0.5]
    return MultilabelPrediction(file, row, labels, named)


def _regression(
    file: str, row: int | None, values: list[float], names: Sequence[str]
) -> RegressionPrediction:
    return RegressionPrediction(file, row, _named(values, names))


def _named(values: list[float], names: Sequence[str]) -> dict[str, float]:
    return {_name(names, number): value for number, value in enumerate(values)}


def _name(names: Sequence[str], number: int) -> str:
    """Return the name of an output; its number where it has none."""
    if number < len(names):
        return names[number]
    return str(number)
