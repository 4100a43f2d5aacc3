"""`fedpipe sweep`: many trainings with different settings, the best of which becomes a params
file.
"""

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fedpipe.cli.bars import Bars
from fedpipe.cli.interrupted import again, stoppable
from fedpipe.cli.options import Json, Overrides, Quiet


def sweep(
    file: Annotated[Path, typer.Argument(help="Sweep file (docs/sweeps.md).")] = Path("sweep.yaml"),
    set_: Overrides = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume an interrupted sweep; do not start a new one."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File for the settings of the best trial. Default: params/sweep_NAME.yaml.",
            show_default=False,
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="ADDRESS",
            help="Run trials on a Dask cluster: address of its scheduler, or `local`.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for settings: train many trials, judged by validation examples.

    The same command continues a sweep that was interrupted.
    """
    from fedpipe.api.train import quiet_prefect
    from fedpipe.cli.output import doubts
    from fedpipe.project.paths import find_project
    from fedpipe.runs.optional_parts import INCOMPLETE_EXIT_CODE
    from fedpipe.sweep.sweep import load

    project = find_project(Path.cwd())
    path = file.resolve()
    load(project, path, set_ or ())  # before anything is started
    quiet_prefect()
    from fedpipe.launch.sweep import launch_sweep

    with (
        stoppable(f"Continue with: {again()}"),
        contextlib.redirect_stdout(sys.stderr),
        SweepBars(quiet or as_json) as bars,
    ):
        summary = launch_sweep(
            project,
            path,
            set_ or (),
            dask,
            resume=resume,
            out=out.resolve() if out else None,
            watcher=bars,
        )
    if as_json:
        print(json.dumps(summary))
    elif not quiet:
        show_sweep(summary)
    if summary["incomplete"] or summary["incomplete_sweep"]:
        if not quiet:
            for name, missing in summary["incomplete"].items():
                typer.echo("\n".join(doubts((), missing, name)), err=True)
            for missing_part, reason in summary["incomplete_sweep"].items():
                typer.echo(f"missing: {missing_part}: {reason}", err=True)
                typer.echo(f"{'':9}The same command makes the sweep's own parts again.", err=True)
        raise typer.Exit(INCOMPLETE_EXIT_CODE)


def sweep_trial(
    folder: Annotated[Path, typer.Argument(help="Folder of the trial's run.")],
    line: Annotated[int, typer.Option("--line", help="Descriptor of the socket to the sweep.")],
) -> None:
    """Run one trial of a sweep; `fedpipe sweep` starts it."""
    from fedpipe.project.paths import find_project
    from fedpipe.sweep.trial import run_trial

    run_trial(find_project(Path.cwd()), folder, line)


class SweepBars(Bars):
    """A `SweepWatcher`: a bar for the sweep, and one for each trial that is running."""

    def __init__(self, quiet: bool) -> None:
        """Show nothing if `quiet`."""
        super().__init__(quiet, "{task.fields[note]}")
        self._whole = self._progress.add_task("trials", total=None, note="")
        self._tasks: dict[int, Any] = {}
        self._counts: dict[str, int] = {}

    def begun(self, name: str, trials: int, ended: int) -> None:
        """Show how many trials there are."""
        self._progress.update(
            self._whole,
            description=name,
            total=trials,
            completed=ended,
            note=f"{ended} before" if ended else "",
        )

    def trial_started(self, number: int, point: Mapping[str, Any], rounds: int) -> None:
        """Add a bar."""
        if number not in self._tasks:
            note = ", ".join(
                f"{key.rpartition('.')[2]} {_short(value)}" for key, value in point.items()
            )
            self._tasks[number] = self._progress.add_task(
                f"trial {number}", total=rounds, note=note
            )

    def trial_round(self, number: int, round_num: int, value: float) -> None:
        """Move a bar."""
        self._progress.update(
            self._tasks[number], completed=round_num, description=f"trial {number}: {value:.4f}"
        )

    # the signature of a watcher
    def trial_ended(self, number: int, state: str, value: float | None) -> None:  # noqa: ARG002
        """Remove a bar and count."""
        if number in self._tasks:
            self._progress.remove_task(self._tasks.pop(number))
        self._counts[state] = self._counts.get(state, 0) + 1
        note = ", ".join(f"{count} {name}" for name, count in self._counts.items())
        self._progress.update(self._whole, advance=int(state != "interrupted"), note=note)


def show_sweep(summary: dict[str, Any]) -> None:
    """Print the table of trials, the best first, and where the best one's settings are."""
    from fedpipe.cli.output import print_table
    from fedpipe.tables.sweep import ABSENT

    keys = summary["keys"]
    columns = ("trial", "state", summary["metric"], *keys)
    sign = -1 if summary["direction"] == "maximize" else 1
    ordered = sorted(
        summary["children"],
        key=lambda trial: (
            trial["value"] is None,
            sign * (trial["value"] or 0.0),
            trial["number"],
        ),
    )
    rows = []
    for trial in ordered:
        value = "" if trial["value"] is None else f"{trial['value']:.4f}"
        rows.append(
            (
                trial["number"],
                trial["state"],
                value,
                *(_short(trial["params"].get(key, ABSENT)) for key in keys),
            )
        )
    print_table(
        columns,
        rows,
        title=f"sweep {summary['name']}",
        right=[name for name in columns if name != "state"],
    )
    lines = [
        f"best    {summary['preset']}",
        f"        uv run fedpipe run --params {summary['preset']}",
        f"MLflow  {summary['url']}",
    ]
    for line in lines:
        typer.echo(line)


def _short(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(sweep)
    app.command("sweep-child", hidden=True)(sweep_trial)
