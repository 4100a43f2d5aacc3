"""What a training leaves on disk for the next steps: its first, best and last weights and a table
of its rounds.
"""

import json
from pathlib import Path

from fedpipe.models.weights_io import save_weights
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tables.rounds import rounds_csv
from fedpipe.types import VALIDATION_SCORE, RoundReport


class Recorder:
    """A `RoundSink` that keeps the rounds' metrics, a line each on disk, and writes the files of a
    finished training.

    Where there are validation examples they choose: the best round is the earliest with the highest
    `validation/accuracy`.
    """

    def __init__(self, run_dir: Path, patience: int | None = None) -> None:
        """Take the run's folder; rounds that an earlier try of the run left there are kept.

        `patience`: rounds without a better one after which `is_last` says so; None is never.
        """
        self.initial_weights = run_dir / "initial.safetensors"
        self.best_weights = run_dir / "best.safetensors"
        self.final_weights = run_dir / "final.safetensors"
        self.rounds_table = run_dir / "rounds.csv"
        self._lines = run_dir / "rounds.jsonl"
        self._patience = patience
        self._rows = _whole_rows(self._lines)
        self._last: RoundReport | None = None
        self._best: tuple[float, int] | None = None
        self._best_at: dict[int, int | None] = {}
        for number in sorted(self._rows):
            self._note(number)

    def round_done(self, report: RoundReport) -> None:
        """Keep the round; write the initial weights at round 0, the best at each that is. A round
        that is there is passed over.
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
        if self._note(report.round_num) == report.round_num:
            save_weights(self.best_weights, report.weights)
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._rows[report.round_num]) + "\n")

    @property
    def last_round(self) -> int:
        """Return the last round that was reported."""
        if self._last:
            return self._last.round_num
        return 0

    @property
    def best_round(self) -> int | None:
        """Return the best round; None where nothing was validated."""
        return self._best_at.get(self.last_round)

    def is_last(self, report: RoundReport) -> bool:
        """Return whether training should stop: the round was validated, and the best is `patience`
        rounds ago or more.

        A round that was skipped for want of clients changed nothing, and does not count.
        """
        best = self._best_at.get(report.round_num)
        if self._patience is None or best is None or VALIDATION_SCORE not in report.metrics:
            return False
        since = range(best + 1, report.round_num + 1)
        return (
            sum(not self._rows.get(number, {}).get("cohort/skipped") for number in since)
            >= self._patience
        )

    def _note(self, number: int) -> int | None:
        """Return the best round up to a row; rows come in the order of their rounds."""
        score = self._rows[number].get(VALIDATION_SCORE, float("nan"))
        if score == score and (self._best is None or score > self._best[0]):  # no NaN
            self._best = (score, number)
        self._best_at[number] = self._best[1] if self._best else None
        return self._best_at[number]

    def finish(self) -> None:
        """Write the final weights and the table of rounds."""
        if self._last is not None:
            save_weights(self.final_weights, self._last.weights)
            write_atomic(
                self.rounds_table, rounds_csv([self._rows[number] for number in sorted(self._rows)])
            )


def _whole_rows(path: Path) -> dict[int, dict[str, float]]:
    """Return the rows by round; cuts off a line that a kill left unfinished."""
    if not path.exists():
        return {}
    body = path.read_bytes()
    whole = body[: body.rfind(b"\n") + 1]
    if whole != body:
        path.write_bytes(whole)
    rows = [json.loads(line) for line in whole.splitlines()]
    return {int(row["round"]): row for row in rows}
