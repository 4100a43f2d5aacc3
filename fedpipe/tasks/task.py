"""A task as fedpipe sees it: the kind of its labels, a loss to minimize, and metrics to judge by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedpipe.config.task import TaskKind

Loss = Callable[[Any, Any], Any]
"""(outputs float32 [n, outputs], targets) -> loss of each example float32 [n], in TensorFlow ops that
can be differentiated by the outputs. Targets are int32 [n] of classification and tokens, int32 [n]
(0 or 1) of binary, float32 [n, outputs] of multilabel (0 or 1) and of regression.
"""


class Metric(Protocol):
    """What some examples say of a model, computed from sums, so that it merges exactly over clients.

    Attributes:
        name: key of the metric after the split, such as `auroc`.
        higher_is_better: which way is better.
    """

    name: str
    higher_is_better: bool

    def sums(self, outputs: npt.NDArray[np.float32], targets: npt.NDArray[Any]) -> Any:
        """Return sums of examples that are all that `value` needs; those of two sets of examples are
        joined by `merge`.

        Args:
            outputs: float32 [n, outputs], of the model: logits or predicted numbers.
            targets: as those of a `Loss`.
        """

    def merge(self, left: Any, right: Any) -> Any:
        """Return the sums of two sets of examples together."""

    def value(self, sums: Any) -> float | None:
        """Return the metric; None where it does not exist for these examples, as an AUC of one class."""


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        kind: of the labels.
        outputs: size of the last axis of the model's outputs: classes; 1 for binary; labels of
            multilabel; targets of regression; tokens.
        output_names: name of each output; of binary the two classes'.
        loss: the loss that clients minimize.
        is_cross_entropy: whether `loss` is the plain cross-entropy of classes, which has an op of its own.
        metrics: the kind's own and those of `task.metrics`, in this order; `loss` is not among them.
        choose_by: name of the metric that chooses, or `loss`.
        higher_is_better: which way of it is better.
    """

    kind: TaskKind
    outputs: int
    output_names: tuple[str, ...]
    loss: Loss
    is_cross_entropy: bool
    metrics: tuple[Metric, ...]
    choose_by: str
    higher_is_better: bool
