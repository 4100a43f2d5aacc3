"""The named metrics: sums of examples, and what follows from them (docs/tasks.md)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind
from fedpipe.tasks.predictions import Predictions
from fedpipe.tasks.scores import label_losses, sigmoid, softmax
from fedpipe.tasks.task import TrainingSums

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
NOTHING: frozenset[str] = frozenset()
OUTPUTS = frozenset({"outputs"})
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Mean:
    """The mean over predictions of one value each, or a function of it.

    Attributes:
        name, higher_is_better, needs, training: as a `Metric` has them.
        values: predictions -> one value each, [n].
        of_mean: the metric from the mean.
        sums_of: name of the metric that has the same values, if it is another.
    """

    name: str
    higher_is_better: bool
    values: Callable[[Predictions], npt.NDArray[Any]]
    needs: frozenset[str] = NOTHING
    training: TrainingSums | None = None
    of_mean: Callable[[float], float] = float
    sums_of: str = ""
    always_exists: bool = True

    @property
    def family(self) -> str:
        """Return the name of its sums."""
        return f"mean_of_{self.sums_of or self.name}"

    def sums(self, predictions: Predictions) -> Floats:
        """Return the sum and the number of values, float64 [2]."""
        values = self.values(predictions)
        return np.array([values.sum(dtype=np.float64), len(values)])

    def merge(self, parts: Sequence[Floats]) -> Floats:
        """Return their sum."""
        return _sum(parts)

    def value(self, sums: Floats) -> float | None:
        """Return the metric; None of no predictions."""
        if not sums[1]:
            return None
        return self.of_mean(float(sums[0] / sums[1]))

    def parts(self, sums: Floats) -> Mapping[str, float]:
        """Return nothing."""
        del sums
        return {}


@dataclass(frozen=True)
class Counted:
    """Precision, recall, F1 or balanced accuracy, of counts by class or label.

    Attributes:
        name: as a `Metric` has it.
        of: `precision`, `recall` or `f1`.
        average: `positive`: of the second of two classes; `macro`: the mean over the classes that
            occur as label or prediction, of `recall` with `only_labelled` those with a label;
            `micro`: of the counts of all classes together.
        classes: number of classes or labels.
        training: as a `Metric` has it.
        only_labelled: see `average`.
    """

    name: str
    of: str
    average: str
    classes: int
    training: TrainingSums | None = None
    only_labelled: bool = False
    higher_is_better: bool = True
    always_exists: bool = False

    @property
    def family(self) -> str:
        """Return the name of its sums."""
        return "counts"

    @property
    def needs(self) -> frozenset[str]:
        """Return no further columns: outputs of multilabel are always there."""
        return NOTHING

    def sums(self, predictions: Predictions) -> Ints:
        """Return int64 [3, classes]: right predictions, predictions and labels of each class."""
        if predictions.targets is not None and predictions.outputs is not None:
            has_label = predictions.targets > 0.5
            predicted = predictions.outputs > 0
            counts = (has_label & predicted, predicted, has_label)
            return np.array([count.sum(axis=0) for count in counts], np.int64)
        labels = predictions.labels
        right = labels[predictions.hits]
        return np.stack(
            [
                np.bincount(values, minlength=self.classes).astype(np.int64)
                for values in (right, predictions.predicted, labels)
            ]
        )

    def merge(self, parts: Sequence[Ints]) -> Ints:
        """Return their sum."""
        return _sum(parts)

    def value(self, sums: Ints) -> float | None:
        """Return the metric; None where its denominator is 0."""
        if self.average == "positive":
            sums = sums[:, 1:]
        if self.average == "macro":
            occurs = sums[2] > 0 if self.only_labelled else (sums[1] + sums[2]) > 0
            if not occurs.any():
                return None
            values = self._ratios(sums[:, occurs].astype(np.float64))
            return float(np.nan_to_num(values, nan=0.0).mean())
        value = float(self._ratios(sums.sum(axis=1).astype(np.float64)))
        return None if math.isnan(value) else value

    def parts(self, sums: Ints) -> Mapping[str, float]:
        """Return nothing: a table has the figures of each class."""
        del sums
        return {}

    def _ratios(self, sums: Floats) -> Any:
        right, predicted, labelled = sums
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.of == "precision":
                return np.divide(right, predicted)
            if self.of == "recall":
                return np.divide(right, labelled)
            return np.divide(2 * right, predicted + labelled)


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error of `fedpipe.models.calibration` (Guo et al. 2017)."""

    training: TrainingSums | None = None
    name: str = "calibration_error"
    higher_is_better: bool = False
    always_exists: bool = True
    needs: frozenset[str] = NOTHING

    @property
    def family(self) -> str:
        """Return the name of its sums."""
        return "calibration"

    def sums(self, predictions: Predictions) -> Floats:
        """Return float64 [3, 15]: predictions, right ones, sum of confidences of each bin."""
        values = predictions.confidences.astype(np.float64)
        bins = np.clip(
            np.ceil(values * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1
        )
        rows = (None, predictions.hits.astype(np.float64), values)
        return np.stack(
            [np.bincount(bins, row, minlength=CALIBRATION_BINS).astype(np.float64) for row in rows]
        )

    def merge(self, parts: Sequence[Floats]) -> Floats:
        """Return their sum."""
        return _sum(parts)

    def value(self, sums: Floats) -> float | None:
        """Return the error; None of no predictions."""
        total = float(sums[0].sum())
        if not total:
            return None
        return float(np.abs(sums[1] - sums[2]).sum() / total)

    def parts(self, sums: Floats) -> Mapping[str, float]:
        """Return nothing."""
        del sums
        return {}


@dataclass(frozen=True)
class Histogram:
    """How many positive and negative examples have each score.

    Attributes:
        scores: distinct scores, ascending, [scores].
        positives, negatives: number of examples with each, int64 [scores].
    """

    scores: npt.NDArray[Any]
    positives: Ints
    negatives: Ints


@dataclass(frozen=True)
class Ranking:
    """Area under the ROC curve, or average precision, from a histogram with a bin for every
    distinct score; of several classes (one against the others) or labels the mean over those that
    have positive and negative examples.

    Attributes:
        name: `auroc` or `auprc`.
        kind: of the labels.
        training: as a `Metric` has it.
    """

    name: str
    kind: TaskKind
    training: TrainingSums | None = None
    higher_is_better: bool = True
    always_exists: bool = False
    needs: frozenset[str] = OUTPUTS

    @property
    def family(self) -> str:
        """Return the name of its sums."""
        return "ranking"

    def sums(self, predictions: Predictions) -> list[Histogram]:
        """Return the histogram of each class or label; of binary that of the positive class."""
        outputs = predictions.outputs
        if outputs is None:
            raise ValueError(f"{self.name}: predictions have no outputs")
        scores: npt.NDArray[Any] = outputs
        if self.kind == "classification":
            scores = softmax(outputs)
        if predictions.targets is not None:
            is_positive = predictions.targets > 0.5
        elif self.kind == "binary":
            is_positive = (predictions.labels == 1)[:, np.newaxis]
        else:
            is_positive = predictions.labels[:, np.newaxis] == np.arange(scores.shape[1])
        order = np.argsort(scores, axis=0, kind="stable")
        return [
            _histogram(scores[rows, column], is_positive[rows, column], ~is_positive[rows, column])
            for column, rows in enumerate(order.T)
        ]

    def merge(self, parts: Sequence[list[Histogram]]) -> list[Histogram]:
        """Return the histograms of all examples together."""
        if len(parts) == 1:
            return parts[0]
        merged = []
        for column in zip(*parts, strict=True):
            scores = np.concatenate([histogram.scores for histogram in column])
            positives = np.concatenate([histogram.positives for histogram in column])
            negatives = np.concatenate([histogram.negatives for histogram in column])
            order = np.argsort(scores, kind="stable")
            merged.append(_histogram(scores[order], positives[order], negatives[order]))
        return merged

    def value(self, sums: list[Histogram]) -> float | None:
        """Return the metric; None where no class or label has both kinds of examples, NaN where an
        output is NaN.
        """
        if any(
            np.isnan(histogram.scores[-1:]).any() for histogram in sums
        ):  # NaN is sorted to the end
            return math.nan
        area = _area_under_roc if self.name == "auroc" else _average_precision
        values = [
            area(histogram.positives.astype(np.float64), histogram.negatives.astype(np.float64))
            for histogram in sums
            if histogram.positives.any() and histogram.negatives.any()
        ]
        if not values:
            return None
        return float(np.mean(values))

    def parts(self, sums: list[Histogram]) -> Mapping[str, float]:
        """Return nothing: a table has the figures of each class or label."""
        del sums
        return {}


def _histogram(
    scores: npt.NDArray[Any], positives: npt.NDArray[Any], negatives: npt.NDArray[Any]
) -> Histogram:
    """Return the histogram of ascending scores, each of which may be there several times."""
    if not len(scores):
        return Histogram(scores, np.zeros(0, np.int64), np.zeros(0, np.int64))
    starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))
    counts = [np.add.reduceat(values.astype(np.int64), starts) for values in (positives, negatives)]
    return Histogram(scores[starts], *counts)


def _area_under_roc(positives: Floats, negatives: Floats) -> float:
    """Return the probability that a positive example has a higher score than a negative one, ties
    counted half (Mann and Whitney 1947).
    """
    below = np.cumsum(negatives) - negatives
    pairs = positives @ (below + negatives / 2)
    return float(pairs / (positives.sum() * negatives.sum()))


def _average_precision(positives: Floats, negatives: Floats) -> float:
    """Return the sum over falling scores of (gain in recall) x precision."""
    is_used = positives + negatives > 0
    positives = positives[is_used]
    negatives = negatives[is_used]
    right = np.cumsum(positives[::-1])
    all_above = right + np.cumsum(negatives[::-1])
    return float(positives[::-1] @ (right / all_above) / right[-1])


@dataclass(frozen=True)
class Regression:
    """RMSE, MAE or R2: of each target, and their mean.

    The sums of a target are the number of examples, mean and squared deviations of the target
    (joined as Chan et al. 1979 have it, which loses no digits), squared and absolute errors.

    Attributes:
        name: `rmse`, `mae` or `r2`.
        names: of the targets.
        training: as a `Metric` has it.
    """

    name: str
    names: tuple[str, ...]
    training: TrainingSums | None = None
    needs: frozenset[str] = OUTPUTS

    @property
    def family(self) -> str:
        """Return the name of its sums."""
        return "errors"

    @property
    def higher_is_better(self) -> bool:
        """Return whether it is R2."""
        return self.name == "r2"

    @property
    def always_exists(self) -> bool:
        """Return whether it is not R2, which equal targets do not have."""
        return self.name != "r2"

    def sums(self, predictions: Predictions) -> Floats:
        """Return float64 [5, targets]."""
        if predictions.outputs is None or predictions.targets is None:
            raise ValueError(f"{self.name}: predictions have no targets")
        targets = predictions.targets.astype(np.float64)
        if not len(targets):
            return np.zeros((5, targets.shape[1]))
        errors = predictions.outputs.astype(np.float64) - targets
        mean = targets.mean(axis=0)
        return np.stack(
            [
                np.full(targets.shape[1], float(len(targets))),
                mean,
                ((targets - mean) ** 2).sum(axis=0),
                (errors**2).sum(axis=0),
                np.abs(errors).sum(axis=0),
            ]
        )

    def merge(self, parts: Sequence[Floats]) -> Floats:
        """Return the sums of all examples together."""
        stacked = np.stack(parts)
        counts = stacked[:, 0]
        total = counts.sum(axis=0)
        mean = (counts * stacked[:, 1]).sum(axis=0) / np.maximum(total, 1)
        between = (counts * (stacked[:, 1] - mean) ** 2).sum(axis=0)
        return np.stack(
            [
                total,
                mean,
                stacked[:, 2].sum(axis=0) + between,
                stacked[:, 3].sum(axis=0),
                stacked[:, 4].sum(axis=0),
            ]
        )

    def value(self, sums: Floats) -> float | None:
        """Return the mean over targets; None where there is none, as R2 of equal targets."""
        if np.isnan(sums[3:]).any():  # outputs that are no numbers
            return math.nan
        values = self._of_targets(sums)
        values = values[~np.isnan(values)]
        if not len(values):
            return None
        return float(values.mean())

    def parts(self, sums: Floats) -> Mapping[str, float]:
        """Return the metric of each of several targets."""
        if len(self.names) == 1:
            return {}
        return {
            f"{self.name}_{name}": float(value)
            for name, value in zip(self.names, self._of_targets(sums), strict=True)
            if not math.isnan(value)
        }

    def _of_targets(self, sums: Floats) -> Floats:
        count, _, deviations, squared, absolute = sums
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.name == "rmse":
                return np.asarray(np.sqrt(squared / count))
            if self.name == "mae":
                return np.asarray(absolute / count)
            return np.where(deviations > 0, 1.0 - squared / deviations, np.nan)


@dataclass(frozen=True)
class OfAllExamples:
    """A metric that is no function of sums, such as one of Keras' or of the user's own: outputs and
    targets are kept, and it is computed from those of all examples together.

    Attributes:
        name, higher_is_better: as a `Metric` has them.
        function: (outputs or probabilities, targets) -> the metric; None or NaN where it does not
            exist.
    """

    name: str
    higher_is_better: bool
    function: Callable[[npt.NDArray[Any], npt.NDArray[Any]], float | None]
    training: TrainingSums | None = None
    always_exists: bool = False
    needs: frozenset[str] = OUTPUTS

    @property
    def family(self) -> str:
        """Return the name of its sums."""
        return "all examples"

    def sums(self, predictions: Predictions) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return outputs and targets."""
        if predictions.outputs is None:
            raise ValueError(f"{self.name}: predictions have no outputs")
        if predictions.targets is None:
            return predictions.outputs, predictions.labels
        return predictions.outputs, predictions.targets

    def merge(
        self, parts: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return outputs and targets of all examples."""
        outputs, targets = zip(*parts, strict=True)
        return np.concatenate(outputs), np.concatenate(targets)

    def value(self, sums: tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> float | None:
        """Return the metric; None where it does not exist, NaN where an output is NaN."""
        if not len(sums[0]):
            return None
        if np.isnan(sums[0]).any():
            return math.nan
        value = self.function(*sums)
        if value is None or math.isnan(value):
            return None
        return float(value)

    def parts(self, sums: Any) -> Mapping[str, float]:
        """Return nothing."""
        del sums
        return {}


def hits_of(predictions: Predictions) -> npt.NDArray[Any]:
    """Return which predictions are right."""
    return predictions.hits


def label_hits_of(predictions: Predictions) -> Floats:
    """Return the fraction of each example's labels that is right."""
    outputs, targets = _outputs_and_targets(predictions)
    fractions: Floats = ((outputs > 0) == (targets > 0.5)).mean(axis=1)
    return fractions


def log_losses_of(predictions: Predictions) -> npt.NDArray[Any]:
    """Return the cross-entropy of each prediction in nats; of labels the mean."""
    if predictions.targets is not None:
        outputs, targets = _outputs_and_targets(predictions)
        losses: Floats = label_losses(outputs, targets).mean(axis=1)
        return losses
    if predictions.outputs is not None and predictions.outputs.shape[1] == 1:
        labels = predictions.labels[:, np.newaxis]
        return label_losses(predictions.outputs, labels)[:, 0]
    if predictions.log_losses is not None:
        return predictions.log_losses
    return predictions.losses


def briers_of(predictions: Predictions) -> npt.NDArray[Any]:
    """Return the squared distance of the probabilities from the label: of binary and labels (p -
    y)^2, of classes the sum over classes (Brier 1950).
    """
    if predictions.targets is not None:
        outputs, targets = _outputs_and_targets(predictions)
        distances: Floats = ((sigmoid(outputs) - targets) ** 2).mean(axis=1)
        return distances
    if predictions.outputs is not None and predictions.outputs.shape[1] == 1:
        return (sigmoid(predictions.outputs)[:, 0] - predictions.labels) ** 2
    if predictions.briers is None:
        raise ValueError("brier: predictions have no squared distances")
    return predictions.briers


def within(top: int) -> Callable[[Predictions], npt.NDArray[Any]]:
    """Return what tells which labels are among the `top` largest logits."""

    def values(predictions: Predictions) -> npt.NDArray[Any]:
        if predictions.ranks is None:
            raise ValueError(f"top_{top}_accuracy: predictions have no ranks")
        is_within: npt.NDArray[Any] = predictions.ranks < top
        return is_within

    return values


def _sum(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    total: npt.NDArray[Any] = np.add.reduce(parts)
    return total


def _outputs_and_targets(
    predictions: Predictions,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if predictions.outputs is None or predictions.targets is None:
        raise ValueError("expected predictions with outputs and targets, found some without")
    return predictions.outputs, predictions.targets
