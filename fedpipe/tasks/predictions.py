"""What a model predicts for some examples, and what that is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Predictions:
    """Predictions for examples, one each, or one for each of their tokens; the first axis of all
    arrays is [predictions].

    Attributes:
        rows: int64, number of the example.
        labels: int32, the class; of multilabel and regression empty.
        predicted: int32, the predicted class: of the largest logit, of two classes 1 where the
            logit is above 0; of multilabel and regression empty.
        losses: float32, the task's loss.
        confidences: float32, probability of the predicted class; of multilabel and regression
            empty.
        outputs: float32 [predictions, outputs], of the model; None of classes, unless a metric
            needs them.
        targets: float32 [predictions, outputs], of multilabel and regression; else None.
        log_losses: float32, cross-entropy in nats, where `losses` is another; else None.
        ranks: int32, number of logits above the label's, where a metric needs it; else None.
        briers: float32, squared distance of the probabilities from the label, where a metric needs
            it; else None.
    """

    rows: npt.NDArray[np.int64]
    labels: Ints
    predicted: Ints
    losses: Floats
    confidences: Floats
    outputs: Floats | None = None
    targets: Floats | None = None
    log_losses: Floats | None = None
    ranks: Ints | None = None
    briers: Floats | None = None

    def __len__(self) -> int:
        """Return the number of predictions."""
        return len(self.rows)

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Return which are right."""
        hits: npt.NDArray[np.bool_] = self.predicted == self.labels
        return hits

    def between(self, start: int, stop: int) -> Self:
        """Return the predictions `start` to `stop - 1`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(
            **{
                name: value if value is None or not len(value) else value[start:stop]
                for name, value in values.items()
            }
        )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions one after another; there is at least one set of them."""
    columns: dict[str, Any] = {}
    for field in fields(Predictions):
        values = [getattr(predictions, field.name) for predictions in parts]
        columns[field.name] = None if values[0] is None else np.concatenate(values)
    return Predictions(**columns)
