"""`fedpipe run`: the main job, from data to recorded model, as a Prefect flow run."""

import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedpipe.cli.interrupted import again, stoppable
from fedpipe.cli.options import Json, Overrides, ParamsFile, Quiet

if TYPE_CHECKING:
    from fedpipe.project.paths import Project


def run(
    params: ParamsFile = None,
    set_: Overrides = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the flow run and the MLflow run.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    timings: Annotated[
        bool, typer.Option("--timings", help="Show the seconds of each phase.")
    ] = False,
) -> None:
    """Train a model and record it: data, cohorts, rounds, evaluation, record, in one run.

    Use `fedpipe train` only as DVC's stage; `fedpipe resume` continues an interrupted run.
    """
    start = time.perf_counter()
    from fedpipe.project.paths import find_project, params_file
    from fedpipe.runs.state import mark_told

    project = find_project(Path.cwd())
    summary = train_here(
        project,
        params_file(project, params),
        set_ or (),
        name,
        quiet or as_json,
        timings,
        start,
        tell=not as_json,
    )
    if as_json:
        print(json.dumps(summary), flush=True)
        mark_told(summary)
    exit_if_incomplete(summary)


def train_here(
    project: "Project",
    params: Path,
    overrides: Sequence[str] = (),
    name: str | None = None,
    quiet: bool = False,
    timings: bool = False,
    start: float | None = None,
    retrain_of: str | None = None,
    tell: bool = True,
) -> dict[str, Any]:
    """Run one training, with a progress bar on stderr and a table of the result on stdout, and
    return its summary.

    Args:
        project: where.
        params: the params file; `overrides` override it.
        name: of the run.
        quiet: no bar and no table.
        timings: add where the seconds go, and show it.
        start: when the command began, by `time.perf_counter`.
        retrain_of: the registered version that the run replaces.
        tell: nothing but the table says what became of the run; else the caller prints the summary
            and calls `mark_told`.
    """
    from fedpipe.api.train import train
    from fedpipe.cli.progress import RoundBar, show_summary, show_timings
    from fedpipe.config import load_config
    from fedpipe.launch.train import Timings
    from fedpipe.runs.state import mark_told

    config = load_config(params, overrides)
    spent = Timings()
    # Whatever a library prints goes to stderr: stdout carries the result alone.
    with (
        stoppable(f"Nothing was trained. Run it again with: {again()}") as next_step,
        contextlib.redirect_stdout(sys.stderr),
    ):
        summary = train(
            project,
            params,
            overrides,
            name,
            lambda config: RoundBar(config.rounds, quiet, config.task.shown_metric),
            start=start,
            timings=spent,
            retrain_of=retrain_of,
            begun=lambda run: next_step.resume(run.folder.name),
        )
    if not quiet:
        show_summary(summary, project.root, config.task.shown_metric)
    if timings:
        summary["timings"] = spent.seconds
        show_timings(spent.seconds)
    if tell:
        mark_told(summary)
    return summary


def exit_if_incomplete(summary: "Mapping[str, Any]") -> None:
    """Exit with code 3 if parts of the run are missing."""
    from fedpipe.runs.optional_parts import INCOMPLETE_EXIT_CODE

    if summary["incomplete"]:
        raise typer.Exit(INCOMPLETE_EXIT_CODE)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)
