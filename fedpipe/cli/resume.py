"""`fedpipe resume`, `record` and `sync`: finish what an interruption or a failure left."""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedpipe.cli.interrupted import stoppable
from fedpipe.cli.options import Json, Quiet

if TYPE_CHECKING:
    from fedpipe.project.paths import Project
    from fedpipe.runs.state import RunState


def resume(
    run_id: Annotated[
        str | None,
        typer.Argument(
            help="MLflow run id or name of the run. Default: the newest one here that was "
            "interrupted."
        ),
    ] = None,
    as_started: Annotated[
        bool,
        typer.Option(
            "--as-started",
            help="Use the settings that the run was started with, even if the params file has "
            "changed.",
        ),
    ] = False,
    remote: Annotated[
        list[str] | None,
        typer.Option(
            "--remote",
            metavar="HOST:PORT",
            help="Remote worker to continue on, in place of the settings; `none`: this machine. "
            "Repeatable.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Continue an interrupted run from its last checkpoint, to the same weights."""
    start = time.perf_counter()
    from fedpipe.pipeline.find_run import find_interrupted
    from fedpipe.project.paths import find_project

    project = find_project(Path.cwd())
    state = find_interrupted(project, run_id)
    if state is not None and state.finished and state.incomplete:
        show_recorded(project, state, as_json, quiet)
        return
    if state is not None and state.untold:
        tell(project, state.values["summary"], as_json, quiet)
        return
    if state is None or state.finished:
        _say_finished(state, as_json, quiet)
        return
    from fedpipe.api.train import resume as resume_run
    from fedpipe.cli.progress import RoundBar

    with stoppable("") as next_step, contextlib.redirect_stdout(sys.stderr):
        next_step.resume(state.folder.name)
        summary = resume_run(
            project,
            state,
            lambda config: RoundBar(config.rounds, quiet or as_json, config.task.shown_metric),
            as_started=as_started,
            remote=remote or (),
            start=start,
        )
    tell(project, summary, as_json, quiet)


def _say_finished(state: "RunState | None", as_json: bool, quiet: bool) -> None:
    line = "nothing to resume"
    summary = {}
    if state is not None:
        line += f": run {state.name} is finished"
        summary = state.values.get("summary", {})
    if not quiet:
        typer.echo(line, err=as_json)
    if as_json:
        print(json.dumps(summary))


def record(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="MLflow run id or name. Default: the newest run here that lacks parts.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Complete a finished run: make the figures, tables, model or uploads that failed."""
    from fedpipe.pipeline.find_run import find_trained
    from fedpipe.project.paths import find_project

    project = find_project(Path.cwd())
    state = find_trained(project, run)
    if state is None:
        if not quiet:
            typer.echo("nothing to record: no run here lacks parts", err=as_json)
        if as_json:
            print("{}")
        return
    show_recorded(project, state, as_json, quiet)


def show_recorded(project: "Project", state: "RunState", as_json: bool, quiet: bool) -> None:
    """Record a finished run again and print its summary; exit with code 3 if parts are still
    missing.
    """
    from fedpipe.pipeline.record_again import record_again

    with contextlib.redirect_stdout(sys.stderr):
        summary = record_again(project, state)
    tell(project, summary, as_json, quiet)


def tell(project: "Project", summary: "dict[str, Any]", as_json: bool, quiet: bool) -> None:
    """Print the summary of a finished run and note that it was printed; exit with code 3 if parts
    of the run are missing.
    """
    from fedpipe.cli.progress import show_summary
    from fedpipe.cli.run import exit_if_incomplete
    from fedpipe.runs.state import mark_told, read_state

    if as_json:
        print(json.dumps(summary), flush=True)
    elif not quiet:
        state = read_state(Path(summary["run_dir"]))
        metric = state.config.task.shown_metric if state else "accuracy"
        show_summary(summary, project.root, metric)
    mark_told(summary)
    exit_if_incomplete(summary)


def sync(as_json: Json = False, quiet: Quiet = False) -> None:
    """Send to MLflow what runs of this project could not send while the store was away."""
    from fedpipe.pipeline.sync import send_journals
    from fedpipe.project.paths import find_project

    sent = send_journals(find_project(Path.cwd()))
    if as_json:
        print(json.dumps({"sent": sent}))
    elif not quiet:
        for name, records in sent.items():
            typer.echo(f"{name}: {records} records sent")
        typer.echo("all journals are sent" if sent else "nothing to send")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (resume, record, sync):
        app.command()(command)
