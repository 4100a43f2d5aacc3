"""The progress bar of a run, on stderr, and the table of its result, on stdout."""

import math
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fedpipe.cli.downloads import DownloadBar
from fedpipe.cli.output import doubts, result_console, shown_path
from fedpipe.types import RoundReport

console = Console(stderr=True, markup=False, emoji=False)


class RoundBar:
    """A `RoundSink` that shows round, test loss, a metric of the test examples and clients per
    second; above it a download, if there is one.
    """

    def __init__(self, rounds: int, quiet: bool, metric: str = "accuracy") -> None:
        """Take the number of rounds and the metric to show (`TaskConfig.shown_metric`); a quiet bar
        shows nothing.
        """
        self._metric = metric
        self._progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn(
                f"loss {{task.fields[loss]}}  {metric} {{task.fields[score]}}  "
                "{task.fields[rate]} clients/s"
            ),
            TimeElapsedColumn(),
            console=console,
            disable=quiet,
        )
        self.downloads = DownloadBar(console, quiet)
        self._live: Live | None = None
        if not quiet:
            group = Group(self.downloads.progress, self._progress)
            self._live = Live(group, console=console, refresh_per_second=10)
        self._task = self._progress.add_task(
            "starting", total=rounds, start=False, loss="-", score="-", rate="-"
        )
        self._last = time.perf_counter()

    def __enter__(self) -> "RoundBar":
        """Show the bar."""
        if self._live is not None:
            self._live.start()
        return self

    def round_done(self, report: RoundReport) -> None:
        """Move to this round."""
        if not self._progress.tasks[0].started:  # what came before is start-up, not rounds
            self._progress.start_task(self._task)
        now = time.perf_counter()
        before = self._last
        self._last = now
        fields: dict[str, Any] = {}
        if "test/loss" in report.metrics:
            fields = {
                "loss": f"{report.metrics['test/loss']:.4f}",
                "score": f"{report.metrics.get(f'test/{self._metric}', math.nan):.4f}",
            }
        if report.round_num:
            fields["rate"] = f"{len(report.cohort) / max(now - before, 1e-9):.0f}"
        self._progress.update(self._task, completed=report.round_num, description="round", **fields)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands; of what was refused before its first round, leave nothing."""
        if self._live is not None:
            refused = error is not None and not self._progress.tasks[0].started
            self._live.transient = refused
            self._live.stop()
            # Rich leaves the line open where nobody watches; what comes next has its own.
            if not refused and not console.is_interactive:
                console.line()


def show_summary(summary: dict[str, Any], root: Path, metric: str = "accuracy") -> None:
    """Print the result of a finished run to stdout: figures before and after, where it is, and the
    command that opens it.

    Args:
        summary: of the run.
        root: folder of the project.
        metric: shown beside the loss (`TaskConfig.shown_metric`).
    """
    from fedpipe.tracking.store import tracking_uri
    from fedpipe.tracking.ui_address import ui_address

    console = result_console()
    table = Table(
        show_header=True,
        header_style="bold",
        title=f"{summary['rounds']} rounds",
        title_justify="left",
    )
    table.add_column("central test set")
    table.add_column("loss", justify="right")
    table.add_column(metric, justify="right")
    rows = [("before", summary["initial"]), ("after", summary["final"])]
    if summary.get("best"):
        rows.append((f"round {summary['best_round']}, which validation chose", summary["best"]))
    for label, figures in rows:
        keys = ("test/loss", f"test/{metric}")
        table.add_row(label, *(f"{figures[key]:.4f}" if key in figures else "-" for key in keys))
    console.print(table)
    commit = f"commit {summary['git_commit'][:12]}"
    if summary["git_commit"] == "none":
        commit = "this run has no commit: no git repository here"
    lines = [
        f"data   {summary['data_md5'][:12]}   {commit}   weights sha256 "
        f"{summary['weights_sha256'][:12]}",
        f"files  {shown_path(Path(summary['run_dir']), Path.cwd())}",
        f"MLflow {summary['url']}",
    ]
    command = ui_address(root, tracking_uri(root)).command
    if command is not None:
        lines.append(f"       opens with: {command}")
    if "privacy" in summary:
        private = summary["privacy"]
        epsilon = "infinite" if private["epsilon"] is None else f"{private['epsilon']:.4g}"
        assumed = (
            f"neighbours: {private['neighbours']}; {private['sampling']}; {private['accountant']}"
        )
        lines.insert(
            0,
            f"privacy epsilon {epsilon} for delta {private['delta']}; {assumed}; noise "
            f"{private['noise']}",
        )
    if "registered" in summary:
        known = summary["registered"]
        lines.append(
            f"model  {known['name']}/{known['version']} is {known['alias']}: {known['reason']}"
        )
    lines += doubts(
        summary.get("warnings", ()), summary.get("incomplete", {}), str(summary.get("run_id", ""))
    )
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def show_timings(seconds: dict[str, float]) -> None:
    """Print where the wall time went, to stderr."""
    table = Table(title="where the seconds go", title_justify="left")
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    for phase, value in seconds.items():
        table.add_row(phase, f"{value:.2f}")
    console.print(table)
