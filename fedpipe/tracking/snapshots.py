"""Policy which rounds' weights a run keeps; `journaled_run.py` writes them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedpipe.engine.early_stopping import BestRound
from fedpipe.tasks.score import ACCURACY, Score
from fedpipe.types import RoundReport, Weights


@dataclass(frozen=True)
class Snapshot:
    """The weights after one round, and their score there (None without evaluation, or if NaN)."""

    round_num: int
    score: float | None
    weights: Weights
    score_name: str = ACCURACY.test


class SnapshotPolicy:
    """Chooses the weights to keep: round 0, every `save_every` rounds, the best and the last.

    The best is the earliest round with the best score of the validation examples, and results are
    reported for it. Without validation examples it is that of the best test score: a record and no
    more, results are reported for the last round.
    """

    def __init__(
        self, save_every: int, best: Snapshot | None = None, score: Score = ACCURACY
    ) -> None:
        """Start before round 0, or with the best of the rounds that an earlier try ran.

        Args:
            save_every: rounds, at least 1.
            best: of an earlier try.
            score: the metric that chooses.
        """
        self._score = score
        self._save_every = save_every
        self.best = best
        self.last: Snapshot | None = None
        self._best_round = BestRound(by=score)
        if best is not None and best.score is not None:
            self._best_round = BestRound(best.round_num, best.score, best.score_name, score)

    def take(self, report: RoundReport) -> bool:
        """Note the report's weights as last, and as best if they are; return whether the round is
        one of every `save_every`.

        The weights are not copied: the maker of a report must not write into its arrays again.
        """
        name = self._score.best_by(report.metrics)
        score = report.metrics.get(name)
        if score is not None and math.isnan(score):
            score = None  # A diverged model is not the best, and JSON has no NaN.
        self.last = Snapshot(report.round_num, score, report.weights, name)
        if self._best_round.add(report.round_num, report.metrics):
            self.best = self.last
        return report.round_num % self._save_every == 0


def index_entry(snapshot: Snapshot, sha256: str) -> Mapping[str, Any]:
    """Return the entry of one file in `weights/index.json`."""
    return {"round": snapshot.round_num, snapshot.score_name: snapshot.score, "sha256": sha256}


def index_body(
    files: Mapping[str, Any], best: Snapshot | None, score: Score = ACCURACY
) -> Mapping[str, Any]:
    """Return the content of `weights/index.json`: the files, and the score of the best."""
    name = best.score_name if best else score.test
    why = ", a record only: the test set chose it" if name == score.test else ""
    return {"best_by": name + why, "files": files}
