"""`fedpipe report`: one HTML file of a run, or of several side by side."""

from pathlib import Path
from typing import Annotated

import typer

from fedpipe.cli.options import Json, Quiet


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Ids or names of runs, or registered models: NAME@ALIAS, NAME/VERSION.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Default: outputs/reports/report-ID.html."
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the file in the browser.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one HTML file about a run, or several side by side with their differences."""
    from fedpipe.project.paths import find_project
    from fedpipe.report.write import report as report_step

    written = report_step(find_project(Path.cwd()), runs, out.resolve() if out else None)
    if open_:
        import webbrowser

        webbrowser.open(written.path.as_uri())
    if as_json:
        print(written.to_json())
    elif not quiet:
        for line in written.missing:
            typer.echo(f"missing: {line}", err=True)
        typer.echo(str(written.path))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)
