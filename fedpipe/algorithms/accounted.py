"""A private algorithm with its epsilon: a metric of every round, and tags on the run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fedpipe.algorithms.accountant import Accountant
from fedpipe.algorithms.base import Algorithm, RoundResult
from fedpipe.types import Weights


@dataclass(frozen=True)
class Accounted:
    """An `Algorithm` that is another one, and says what it cost. Epsilon follows from the round's
    number: a run that goes on has it.
    """

    algorithm: Algorithm
    accountant: Accountant
    takes_empty_cohorts: ClassVar[bool] = (
        True  # a round without clients is a round of noise; to skip it would tell that it had none
    )

    @property
    def info(self) -> Mapping[str, str]:
        """Return what the algorithm and the accountant say."""
        return {**self.algorithm.info, **self.accountant.info}

    def initialize(self) -> Any:
        """Return the algorithm's state of round 0."""
        return self.algorithm.initialize()

    def expect(self, cohort: tuple[str, ...]) -> None:
        """Pass the hint on."""
        self.algorithm.expect(cohort)

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Return the algorithm's round with `privacy/epsilon`, of all rounds up to this one;
        without noise there is none.
        """
        result = self.algorithm.next(state, round_num, cohort)
        epsilon = self.accountant.epsilon(round_num)
        if math.isinf(epsilon):
            return result
        return replace(result, metrics={**result.metrics, "privacy/epsilon": epsilon})

    def weights(self, state: Any) -> Weights:
        """Return the algorithm's weights."""
        return self.algorithm.weights(state)
