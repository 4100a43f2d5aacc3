"""The best round of a training, and when training stops early.

The best round is the earliest with the highest score. Only scores of validation examples stop a
training: a test score never does.
"""

import math
from collections.abc import Mapping

from fedpipe.types import VALIDATION_SCORE


class BestRound:
    """The best round after each round that was added; rounds are added in ascending order.

    >>> best = BestRound()
    >>> [best.add(number, score) for number, score in enumerate([0.1, 0.5, float("nan"), 0.5, 0.6])]
    [True, True, False, False, True]
    >>> best.after(3), best.after(4)
    (1, 4)
    """

    def __init__(self) -> None:
        """Start without a round."""
        self._score = -math.inf
        self._round: int | None = None
        self._after: dict[int, int | None] = {}

    def add(self, round_num: int, score: float) -> bool:
        """Return whether the round is the best so far.

        Args:
            round_num: 0 for the initial state.
            score: the higher, the better; NaN where the round was not evaluated.
        """
        is_best = score > self._score
        if is_best:
            self._score = score
            self._round = round_num
        self._after[round_num] = self._round
        return is_best

    def after(self, round_num: int) -> int | None:
        """Return the best of the rounds up to this one; None if none of them has a score."""
        return self._after.get(round_num)


class EarlyStopping:
    """Stops a training when its validation score has not improved for `patience` rounds."""

    def __init__(self, best: BestRound, patience: int | None) -> None:
        """Watch the best round.

        Args:
            best: to which each round is added before `should_stop` is asked about it.
            patience: in rounds; None never stops.
        """
        self._best = best
        self._patience = patience

    def should_stop(self, round_num: int, metrics: Mapping[int, Mapping[str, float]]) -> bool:
        """Return whether this round is the last: it was validated, and the best is `patience`
        rounds ago or more.

        A round that was skipped for want of clients changed nothing, and does not count.

        Args:
            round_num: the round that is done.
            metrics: of all rounds so far, by their number.
        """
        best = self._best.after(round_num)
        if self._patience is None or best is None or VALIDATION_SCORE not in metrics[round_num]:
            return False
        since = range(best + 1, round_num + 1)
        trained = [number for number in since if not metrics.get(number, {}).get("cohort/skipped")]
        return len(trained) >= self._patience
