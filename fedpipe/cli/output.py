"""Where output goes: results to stdout, progress and log lines to stderr; tables that fit the
terminal.

Imported without Rich: a command that prints one line does not wait for it.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_COLUMNS = 1000
"""Width of a line in a file or a pipe, in characters: nothing is broken or cut below it."""
CELL_COLUMNS = 80
"""Width of one cell in a file or a pipe, in characters; longer texts end with an ellipsis."""


def result_console() -> "Console":
    """Return a console on stdout, as wide as the terminal; in a file or a pipe no line is
    broken.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, width=_width())


def _width() -> int | None:
    """Return the width of stdout in characters; None for a terminal that does not know its own."""
    if not sys.stdout.isatty():
        return PIPE_COLUMNS
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except OSError:
        return None


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str | None = None,
    right: Sequence[str] = (),
    names: Sequence[str] = (),
    cell_columns: int = CELL_COLUMNS,
) -> None:
    """Print a table to stdout. In a terminal it is as wide as the terminal at most, in a file or a
    pipe each cell is cut.

    Args:
        columns: their headings.
        rows: one cell per column.
        title: above the table.
        right: headings of the columns that are aligned to the right.
        cell_columns: characters of a cell in a file or a pipe.
        names: headings of the columns of ids and names: on one line each, cut with an ellipsis
            where the terminal is too narrow.
    """
    table = _table(columns, title, right, names)
    columns_of_a_cell = sys.maxsize if sys.stdout.isatty() else cell_columns
    for row in rows:
        table.add_row(*(cut(str(cell), columns_of_a_cell) for cell in row))
    result_console().print(table)


def _table(
    columns: Sequence[str], title: str | None, right: Sequence[str], names: Sequence[str]
) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        justify: Any = "right" if column in right else "left"
        if column in names:
            table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis")
        else:
            table.add_column(column, justify=justify, overflow="fold")
    return table


def doubts(
    warnings: Iterable[Mapping[str, str]], incomplete: Mapping[str, str], run: str
) -> list[str]:
    """Return the lines that a command ends with where a run finished and is doubtful, or lacks
    parts.

    Args:
        warnings: of the run, each with `what` and `help`.
        incomplete: why a part is missing, by its name.
        run: its name or id, for the command that makes the parts.
    """
    lines = [f"warning: {warning['what']} {warning['help']}" for warning in warnings]
    lines += [f"missing: {name}: {reason}" for name, reason in incomplete.items()]
    if incomplete:
        lines.append(
            "         The training is safe. Make the missing parts with: uv run fedpipe record "
            f"{run}"
        )
    return lines


def cut(text: str, columns: int = CELL_COLUMNS) -> str:
    """Return `text`, cut to a number of characters with an ellipsis at its end.

    >>> cut("abcdef", 4)
    'abc…'
    """
    if len(text) <= columns:
        return text
    return f"{text[: columns - 1]}…"


def shown_path(path: Path, folder: Path) -> str:
    """Return a path, relative where it lies in `folder`."""
    if path.is_relative_to(folder):
        return str(path.relative_to(folder))
    return str(path)


def listing(items: Sequence[str], columns: int = 60) -> str:
    """Return names joined by commas, as many as fit into a number of characters, with the count of
    the rest.

    >>> listing(["a", "bb", "ccc"], 5)
    'a, bb (+1)'
    """
    shown: list[str] = []
    used = 0
    for item in items:
        used += len(item) + 2
        if used > columns + 2:
            break
        shown.append(item)
    if not shown and items:
        shown = [cut(items[0], columns)]
    text = ", ".join(shown)
    if len(shown) < len(items):
        text += f" (+{len(items) - len(shown)})"
    return text
