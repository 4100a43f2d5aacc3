"""`fedpipe lineage` and `reproduce`: where a run or a model comes from, where a client's data went,
and a run made again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpipe.cli.options import Json, Quiet
from fedpipe.errors import ConfigError
from fedpipe.tracking.tags import REPLACED_BY, RETRAIN_OF

if TYPE_CHECKING:
    from fedpipe.lineage.queries import ClientLineage, RunLineage
    from fedpipe.tracking.lookup import ModelVersion

_SHORT = 12


def lineage(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|MODEL@ALIAS",
            help="A run's id or name, or a registered model: NAME@ALIAS, NAME/VERSION.",
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(
            "--client",
            metavar="ID",
            help="Show what trained on this client's data instead; the client is that of RUN. "
            "Default: the newest run.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show where a run or model comes from, or all that trained on a client's data."""
    if target is None and client is None:
        raise ConfigError(
            "lineage: expected a run or model, or --client ID, found neither. For example "
            "`fedpipe lineage --client c003`."
        )
    from fedpipe.lineage.queries import client_lineage, run_lineage
    from fedpipe.project.paths import find_project

    project = find_project(Path.cwd())
    if client is not None:
        client_answer = client_lineage(project, client, target)
        if as_json:
            print(json.dumps(asdict(client_answer)))
        else:
            _show_client(client_answer)
        return
    answer = run_lineage(project, str(target))
    if as_json:
        print(json.dumps(answer.to_json()))
    else:
        _show_run(answer)


def reproduce(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's id or name, or a registered model: NAME@ALIAS, NAME/VERSION.",
        ),
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a run again from its commit, data and settings, and compare every round.

    The exit code is 1 if weights differ.
    """
    from fedpipe.lineage.reproduce import reproduce as reproduce_step
    from fedpipe.project.paths import find_project

    def say(line: str) -> None:
        if not (quiet or as_json):
            typer.echo(line, err=True)

    done = reproduce_step(find_project(Path.cwd()), run, say)
    if as_json:
        print(done.to_json())
    elif not quiet:
        if done.environment:
            typer.echo("what differs in the environment, then and now:")
        for key, (then, now) in done.environment.items():
            typer.echo(f"  {key}: {then}, {now}")
        for note in done.notes:
            typer.echo(f"note: {note}")
        outcome = done.difference if done.result == "differs" else done.result
        typer.echo(f"{done.rounds} rounds compared, data {done.data['how']}: {outcome}")
    if done.result == "differs":
        raise typer.Exit(1)


def _show_run(lineage: "RunLineage") -> None:
    from rich.tree import Tree

    from fedpipe.cli.output import result_console
    from fedpipe.lineage.queries import OF_LAST_ROUND

    git = lineage.git
    dvc = lineage.dvc
    prefect = lineage.prefect
    run = lineage.mlflow
    dirty = ", with uncommitted changes" if git.dirty else ""
    tree = Tree(f"git commit {git.commit} ({git.branch}){dirty}")
    if git.patch:
        tree.add(f"the changes: lineage/dirty.patch, {git.patch}")
    place = "in dvc.lock"
    if not dvc.data_in_lock:
        place = "not in dvc.lock: made by overridden settings, or not committed"
    flow = tree.add(f"data {lineage.data.source}, DVC md5 {dvc.data_md5} ({place})")
    if dvc.experiment:
        flow = flow.add(f"DVC experiment {dvc.experiment}")
    if prefect.flow_run_id:
        flow = flow.add(f"Prefect flow run {prefect.flow_run_name}, {prefect.flow_run_id}")
        if prefect.url:
            flow.add(prefect.url)
    node = flow.add(f"MLflow run {run.name}, {run.run_id} ({run.status}, {_day(run.start_time)})")
    node.add(run.url)
    node.add(f"{lineage.algorithm} on {lineage.model}, {lineage.rounds} rounds")
    if lineage.initial.sha256:
        sha256 = lineage.initial.sha256[:_SHORT]
        node.add(f"started from {lineage.initial.source}: weights sha256 {sha256}")
    is_version = lineage.of != OF_LAST_ROUND
    after = f", after round {lineage.round}" if is_version and lineage.round is not None else ""
    weights = node.add(
        f"{lineage.of}{after}: weights sha256 {str(lineage.weights_sha256)[:_SHORT]}"
    )
    if lineage.figures:
        weights.add(_figures(lineage.figures))
    if lineage.best and not is_version:
        node.add(f"the best round: {_figures(lineage.best)}")
    for version in lineage.versions:
        node.add(f"model {version.label}{_marks(version)}")
    if not lineage.versions:
        node.add("no registered model version")
    if lineage.privacy_total:
        node.add(lineage.privacy_total.sentence())
    result_console().print(tree)


def _figures(values: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.4f}" for key, value in sorted(values.items()))


def _show_client(lineage: "ClientLineage") -> None:
    from fedpipe.cli.output import print_table

    if not lineage.runs:
        typer.echo(f"no run in the store asked a client {lineage.client}")
        return
    columns = ("run", "name", "began", "data", "rounds", "failed", "examples", "share")
    rows = []
    for run in lineage.runs:
        whose = "" if run.here else " (other clients' data)"
        rows.append(
            (
                run.run_id[:_SHORT],
                run.name,
                _day(run.start_time),
                f"{run.data} {run.data_md5[:8]}{whose}",
                f"{run.rounds}: {run.spans}" if run.rounds else "0",
                run.failed,
                *(("?", "?") if run.share is None else (run.examples, f"{run.share:.2%}")),
            )
        )
    title = f"client {lineage.client}, as in {lineage.data_of}: {len(lineage.runs)} runs"
    print_table(
        columns, rows, title=title, right=("failed", "examples", "share"), names=("run", "name")
    )
    for version in lineage.versions:
        typer.echo(f"model {version.label}, run {version.run_id[:_SHORT]}{_marks(version)}")
    if not lineage.versions:
        typer.echo("no registered model version trained on its data")


def _marks(version: "ModelVersion") -> str:
    from fedpipe.lineage.forgotten_versions import forgotten_of

    clients = forgotten_of(version)
    marks = [f"trained on forgotten clients {', '.join(clients)}"] if clients else []
    links = {RETRAIN_OF: "retrained from", REPLACED_BY: "replaced by"}
    marks += [f"{words} {version.tags[tag]}" for tag, words in links.items() if tag in version.tags]
    return "".join(f", {mark}" for mark in marks)


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(lineage)
    app.command()(reproduce)
