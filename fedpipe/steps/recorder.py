"""What a training leaves on disk for the next steps: its first and last weights and a table of its rounds."""

import json
from pathlib import Path

from fedpipe.models.weights_io import save_weights
from fedpipe.report.tables import rounds_csv
from fedpipe.steps.files import write_atomic
from fedpipe.types import RoundReport


class Recorder:
    """A `RoundSink` that keeps the rounds' metrics, a line each on disk, and writes the files of a finished training."""

    def __init__(self, run_dir: Path) -> None:
        """Take the run's folder; rounds that an earlier try of the run left there are kept."""
        self.initial_weights = run_dir / "initial.safetensors"
        self.final_weights = run_dir / "final.safetensors"
        self.rounds_table = run_dir / "rounds.csv"
        self._lines = run_dir / "rounds.jsonl"
        self._rows = _whole_rows(self._lines)
        self._last: RoundReport | None = None

    def round_done(self, report: RoundReport) -> None:
        """Keep the round; write the initial weights at round 0. A round that is there is passed over."""
        self._last = report
        if report.round_num in self._rows:
            return
        if report.round_num == 0:
            save_weights(self.initial_weights, report.weights)
        # The round's own figures, such as its seconds, differ from run to run; this table is the same for the same run.
        failed = {"round/failed": float(len(report.failed))} if report.round_num else {}
        self._rows[report.round_num] = {"round": report.round_num, **report.metrics, **failed}
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._rows[report.round_num]) + "\n")

    def finish(self) -> None:
        """Write the final weights and the table of rounds."""
        if self._last is not None:
            save_weights(self.final_weights, self._last.weights)
            write_atomic(self.rounds_table, rounds_csv([self._rows[number] for number in sorted(self._rows)]))


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
