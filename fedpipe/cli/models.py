"""`fedpipe predict` and `export`: a recorded model at work, and in the forms that other programs
run.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedpipe.cli.options import Json, Quiet

if TYPE_CHECKING:
    from fedpipe.inference.predict import Answer
    from fedpipe.inference.predictions import Example

_SHOWN = 100
_SHOWN_COLUMNS = 8
"""Columns of a prediction in the table; of many labels or targets the first ones."""

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL@ALIAS|RUN",
        help="A registered model, NAME@ALIAS or NAME/VERSION, or a run's id or name.",
    ),
]


def predict(
    model: Model,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Images or folders of them, tables (CSV, Parquet), NPZ files, or what the model's "
            "source reads."
        ),
    ],
    invert: Annotated[
        bool,
        typer.Option(
            "--invert", help="Invert light and dark first, for drawings of the other convention."
        ),
    ] = False,
    as_json: Json = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a table as CSV, one line per example.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print only the labels or numbers, one line per example."
        ),
    ] = False,
) -> None:
    """Predict labels or numbers of images or table rows with a recorded model."""
    from fedpipe.inference.predict import predict as predict_step
    from fedpipe.inference.predictions import predictions_csv
    from fedpipe.project.paths import find_project

    answer = predict_step(find_project(Path.cwd()), model, files, invert)
    if as_json:
        print(json.dumps(answer.to_json()))
    elif as_csv:
        print(predictions_csv(answer.predictions), end="")
    elif quiet:
        for prediction in answer.predictions:
            print(prediction.text)
    else:
        _show(answer)


def export(
    model: Model,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Folder (savedmodel) or file (tflite) to write; it must not exist."
        ),
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="savedmodel|tflite", help="Format of the export.")
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as a SavedModel or for TensorFlow Lite; checks that it predicts the same."""
    from fedpipe.inference.export import export as export_step
    from fedpipe.project.paths import find_project

    done = export_step(find_project(Path.cwd()), model, form, out)
    if as_json:
        print(json.dumps(asdict(done)))
    elif not quiet:
        typer.echo(
            f"{done.path}: {done.model} as {done.format}, {done.size_bytes / 1e6:.2f} MB; "
            f"{done.examples} examples predicted by both, predictions differ by at most "
            f"{done.max_difference:.1e}"
        )


def _show(answer: "Answer") -> None:
    from fedpipe.cli.output import print_table

    shown = answer.predictions[:_SHOWN]
    columns = list(shown[0].columns)[:_SHOWN_COLUMNS] if shown else []
    rows = [_cells(prediction) for prediction in shown]
    right = [name for name in columns if name not in ("label", "labels")]
    print_table(("file", "row", *columns), rows, title=answer.model, right=("row", *right))
    left = len(answer.predictions) - _SHOWN
    if left > 0:
        typer.echo(f"and {left} more; --json has all of them, --csv too")


def _cells(prediction: "Example") -> list[str | int]:
    """Return file, row and the first columns of a prediction."""
    values = list(prediction.columns.values())[:_SHOWN_COLUMNS]
    row = "" if prediction.row is None else prediction.row
    return [prediction.file, row, *map(_cell, values)]


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if abs(value) < 1:
        return f"{value:.4f}"
    return f"{value:.6g}"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (predict, export):
        app.command()(command)
