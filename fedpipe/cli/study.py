"""`fedpipe study`: arms under the same conditions and seeds, and how sure a difference is."""

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fedpipe.cli.bars import Bars
from fedpipe.cli.interrupted import again, stoppable
from fedpipe.cli.options import Json, Overrides, Quiet


def study(
    file: Annotated[Path, typer.Argument(help="Study file (docs/study.md).")] = Path("study.yaml"),
    set_: Overrides = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how many runs there are, how long they take and how large they are.",
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare methods: many seeds, paired tests, intervals.

    The same command continues a study that was interrupted, or adds seeds and arms to it.
    """
    from fedpipe.project.paths import find_project
    from fedpipe.study.study import estimate, run_study

    project = find_project(Path.cwd())
    if dry_run:
        expected = estimate(project, file.resolve(), set_ or ())
        if as_json:
            print(json.dumps(asdict(expected)))
        elif not quiet:
            typer.echo(_in_words(asdict(expected)))
        return
    with (
        stoppable(f"Continue with: {again()}"),
        contextlib.redirect_stdout(sys.stderr),
        StudyBars(quiet or as_json) as bars,
    ):
        result = run_study(project, file.resolve(), set_ or (), bars)
    if as_json:
        print(json.dumps(result))
    elif not quiet:
        show_study(result)


def _in_words(expected: dict[str, Any]) -> str:
    left = expected["runs"] - expected["finished"]
    lines = [f"{expected['runs']} runs, {expected['finished']} of them finished, {left} to run"]
    if expected["seconds"] is None:
        lines.append("how long and how large is known when the first has finished: start the study")
    else:
        minutes = expected["seconds"] / 60
        lines.append(f"about {minutes:.1f} minutes, {expected['disk_bytes'] / 1e6:.0f} MB of disk")
    return "\n".join(lines)


class StudyBars(Bars):
    """A `StudyWatcher`: a bar for the study, and one for each run that is running."""

    def __init__(self, quiet: bool) -> None:
        """Show nothing if `quiet`."""
        super().__init__(quiet)
        self._whole = self._progress.add_task("runs", total=None)
        self._tasks: dict[int, Any] = {}
        self._names: dict[int, str] = {}

    def begun(self, name: str, runs: int, finished: int) -> None:
        """Show how many runs there are."""
        self._progress.update(self._whole, description=name, total=runs, completed=finished)

    def run_started(self, number: int, name: str, rounds: int) -> None:
        """Add a bar."""
        self._names[number] = name
        if number not in self._tasks:
            self._tasks[number] = self._progress.add_task(name, total=rounds)

    def run_round(self, number: int, round_num: int, value: float) -> None:
        """Move a bar."""
        description = f"{self._names[number]}: {value:.4f}"
        self._progress.update(self._tasks[number], completed=round_num, description=description)

    def run_ended(self, number: int) -> None:
        """Remove a bar and count."""
        self._progress.remove_task(self._tasks.pop(number))
        self._progress.update(self._whole, advance=1)


def show_study(result: dict[str, Any]) -> None:
    """Print cells and differences, and where the page is."""
    from fedpipe.cli.output import print_table
    from fedpipe.study.results import condition_text

    cells = [
        (
            condition_text(cell["condition"]),
            cell["arm"],
            cell["seeds"],
            f"{cell['mean']:.4f}",
            "" if cell["std"] is None else f"{cell['std']:.4f}",
            "" if cell["ci95"] is None else "{:.4f} to {:.4f}".format(*cell["ci95"]),
        )
        for cell in result["cells"]
    ]
    columns = ("condition", "arm", "seeds", "mean", "std", "95 % interval")
    title = f"study {result['name']}: {result['metric']}"
    print_table(columns, cells, title=title, right=columns[2:])
    differences = [
        (
            condition_text(pair["condition"]),
            f"{pair['a']} - {pair['b']}",
            f"{pair['difference']:+.4f}",
            "{:+.4f} to {:+.4f}".format(*pair["ci95"]),
            f"{pair['p_corrected']:.4f}",
            pair["verdict"],
        )
        for pair in result["comparisons"]
    ]
    if differences:
        columns = ("condition", "a - b", "difference", "95 % interval", "p, corrected", "verdict")
        print_table(columns, differences, title="differences", right=columns[2:5])
    if result["note"]:
        typer.echo(result["note"])
    typer.echo(f"page    {result['files']['study.html']}")
    typer.echo(f"MLflow  {result['url']}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(study)
