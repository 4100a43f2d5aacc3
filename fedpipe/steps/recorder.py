"""What a training leaves on disk for the next steps: its first and last weights and a table of its rounds."""

from pathlib import Path

from fedpipe.models.weights_io import save_weights
from fedpipe.report.tables import rounds_csv
from fedpipe.steps.files import write_atomic
from fedpipe.types import RoundReport


class Recorder:
    """A `RoundSink` that keeps the rounds' metrics and writes the files of a finished training."""

    def __init__(self, run_dir: Path) -> None:
        """Take the run's folder."""
        self.initial_weights = run_dir / "initial.safetensors"
        self.final_weights = run_dir / "final.safetensors"
        self.rounds_table = run_dir / "rounds.csv"
        self._rows: list[dict[str, float]] = []
        self._last: RoundReport | None = None

    def round_done(self, report: RoundReport) -> None:
        """Keep the round; write the initial weights at round 0."""
        if report.round_num == 0:
            save_weights(self.initial_weights, report.weights)
        # The round's own figures, such as its seconds, differ from run to run; this table is the same for the same run.
        self._rows.append({"round": report.round_num, **report.metrics})
        self._last = report

    def finish(self) -> None:
        """Write the final weights and the table of rounds."""
        if self._last is not None:
            save_weights(self.final_weights, self._last.weights)
            write_atomic(self.rounds_table, rounds_csv(self._rows))
