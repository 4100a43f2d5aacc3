"""`fedpipe doctor`: try what a run will do, and say what to fix where it would fail."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpipe.cli.options import Json, Overrides, ParamsFile

if TYPE_CHECKING:
    from fedpipe.config import Config
    from fedpipe.maintenance.check import Check
    from fedpipe.project.paths import Project


def doctor(
    data: Annotated[
        Path | None,
        typer.Argument(
            help="Data file or folder: show its contents and how `prepare` reads it.",
            show_default=False,
        ),
    ] = None,
    params: ParamsFile = None,
    set_: Overrides = None,
    with_round: Annotated[
        bool, typer.Option("--round", help="Run the first round too, without recording it.")
    ] = False,
    as_json: Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only what is not ok.")
    ] = False,
) -> None:
    """Check this machine and this project: try what a run does, up to its first round.

    Prints one line per check: ok, warn (a run works all the same) or FAIL, with the next step. Exit
    code 1 if a run would fail. Nothing is trained or recorded, no data are downloaded.

    With DATA it reads that file or folder as `prepare` would and says what it is: columns, types,
    what would be refused, and the settings to use. Exit code 1 if no settings were found with which
    it can be read.
    """
    from fedpipe.project.paths import find_project, params_file

    project = find_project(Path.cwd())
    settings = params_file(project, params)
    if data is not None:
        _show_data(project, data, settings, set_ or (), as_json)
    else:
        show_checks(_all_checks(project, settings, set_ or (), with_round), as_json, quiet)


def _show_data(
    project: "Project", path: Path, params: Path, overrides: Sequence[str], as_json: bool
) -> None:
    from fedpipe.config import load_config
    from fedpipe.maintenance.data_check import check_data
    from fedpipe.maintenance.data_report import report_lines

    config = load_config(params, overrides)
    report = check_data(path, config.data, project.root, config.task.kind)
    if as_json:
        print(json.dumps(asdict(report) | {"command": report.command}))
    else:
        for line in report_lines(report):
            typer.echo(line)
    if not report.readable:
        raise typer.Exit(1)


def _all_checks(
    project: "Project", params: Path, overrides: Sequence[str], with_round: bool
) -> "Iterator[Check]":
    from fedpipe.api.train import quiet_prefect
    from fedpipe.maintenance.check import failed, tried
    from fedpipe.maintenance.machine_checks import machine_checks, worker_checks
    from fedpipe.maintenance.project_checks import (
        check_dvc,
        check_folder,
        check_store,
        read_settings,
    )

    yield from machine_checks(project)
    folder = tried("project folder", partial(check_folder, project))
    yield folder
    config, settings = read_settings(params, overrides)
    yield settings
    yield tried("dvc", partial(check_dvc, project))
    if not folder.ok and folder.needed:
        yield failed(
            "store, server, data, model, algorithm",
            "not tried, as the project's folder cannot be written",
        )
        return
    yield tried(
        "mlflow store",
        partial(check_store, project, config.tracking.experiment if config else "fedpipe"),
    )
    quiet_prefect()
    from fedpipe.launch.prefect_check import check_prefect

    yield tried("prefect server", partial(check_prefect, project))
    yield from worker_checks(project, config.runtime.isolation if config else "auto")
    if config is None:
        yield failed("data, model, algorithm", "not tried, as the settings cannot be read")
        return
    yield from _checks_of_training(project, config, with_round)


def _checks_of_training(
    project: "Project", config: "Config", with_round: bool
) -> "Iterator[Check]":
    from fedpipe.data.population import Population
    from fedpipe.maintenance.check import Check, failed, tried
    from fedpipe.maintenance.project_checks import (
        check_algorithm,
        check_cohort,
        check_model,
        trying_data,
    )

    population: Population | None = None
    with contextlib.ExitStack() as stack:

        def read_data() -> Check:
            nonlocal population
            data = stack.enter_context(trying_data(config, project))
            if data.shards is not None:
                population = Population.open(data.shards, verify=False)
            return data.check

        data = tried("data", read_data)
        yield data
        if population is not None:
            yield tried("cohort", partial(check_cohort, config, population))
        elif not data.ok:
            yield failed("cohort", "not tried, as the data cannot be read")
        model = tried("model", partial(check_model, config, project, population))
        yield model
        if model.ok:
            yield tried(
                "algorithm", partial(check_algorithm, config, project, population, with_round)
            )
        else:
            yield failed("algorithm", "not tried, as the model cannot be built")


def show_checks(checks: "Iterable[Check]", as_json: bool, quiet: bool) -> None:
    """Print the checks, each as soon as it is done; exit with code 1 if one that a run needs has
    failed.
    """
    done = []
    pending = iter(checks)
    while True:
        # What libraries and the user's code print is no result.
        with contextlib.redirect_stdout(sys.stderr):
            check = next(pending, None)
        if check is None:
            break
        done.append(check)
        if not as_json and not (quiet and check.ok):
            typer.echo(check.line)
    if as_json:
        print(json.dumps([check.to_json() for check in done]))
    if any(check.needed and not check.ok for check in done):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
