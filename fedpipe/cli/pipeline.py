"""`fedpipe prepare`, `train` and `evaluate`: what the stages of `dvc.yaml` run, one step each,
without Prefect.
"""

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer

from fedpipe.cli.interrupted import again, stoppable
from fedpipe.cli.options import Json, Overrides, ParamsFile, Quiet
from fedpipe.cli.output import doubts


def _load(params: Path | None, overrides: list[str] | None) -> tuple[Any, Any]:
    from fedpipe.config import load_config
    from fedpipe.project.paths import find_project, params_file

    project = find_project(Path.cwd())
    return project, load_config(params_file(project, params), overrides or ())


def prepare(
    params: ParamsFile = None, set_: Overrides = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Stage `prepare`: make the client shards in data/shards. `fedpipe run` does it when needed."""
    project, config = _load(params, set_)
    from rich.console import Console

    from fedpipe.cli.downloads import DownloadBar
    from fedpipe.config.shard_settings import ShardSettings
    from fedpipe.data.download import watched
    from fedpipe.data.population import Population
    from fedpipe.pipeline.describe import understood_lines, write_tables
    from fedpipe.runs.shards import prepare as prepare_step

    bar = DownloadBar(Console(stderr=True), quiet or as_json)
    with (
        stoppable(f"The shards are as they were before. Run it again with: {again()}"),
        bar.progress,
        watched(bar),
    ):
        manifest = prepare_step(ShardSettings.of(config), project.shards, project)
    write_tables(Population.open(project.shards, verify=False), project.outputs / "prepare")
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json")))
    elif not quiet:
        for line in understood_lines(manifest):
            typer.echo(line)
        typer.echo(
            f"data/shards: {len(manifest.files)} files of source {manifest.source} "
            f"{manifest.source_version}"
        )


def train(
    params: ParamsFile = None, set_: Overrides = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Stage `train`: run only the rounds on data/shards; outputs/train has weights and curves.

    `dvc repro` calls it. To train and record in one go, use `fedpipe run`.
    """
    project, config = _load(params, set_)
    from fedpipe.cli.progress import RoundBar
    from fedpipe.pipeline.find_run import run_of_stage
    from fedpipe.pipeline.sample_clients import sample_clients
    from fedpipe.pipeline.train import train as train_step
    from fedpipe.runs.context import RunContext
    from fedpipe.runs.lineage import LINEAGE, LINEAGE_NAME
    from fedpipe.runs.shards import ensure_shards
    from fedpipe.runs.step_results import TRAINED_NAME
    from fedpipe.runs.summary import new_run_name
    from fedpipe.status import RunStatus
    from fedpipe.system.atomic_files import write_atomic
    from fedpipe.tables.rounds import score_csv

    data = ensure_shards(config, project)
    state = run_of_stage(project, new_run_name(), config, data.md5)
    with (
        stoppable("Continue with: dvc repro"),
        state.alive(),
        RoundBar(config.rounds, quiet or as_json, config.task.shown_metric) as bar,
    ):
        run = replace(RunContext.of_state(project, state, config), sinks=(bar,))
        plan = sample_clients(run, data)
        trained = train_step(run, data, plan)
        state.update(status=RunStatus.FINISHED)
    out = project.outputs / "train"
    out.mkdir(parents=True, exist_ok=True)
    lineage = run.folder / LINEAGE / LINEAGE_NAME
    for path in (
        trained.initial_weights,
        trained.final_weights,
        trained.best_weights,
        trained.rounds_table,
        plan.path,
        lineage,
    ):
        # the lineage may be one of the run's missing parts
        if path is not None and Path(path).exists():
            shutil.copy2(path, out)
    write_atomic(out / "score.csv", score_csv(Path(trained.rounds_table), config.task.choice))
    (out / TRAINED_NAME).write_text(json.dumps(asdict(trained), indent=1) + "\n", encoding="utf-8")
    if as_json:
        print(json.dumps(asdict(trained)))


def evaluate(
    params: ParamsFile = None, set_: Overrides = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Stage `evaluate`: evaluate the weights in outputs/train and complete their MLflow run."""
    project, config = _load(params, set_)
    from fedpipe.pipeline.evaluate import evaluate as evaluate_step
    from fedpipe.pipeline.record import copy_pictures, read_trained, record
    from fedpipe.runs.context import RunContext
    from fedpipe.runs.optional_parts import INCOMPLETE_EXIT_CODE
    from fedpipe.runs.shards import ensure_shards
    from fedpipe.runs.state import read_state

    data = ensure_shards(config, project)
    trained = read_trained(project.outputs / "train")
    run = RunContext(project, config, Path(trained.run_dir))
    out = project.outputs / "evaluate"
    evaluated = evaluate_step(run, data, trained, out)
    recorded = record(run, data, trained, evaluated)
    copy_pictures(run.folder, out / "pictures")
    state = read_state(run.folder)
    registered = recorded.registered
    if state is not None:  # not on another machine than the one that trained
        state.update(incomplete=dict(recorded.incomplete))
    if as_json:
        print(json.dumps(asdict(evaluated)))
    elif not quiet:
        metric = config.task.shown_metric
        before, after = (
            f"{figures.get(f'test/{metric}', math.nan):.4f}"
            for figures in (evaluated.initial, evaluated.final)
        )
        typer.echo(f"{metric} on the central test set: {before} before, {after} after")
        if registered is not None:
            typer.echo(
                f"model {registered.name}/{registered.version} is {registered.alias}: "
                f"{registered.reason}"
            )
    if not quiet:
        for line in doubts(recorded.warnings, recorded.incomplete, trained.run_id):
            typer.echo(line, err=True)
    if evaluated.missing:  # DVC would keep an evaluation that lacks some of its files
        raise typer.Exit(INCOMPLETE_EXIT_CODE)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (prepare, train, evaluate):
        app.command()(command)
