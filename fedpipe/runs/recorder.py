"""Files that a training leaves for the next steps: first, best and last weights, and a table of
its rounds.
"""

from pathlib import Path

from fedpipe.engine.early_stopping import BestRound, EarlyStopping
from fedpipe.models.weights_io import save_weights
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.json_lines import append_line, repaired_lines
from fedpipe.tables.rounds import rounds_csv
from fedpipe.tasks.score import ACCURACY, Score
from fedpipe.types import RoundReport


class Recorder:
    """A `RoundSink` that keeps the rounds' metrics, a line each on disk, and writes the files of a
    finished training.

    Where there are validation examples they choose: the best round is the earliest with the best
    score (`task.choose_by`).
    """

    def __init__(self, run_dir: Path, patience: int | None = None, score: Score = ACCURACY) -> None:
        """Take the run's folder; rounds that an earlier try of the run left there are kept.

        Args:
            run_dir: the folder.
            patience: rounds without a better one after which training stops; None never stops it.
            score: the metric that chooses.
        """
        self.initial_weights = run_dir / "initial.safetensors"
        self.best_weights = run_dir / "best.safetensors"
        self.final_weights = run_dir / "final.safetensors"
        self.rounds_table = run_dir / "rounds.csv"
        self._lines = run_dir / "rounds.jsonl"
        self._rows: dict[int, dict[str, float]] = {
            int(row["round"]): row for row in repaired_lines(self._lines)
        }
        self._last: RoundReport | None = None
        self._best = BestRound(by=score)
        self._early_stopping = EarlyStopping(self._best, patience)
        for number in sorted(self._rows):
            self._best.add(number, self._rows[number])

    def round_done(self, report: RoundReport) -> None:
        """Keep the round; write the initial weights at round 0, the best at each that is. A round
        that is there already is skipped.
        """
        self._last = report
        if report.round_num in self._rows:
            return
        if report.round_num == 0:
            save_weights(self.initial_weights, report.weights)
        # The round's own figures, such as its seconds, differ from run to run; this table is the
        # same for the same run.
        failed = {"round/failed": float(len(report.failed))} if report.round_num else {}
        self._rows[report.round_num] = {"round": report.round_num, **report.metrics, **failed}
        # The weights before the line: if the process dies in between, the round is run again and
        # they are the same.
        is_best = self._best.add(report.round_num, self._rows[report.round_num])
        if is_best and self._best.chosen is not None:
            save_weights(self.best_weights, report.weights)
        append_line(self._lines, self._rows[report.round_num])

    @property
    def last_round(self) -> int:
        """Return the last round that was reported."""
        if self._last:
            return self._last.round_num
        return 0

    @property
    def best_round(self) -> int | None:
        """Return the best round; None where nothing was validated."""
        return self._best.chosen_after(self.last_round)

    def is_last(self, report: RoundReport) -> bool:
        """Return whether training stops early after this round, see `EarlyStopping`."""
        return self._early_stopping.should_stop(report.round_num, self._rows)

    def finish(self) -> None:
        """Write the final weights and the table of rounds."""
        if self._last is not None:
            save_weights(self.final_weights, self._last.weights)
            write_atomic(
                self.rounds_table, rounds_csv([self._rows[number] for number in sorted(self._rows)])
            )
