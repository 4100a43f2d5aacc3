"""A private algorithm with its epsilon: a metric of every round, and tags on the run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fedpipe.algorithms.accountant import Accountant
from fedpipe.algorithms.base import AlgorithmWrapper, RoundResult


@dataclass(frozen=True)
class Accounted(AlgorithmWrapper):
    """An `Algorithm` that is another one, and says what it cost. Epsilon follows from the number of
    the round, so a resumed run has the same.
    """

    accountant: Accountant
    takes_empty_cohorts: ClassVar[bool] = True
    """A round without clients is a round of noise; to skip it would tell that it had none."""

    @property
    def info(self) -> Mapping[str, str]:
        """Return what the algorithm and the accountant say."""
        return {**super().info, **self.accountant.info}

    def next(self, state: Any, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        """Return the algorithm's round with `privacy/epsilon`, of all rounds up to this one;
        without noise there is none.
        """
        result = super().next(state, round_num, cohort)
        epsilon = self.accountant.epsilon(round_num)
        if math.isinf(epsilon):
            return result
        return replace(result, metrics={**result.metrics, "privacy/epsilon": epsilon})
