"""An algorithm that trains a part of a model, with the weights of the whole model."""

from dataclasses import dataclass
from typing import Any

from fedpipe.algorithms.base import AlgorithmWrapper
from fedpipe.models import ModelSpec
from fedpipe.models.trainable import with_frozen
from fedpipe.types import Weights


@dataclass(frozen=True)
class WithFrozen(AlgorithmWrapper):
    """An `Algorithm` that is another one, of the trained part of a model.

    Attributes:
        model: the whole model.
        frozen: the weights that are not trained.
    """

    model: ModelSpec
    frozen: Weights

    @property
    def takes_empty_cohorts(self) -> bool:
        """Return whether the algorithm is asked for rounds in which nobody reports."""
        return bool(getattr(self.algorithm, "takes_empty_cohorts", False))

    def weights(self, state: Any) -> Weights:
        """Return the weights of the whole model."""
        return with_frozen(self.model, self.algorithm.weights(state), self.frozen)
