"""The best round of a training, and when training stops early.

The best round is the earliest with the best score of validation examples. Without any, it is
that of the best test score: a record and no more, which neither chooses weights nor stops a
training. Which metric is the score: `fedpipe.tasks.score`.
"""

import math
from collections.abc import Mapping

from fedpipe.tasks.score import ACCURACY, Score


class BestRound:
    """The best round so far; rounds are added in ascending order.

    Attributes:
        round_num: of the best round; None before a round has a score.
        score: of that round.
        score_name: key of the score among the metrics; None where an earlier version wrote the
            score without it.

    >>> best = BestRound()
    >>> scores = [0.1, 0.5, float("nan"), 0.5, 0.6]
    >>> [best.add(number, {"validation/accuracy": score}) for number, score in enumerate(scores)]
    [True, True, False, False, True]
    >>> best.round_num, best.chosen_after(3), best.chosen_after(4)
    (4, 1, 4)
    """

    def __init__(
        self,
        round_num: int | None = None,
        score: float | None = None,
        score_name: str | None = None,
        by: Score = ACCURACY,
    ) -> None:
        """Start without a round, or with the best of the rounds that an earlier try ran.

        `by`: the metric that chooses.
        """
        self.round_num = round_num
        self.score = by.worst if score is None else score
        self.score_name = by.test if round_num is None else score_name
        self._by = by
        self._chosen_after: dict[int, int | None] = {}

    def add(self, round_num: int, metrics: Mapping[str, float]) -> bool:
        """Return whether the round is the best so far.

        Args:
            round_num: 0 for the initial state.
            metrics: of the round; one without a score, or with one that is no number, is not best.
        """
        name = self._by.best_by(metrics)
        score = metrics.get(name, math.nan)
        # Any validation score is better than a test score.
        is_best = math.isfinite(score) and self._by.is_better(score, self.score)
        if math.isfinite(score) and self.score_name not in (name, None):
            is_best = name == self._by.validation
        if is_best:
            self.round_num = round_num
            self.score = score
            self.score_name = name
        self._chosen_after[round_num] = self.chosen
        return is_best

    @property
    def key(self) -> str:
        """Return the key of the score of validation examples."""
        return self._by.validation

    @property
    def chosen(self) -> int | None:
        """Return the best round if validation examples chose it, else None."""
        if self._is_chosen:
            return self.round_num
        return None

    @property
    def _is_chosen(self) -> bool:
        return self.score_name == self._by.validation

    def chosen_after(self, round_num: int) -> int | None:
        """Return what `chosen` was after this round was added."""
        return self._chosen_after.get(round_num)


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
        best = self._best.chosen_after(round_num)
        if self._patience is None or best is None or self._best.key not in metrics[round_num]:
            return False
        since = range(best + 1, round_num + 1)
        trained = [number for number in since if not metrics.get(number, {}).get("cohort/skipped")]
        return len(trained) >= self._patience
