"""Compares a model's confidence with its accuracy: the reliability diagram and the expected
calibration error of Guo et al. 2017.

Source: "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 2. The confidence of
    a prediction is the largest probability. Predictions are put into 15 bins of equal width by
    confidence, and in each bin mean confidence and accuracy are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Predictions by confidence; bin b holds confidences in (b / 15, (b + 1) / 15].

    Attributes:
        counts: int64 [15], predictions.
        correct: int64 [15], those that are right.
        confidence: float64 [15], sum of their confidences.
    """

    counts: npt.NDArray[np.int64]
    correct: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """Return the expected calibration error: the mean over predictions of |accuracy - mean
        confidence| of their bin, in 0..1.
        """
        return float(np.abs(self.correct - self.confidence).sum() / self.counts.sum())

    def rows(self) -> Iterator[tuple[float, float, int, float, float]]:
        """Return (from, to, predictions, mean confidence, accuracy) of each bin that has
        predictions.
        """
        for index in np.flatnonzero(self.counts).tolist():
            count = int(self.counts[index])
            yield (
                index / BINS,
                (index + 1) / BINS,
                count,
                float(self.confidence[index]) / count,
                int(self.correct[index]) / count,
            )


def calibrate(confidences: npt.NDArray[np.float32], hits: npt.NDArray[np.bool_]) -> Calibration:
    """Return the calibration of predictions with these confidences, in (0, 1], of which these are
    right.

    >>> round(calibrate(np.array([0.9, 0.9], np.float32), np.array([True, False])).error, 6)
    0.4
    """
    values = confidences.astype(np.float64)
    bins = np.clip(np.ceil(values * BINS).astype(np.int64) - 1, 0, BINS - 1)
    confidence: npt.NDArray[np.float64] = np.bincount(bins, values, minlength=BINS).astype(
        np.float64
    )
    return Calibration(
        np.bincount(bins, minlength=BINS), np.bincount(bins[hits], minlength=BINS), confidence
    )
