"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ParamsFile = Annotated[
    Path | None,
    typer.Option(
        "--params", help="Params file. Default: the project's params.yaml.", show_default=False
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-S",
        metavar="KEY=VALUE",
        help="Override a setting, such as client.learning_rate=0.05. Repeatable.",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object as the last line on stdout, and nothing else there."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")]
