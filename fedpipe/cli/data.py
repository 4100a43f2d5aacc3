"""`fedpipe sources`, `describe` and `forget`: what can be read, what was made of it, and
leaving.
"""

import json
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpipe.cli.options import Json, Quiet
from fedpipe.cli.output import PIPE_COLUMNS, listing, print_table
from fedpipe.errors import ConfigError, shorten

if TYPE_CHECKING:
    from fedpipe.data.manifest import Manifest
    from fedpipe.data.population import Population

_SHOWN_LABELS = 12
"""Labels that `describe` lists in full; of more it says how many there are."""
_NOT_IN_TABLE = ("histogram", "data_of", "run_id", "path", "targets")


def sources(as_json: Json = False) -> None:
    """List the data sources and the settings that each needs."""
    from fedpipe.data.sources import NEEDS

    if as_json:
        print(json.dumps(NEEDS))
        return
    rows = [*NEEDS.items(), ("mypackage.module:function", "a source of your own: docs/sources.md")]
    print_table(("data.source", "what it is and needs"), rows, cell_columns=PIPE_COLUMNS)


def describe(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|MODEL@ALIAS]",
            help="Run or registered model whose data are shown. Default: the newest run.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for the figures: client sizes, and labels or targets by client."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the data of a run: clients, examples, sizes, skew."""
    from fedpipe.data.population import Population
    from fedpipe.data.skew import describe as figures_of
    from fedpipe.pipeline.describe import understood_lines, write_pictures
    from fedpipe.project.paths import find_project
    from fedpipe.runs.find_data import data_of, find_run_shards

    project = find_project(Path.cwd())
    data = data_of(project, run)
    population = Population.open(find_run_shards(project, data), verify=False)
    figures = asdict(figures_of(population.index))
    manifest = population.manifest
    drawn = [str(path) for path in write_pictures(population, pictures)] if pictures else []
    path = os.path.relpath(population.path, project.root)
    about = {
        "data_of": data.title,
        "run_id": data.run_id or None,
        "path": path,
        "source": manifest.source,
        "partition": manifest.partition,
        "feature_shape": list(manifest.feature_shape),
        "feature_dtype": manifest.feature_dtype,
        "labels": _labels(manifest),
        "kind": manifest.kind,
        "targets": manifest.targets.model_dump() if manifest.targets else None,
        "forgotten": len(manifest.forgotten),
    }
    if as_json:
        understood = asdict(manifest.understood) if manifest.understood else None
        print(
            json.dumps(
                {
                    **about,
                    "understood": understood,
                    **figures,
                    "client_ids": list(population.index.client_ids),
                    "pictures": drawn,
                }
            )
        )
        return
    owner = f" of {data.title}," if data.run_id else ""
    typer.echo(f"data{owner} in {path}")
    for line in understood_lines(manifest):
        typer.echo(line)
    rows = [
        (name, _cell(value))
        for name, value in {**about, **figures}.items()
        if name not in _NOT_IN_TABLE
    ]
    rows += _target_rows(population)
    widest = max(clients for _, _, clients in figures["histogram"])
    for start, end, clients in figures["histogram"]:
        rows.append(
            (
                f"{start:.0f} to {end:.0f} examples",
                f"{'#' * round(40 * clients / widest)} {clients}",
            )
        )
    print_table(("what", "value"), rows, title=path)
    for path in drawn:
        typer.echo(path)


def _target_rows(population: "Population") -> list[tuple[str, str]]:
    """Return between which values the medians of clients are, of each target of a regression."""
    from fedpipe.pipeline.describe import target_ranges
    from fedpipe.tables.texts import number

    rows = []
    for ranges in target_ranges(population):
        medians = ranges.quantiles[:, 2].tolist()
        text = f"{number(min(medians))} to {number(max(medians))}"
        rows.append((f"medians of {ranges.target} at clients", text))
    return rows


def _labels(manifest: "Manifest") -> tuple[str, ...] | int:
    """Return the names of classes, labels or targets; how many where they have none."""
    if manifest.targets is not None:
        return manifest.targets.names or manifest.targets.outputs
    return manifest.vocabulary or manifest.num_classes


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        if len(value) > _SHOWN_LABELS:
            return f"{len(value)}: {listing([str(item) for item in value])}"
        return ", ".join(map(str, value))
    return str(value)


def forget(
    client_ids: Annotated[list[str], typer.Argument(help="Ids of the clients to remove.")],
    reason: Annotated[
        str | None,
        typer.Option(
            help="Reason, as a tag of the registered models that trained on their data. "
            "Default: the present tag, otherwise 'asked to be forgotten'.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN|MODEL@ALIAS",
            help="Run or registered model whose data contain the clients. Default: with "
            "--retrain the champion, otherwise the newest run.",
            show_default=False,
        ),
    ] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Retrain the champion without them and replace it.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Registered model to retrain. Default: the model of --run, otherwise "
            "tracking.model_name.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove clients from the data and later versions; tag models that trained on them."""
    if model is not None and not retrain:
        raise ConfigError(
            f"--model {model} is set but without --retrain nothing reads it. Add --retrain or "
            "remove it."
        )
    from fedpipe.lineage.forget import forget as forget_step
    from fedpipe.project.paths import find_project

    project = find_project(Path.cwd())
    planned = None
    if retrain:  # before anything is forgotten: what cannot be retrained is reported first
        from fedpipe.config import load_config
        from fedpipe.registry.retrain import model_of, plan_retraining

        planned = plan_retraining(
            project,
            model or model_of(project, run) or load_config(project.params).tracking.model_name,
        )
        run = run or planned.version
    done = forget_step(project, client_ids, reason, run)
    needed = planned is not None and planned.version in done.champions
    if not as_json and not quiet:
        path = os.path.relpath(done.path, project.root)
        own = Path(done.path) != project.shards
        whose = f", data of {done.title}" if own else ""
        typer.echo(
            f"{path}{whose}: {done.examples} examples of {shorten(done.client_ids)} are gone, "
            f"{done.clients_left} clients are left; {len(done.files_changed)} of {done.files} "
            "files changed."
        )
        if own:
            typer.echo(
                f"Older versions with these clients that were removed here: {len(done.removed)}."
            )
        if own and done.in_dvc:
            typer.echo("data/shards held them too, and are without them now.")
        if done.in_dvc:
            typer.echo(
                "Commit forgotten.json and dvc.lock; `dvc push` sends the new version, `dvc gc` "
                "removes the old one."
            )
        else:
            typer.echo("Commit forgotten.json.")
        if done.versions_marked:
            typer.echo(
                "models that trained on their data, now tagged so: "
                f"{', '.join(done.versions_marked)}"
            )
        for version in done.champions:
            if not (needed and planned and version == planned.version):
                name = shlex.quote(version.rpartition("/")[0])
                typer.echo(
                    f"{version} is still champion and trained on forgotten clients: `fedpipe "
                    f"forget ID --retrain --model {name}`"
                )
        if planned and not needed:
            typer.echo(
                f"{planned.version} did not train on forgotten clients: it stays champion, "
                "nothing is retrained"
            )
    summary = None
    if planned is not None and needed:
        from fedpipe.cli.run import train_here

        summary = train_here(
            project,
            planned.params,
            name=f"retrain {planned.version}",
            quiet=quiet or as_json,
            retrain_of=planned.version,
            tell=not as_json,
        )
    if as_json:
        body = asdict(done)
        if retrain:
            body["retrained"] = summary
        print(json.dumps(body), flush=True)
    if summary is not None:
        from fedpipe.cli.run import exit_if_incomplete
        from fedpipe.runs.state import mark_told

        mark_told(summary)
        exit_if_incomplete(summary)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (sources, describe, forget):
        app.command()(command)
