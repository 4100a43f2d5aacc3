"""What `fedpipe doctor DATA` says of a file or folder."""

import shlex
from dataclasses import dataclass, field

_MAX_COLUMNS = 30
"""Columns that are listed, at most."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: empty if it has none.
        kind: what it holds, in words.
        distinct: number of its distinct values among the rows that were looked at.
        example: its first value.
    """

    name: str
    kind: str
    distinct: int
    example: str


@dataclass
class DataReport:
    """Result of `fedpipe doctor DATA`.

    Attributes:
        path: the file or folder.
        source: the `data.source` that reads it, or None.
        lines: what was understood, in words.
        columns: of a table.
        refused: what `prepare` would refuse with the settings as they are given, or None.
        settings: the overrides with which it can be read, such as `data.label_column=y`.
        readable: whether it can be read with `settings`.
        doubts: what to look at before training.
    """

    path: str
    source: str | None = None
    lines: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    refused: str | None = None
    settings: list[str] = field(default_factory=list)
    readable: bool = False
    doubts: list[str] = field(default_factory=list)

    @property
    def command(self) -> str:
        """Return the command that prepares the data."""
        options = (f"-S {shlex.quote(setting)}" for setting in self.settings)
        return f"fedpipe prepare {' '.join(options)}"


def report_lines(report: DataReport) -> list[str]:
    """Return what `fedpipe doctor DATA` prints."""
    lines = [f"{report.path}: data.source={report.source}" if report.source else report.path]
    if report.columns:
        lines.append(f"{len(report.columns):,} columns:")
        for number, column in enumerate(report.columns[:_MAX_COLUMNS], 1):
            line = f"  {column.name or f'(no name, column {number})'}: {column.kind}"
            if column.example:
                line += f", {column.distinct:,} distinct, such as {column.example!r}"
            lines.append(line)
        if len(report.columns) > _MAX_COLUMNS:
            lines.append(f"  and {len(report.columns) - _MAX_COLUMNS:,} more")
    if report.refused:
        lines.append(f"with the project's settings prepare would refuse it: {report.refused}")
    lines += report.lines
    lines += [f"look at this: {doubt}" for doubt in report.doubts]
    if report.readable:
        lines.append(f"read it with: {report.command}")
    return lines
