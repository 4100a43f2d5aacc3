"""`fedpipe run`: the main job, from data to recorded model, as a Prefect flow run."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fedpipe.cli.options import Json, Overrides, ParamsFile, Quiet


def quiet_prefect() -> None:
    """Keep Prefect's log lines from running through the progress bar; its warnings reach stderr through the root logger."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def run(
    params: ParamsFile = None,
    set_: Overrides = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the flow run and the MLflow run.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    timings: Annotated[bool, typer.Option("--timings", help="Show where the seconds go.")] = False,
) -> None:
    """Run one federated training: data, cohorts, rounds, evaluation, record."""
    start = time.perf_counter()
    from fedpipe.cli.progress import RoundBar, show_summary, show_timings
    from fedpipe.config import load_config
    from fedpipe.steps.project import find_project

    project = find_project(Path.cwd())
    file = params.resolve() if params else project.params
    config = load_config(file, set_ or ())
    quiet_prefect()
    from fedpipe.data.download import watched
    from flows.launch import Timings, launch

    spent = Timings()
    # Whatever a library prints goes to stderr: stdout carries the result alone.
    with contextlib.redirect_stdout(sys.stderr), RoundBar(config.rounds, quiet or as_json) as bar, watched(bar.downloads):
        summary = launch(project, file, set_ or (), name, (bar,), spent)
    summary["seconds"]["total"] = time.perf_counter() - start
    if not (quiet or as_json):
        show_summary(summary, "uv run fedpipe ui")
    if timings:
        summary["timings"] = spent.seconds
        show_timings(spent.seconds)
    if as_json:
        print(json.dumps(summary))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)
