"""`fedpipe lineage` and `reproduce`: where a run or a model comes from, where a client's data went,
and a run made again.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fedpipe.cli.options import Json, Quiet
from fedpipe.errors import ConfigError

_SHORT = 12


def lineage(
    wanted: Annotated[
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
            help="Show what trained on this client's data instead; of a RUN's client, default the "
            "newest run's.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the chain from commit to model, or all runs and models that used a client."""
    if wanted is None and client is None:
        raise ConfigError(
            "lineage: expected a run or model, or --client ID, found neither. For example "
            "`fedpipe lineage --client c003`."
        )
    from fedpipe.lineage.queries import client_lineage, run_lineage
    from fedpipe.project.paths import find_project

    project = find_project(Path.cwd())
    answer = (
        run_lineage(project, str(wanted))
        if client is None
        else client_lineage(project, client, wanted)
    )
    if as_json:
        print(json.dumps(answer))
    elif client is None:
        _show_chain(answer)
    else:
        _show_client(answer)


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

    done = reproduce_step(
        find_project(Path.cwd()),
        run,
        lambda line: None if quiet or as_json else typer.echo(line, err=True),
    )
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


def _show_chain(chain: dict[str, Any]) -> None:
    from rich.tree import Tree

    from fedpipe.cli.output import result_console

    git = chain["git"]
    dvc = chain["dvc"]
    prefect = chain["prefect"]
    run = chain["mlflow"]
    dirty = ", with uncommitted changes" if git["dirty"] else ""
    tree = Tree(f"git commit {git['commit']} ({git['branch']}){dirty}")
    if git["patch"]:
        tree.add(f"the changes: lineage/dirty.patch, {git['patch']}")
    place = (
        "in dvc.lock"
        if dvc["data_in_lock"]
        else "not in dvc.lock: made by overridden settings, or not committed"
    )
    data = tree.add(f"data {chain['data']['source']}, DVC md5 {dvc['data_md5']} ({place})")
    if dvc["experiment"]:
        data = data.add(f"DVC experiment {dvc['experiment']}")
    flow = data
    if prefect["flow_run_id"]:
        flow = data.add(f"Prefect flow run {prefect['flow_run_name']}, {prefect['flow_run_id']}")
        if prefect["url"]:
            flow.add(str(prefect["url"]))
    node = flow.add(
        f"MLflow run {run['name']}, {run['run_id']} ({run['status']}, {_day(run['start_time'])})"
    )
    node.add(str(run["url"]))
    node.add(f"{chain['algorithm']} on {chain['model']}, {chain['rounds']} rounds")
    at = (
        ""
        if chain["round"] is None or chain["of"] == "the last round"
        else f", after round {chain['round']}"
    )
    shown = node.add(f"{chain['of']}{at}: weights sha256 {str(chain['weights_sha256'])[:_SHORT]}")
    if chain["figures"]:
        shown.add(
            ", ".join(f"{key} {value:.4f}" for key, value in sorted(chain["figures"].items()))
        )
    if chain["of"] == "the last round" and chain["best"]:
        node.add(
            "the best round: "
            + ", ".join(f"{key} {value:.4f}" for key, value in sorted(chain["best"].items()))
        )
    for version in chain["versions"]:
        node.add(f"model {_label(version)}" + _marks(version))
    if not chain["versions"]:
        node.add("no registered model version")
    if chain["privacy_total"]:
        node.add(chain["privacy_total"]["text"])
    result_console().print(tree)


def _show_client(answer: dict[str, Any]) -> None:
    from fedpipe.cli.output import print_table

    runs = answer["runs"]
    versions = answer["versions"]
    if not runs:
        typer.echo(f"no run in the store asked a client {answer['client']}")
        return
    columns = ("run", "name", "began", "data", "rounds", "failed", "examples", "share")
    rows = []
    for one in runs:
        which = f"{one['data']} {one['data_md5'][:8]}" + (
            "" if one["here"] else " (other clients' data)"
        )
        counted = (
            ["?", "?"] if one["share"] is None else [str(one["examples"]), f"{one['share']:.2%}"]
        )
        rounds = f"{one['rounds']}: {one['spans']}" if one["rounds"] else "0"
        rows.append(
            (
                one["run_id"][:_SHORT],
                one["name"],
                _day(one["start_time"]),
                which,
                rounds,
                one["failed"],
                *counted,
            )
        )
    title = f"client {answer['client']}, as in {answer['data_of']}: {len(runs)} runs"
    print_table(
        columns, rows, title=title, right=("failed", "examples", "share"), names=("run", "name")
    )
    for version in versions:
        typer.echo(f"model {_label(version)}, run {version['run_id'][:_SHORT]}" + _marks(version))
    if not versions:
        typer.echo("no registered model version trained on its data")


def _label(version: dict[str, Any]) -> str:
    return f"{version['name']}/{version['version']}" + "".join(
        f" @{alias}" for alias in version["aliases"]
    )


def _marks(version: dict[str, Any]) -> str:
    clients = version["tags"].get("fedpipe.forgotten_clients")
    marks = [f"trained on forgotten clients {', '.join(json.loads(clients))}"] if clients else []
    links = {"fedpipe.retrain_of": "retrained from", "fedpipe.replaced_by": "replaced by"}
    marks += [
        f"{words} {version['tags'][tag]}" for tag, words in links.items() if tag in version["tags"]
    ]
    return "".join(f", {mark}" for mark in marks)


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(lineage)
    app.command()(reproduce)
