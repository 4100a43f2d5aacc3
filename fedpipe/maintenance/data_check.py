"""What a file or folder of the user's is: reads it as `prepare` would, and says which settings fit.
Behind `fedpipe doctor DATA`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.errors import DataError, shorten

if TYPE_CHECKING:
    from fedpipe.data.sources.csv_table import CsvTable
    from fedpipe.data.sources.parquet_table import ParquetTable

_CLIENT = re.compile(
    r"(client|user|writer|device|patient|subject|site|hospital|customer|person|participant|member|account|speaker|author|group)s?",
    re.I,
)
_LABEL = re.compile(
    r"(label|target|class|classes|y|category|species|diagnosis|outcome|character|digit|sentiment|variety|quality|response)s?",
    re.I,
)
_SAMPLE_ROWS = 100_000
_MOST_LABELS = 50
_MOST_SHOWN = 30
_TRIES = 4


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
    """What `fedpipe doctor DATA` found.

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
        import shlex

        return "fedpipe prepare " + " ".join(
            f"-S {shlex.quote(setting)}" for setting in self.settings
        )


def check_data(path: Path, config: DataConfig, project: Path) -> DataReport:
    """Return what a file or folder is, reading all of it as `prepare` would.

    Args:
        path: the file or folder.
        config: the project's settings under `data`; those that name columns and how a CSV is
            written are tried first.
        project: folder that paths in settings are relative to.
    """
    report = DataReport(str(path))
    if not path.exists():
        report.refused = f"{path}: expected a file or a folder, found nothing. Correct the path."
        return report
    report.source = source_of(path)
    if report.source is None:
        report.refused = (
            f"{path}: expected CSV, Parquet, a folder of images, NPZ, SQLite or LEAF's JSON, "
            "found something else."
        )
        return report
    settings: dict[str, Any] = {
        "source": report.source,
        "path": _relative(path, project),
        "clients": None,
    }
    for key in (
        "separator",
        "encoding",
        "decimal",
        "column_names",
        "feature_columns",
        "ignore_columns",
        "feature_dtype",
        "memory_limit_mb",
    ):
        if config.source == report.source:
            settings[key] = getattr(config, key)
    for key in ("client_column", "label_column"):
        settings[key] = getattr(config, key)
    report.refused, _ = _read(DataConfig(**settings), project)
    if report.source in ("csv", "parquet"):
        _look_at_table(report, path, settings)
    elif report.source == "images":
        _without_clients_if_so(report, settings, project)
    _try(report, settings, project)
    defaults = DataConfig()
    report.settings = [
        f"data.{key}={_text(value)}"
        for key, value in settings.items()
        if value != getattr(defaults, key) or key in ("source", "path")
    ]
    if settings.get("client_column", "") is None and "data.clients=null" in report.settings:
        report.settings[report.settings.index("data.clients=null")] = "data.clients=10"
    return report


def source_of(path: Path) -> str | None:
    """Return the `data.source` that reads a file or folder, by what is in it; None if none does."""
    from fedpipe.data.sources.decode import image_suffixes
    from fedpipe.data.sources.table_files import content_of
    from fedpipe.data.sources.tabular import table_kind

    if path.is_dir():
        files = [
            file
            for file, _ in zip(path.rglob("*"), range(5000), strict=False)
            if file.is_file() and not file.name.startswith((".", "_"))
        ]
        if files and sum(file.suffix.lower() in image_suffixes() for file in files) * 2 > len(
            files
        ):
            return "images"
        if any(file.suffix == ".json" for file in files):
            return "leaf"
        return table_kind(path)
    suffix = path.suffix.lower()
    content = content_of(path)
    if content == "sqlite":
        return "sqlite"
    if suffix == ".npz" and content == "zip":
        return "npz"
    if suffix == ".json" and content == "text":
        return "leaf"
    return table_kind(path)


def _relative(path: Path, project: Path) -> str:
    resolved = path.resolve()
    if resolved.is_relative_to(project.resolve()):
        return str(resolved.relative_to(project.resolve()))
    return str(resolved)


def _text(value: Any) -> str:
    from fedpipe.data.sources.table import yaml_text

    if isinstance(value, list):
        return f"[{', '.join(yaml_text(item) if isinstance(item, str) else str(item) for item in value)}]"
    if value == "\t":
        return "tab"
    if value is None:
        return "null"
    return str(value)


def _read(config: DataConfig, project: Path) -> tuple[str | None, list[str]]:
    """Read all examples; return the refusal, or None and what was understood."""
    from fedpipe.data.labels import label_notes
    from fedpipe.data.sources import open_source

    try:
        source = open_source(config, project)
        rows = 0
        labels: set[Any] = set()
        clients: set[str] = set()
        for batch in source.batches():
            rows += len(batch.y)
            labels.update(batch.y.tolist() if isinstance(batch.y, np.ndarray) else batch.y)
            clients.update(batch.clients or ())
        if not rows:
            return f"{config.path}: expected examples, found none.", []
    except DataError as err:
        return str(err), []
    summary = source.summary() if source.summary is not None else None
    lines = [summary.format, f"features: {summary.features}"] if summary is not None else []
    shown = shorten(sorted(labels, key=lambda label: (isinstance(label, str), label)), 5)
    lines.append(
        f"{rows:,} examples, "
        f"{f'{len(clients):,} clients' if config.client_column else 'no clients'}, "
        f"{len(labels):,} labels: {shown}"
    )
    if summary is not None:
        lines += [f"left out: {text}" for text in summary.left_out] + [
            f"note: {text}" for text in summary.notes
        ]
    kinds = {isinstance(label, str) for label in labels}
    if len(kinds) == 1:
        lines += [f"note: {text}" for text in label_notes(tuple(sorted(labels)), rows, None)]
    return None, lines


def _look_at_table(report: DataReport, path: Path, settings: dict[str, Any]) -> None:
    """Describe the columns, and choose those of label and client if the settings name none that is
    there.
    """
    from fedpipe.data.sources.tabular import open_table

    try:
        table = open_table(DataConfig(**settings), path)
        report.columns = _columns(table)
    except DataError:
        return  # `refused` says it
    if table.header_hint() is not None:
        return  # the names are not those of the columns
    names = [column.name for column in report.columns if len(column.name) <= 200]
    if settings["label_column"] not in names:
        label = _likely_label(report.columns)
        if label is not None:
            settings["label_column"] = label
            report.doubts.append(
                f"the label is taken to be {label}: name another in data.label_column if it is not"
            )
    if settings["client_column"] not in names:
        client = next(
            (
                column.name
                for column in report.columns
                if _names(_CLIENT, column.name) and column.name != settings["label_column"]
            ),
            None,
        )
        settings["client_column"] = client
        report.doubts.append(
            f"the clients are taken from {client}: name another column in data.client_column if "
            "they are not"
            if client
            else "no column looks like a client: data.partition makes clients from the rows"
        )


def _names(pattern: re.Pattern[str], name: str) -> bool:
    """Return whether a column's name is one of a pattern's words, alone or with an `id` or the like
    beside it.
    """
    words = [word for word in re.split(r"[\W_]+", name.strip()) if word]
    plain = [
        word
        for word in words
        if word.lower() not in ("id", "ids", "name", "no", "nr", "number", "key", "code")
    ]
    return bool(pattern.fullmatch(name.strip())) or (
        len(plain) == 1 and bool(pattern.fullmatch(plain[0]))
    )


def _likely_label(columns: Sequence[Column]) -> str | None:
    columns = [column for column in columns if len(column.name) <= 200]
    named = [column for column in columns if column.name and _names(_LABEL, column.name)]
    few = [
        column
        for column in columns
        if column.name and 2 <= column.distinct <= _MOST_LABELS and not _names(_CLIENT, column.name)
    ]
    whole = [column for column in few if column.kind != "numbers"]
    for candidates in (named, whole[-1:]):
        if candidates:
            return candidates[0].name
    return None


def _columns(table: "CsvTable | ParquetTable") -> list[Column]:
    from fedpipe.data.sources.csv_table import CsvTable

    if isinstance(table, CsvTable):
        return _csv_columns(table)
    return _parquet_columns(table)


def _csv_columns(table: "CsvTable") -> list[Column]:
    sample = table.sample(_SAMPLE_ROWS)
    kinds = table.kinds(range(len(table.names))) if len(table.names) <= 1000 else {}
    columns = []
    for place, name in enumerate(table.names):
        cells = sample.get(place, [])
        kind = str(kinds[place]) if place in kinds else "not looked at"
        columns.append(Column(name, kind, len(set(cells)), cells[0][:40] if cells else ""))
    return columns


def _parquet_columns(table: "ParquetTable") -> list[Column]:
    import pyarrow as pa

    columns = []
    for place, name in enumerate(table.names):
        kind = table.types[place]
        values: list[Any] = []
        simple: bool = (
            pa.types.is_integer(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_string(kind)
            or pa.types.is_floating(kind)
        )
        if simple and len(table.names) <= 1000:
            for chunk in table.chunks([place]):
                values += chunk.columns[place].to_pylist()
                if len(values) >= _SAMPLE_ROWS:
                    break
        columns.append(
            Column(
                name,
                "numbers" if pa.types.is_floating(kind) else str(kind),
                len(set(values)),
                str(values[0])[:40] if values else "",
            )
        )
    return columns


def _without_clients_if_so(report: DataReport, settings: dict[str, Any], project: Path) -> None:
    if report.refused and "data.client_column=null" in report.refused:
        refused, _ = _read(DataConfig(**{**settings, "client_column": None}), project)
        if refused is None:
            settings["client_column"] = None
            report.doubts.append(
                "the folders are labels and name no clients: data.partition makes clients"
            )


def _try(report: DataReport, settings: dict[str, Any], project: Path) -> None:
    """Read with the settings, taking up what the refusals propose, some times."""
    for _ in range(_TRIES):
        refused, lines = _read(DataConfig(**settings), project)
        if refused is None:
            report.lines = lines
            report.readable = True
            return
        report.refused = report.refused or refused
        change = _proposed(refused)
        key, value = change if change is not None else ("", None)
        if not key or settings.get(key) == value:
            report.lines = [refused] if refused != report.refused else []
            return
        if key == "ignore_columns":
            value = sorted({*(settings.get(key) or []), *map(str, value or ())})
        settings[key] = value


def _proposed(refused: str) -> tuple[str, Any] | None:
    """Return the setting that a refusal names as its remedy, if one can be tried without asking."""
    import yaml

    texts = re.search(r"columns? of texts: .*data\.ignore_columns=(\[.*?\])", refused) or re.search(
        r"found .*\(.*\)\. Leave them out with data\.ignore_columns=(\[.*?\])", refused
    )
    if texts:
        return "ignore_columns", [str(name) for name in yaml.safe_load(texts[1])]
    if "set data.decimal=, " in refused:
        return "decimal", ","
    encoding = re.search(r"Set data\.encoding=(utf-[\w-]+)", refused)
    if encoding:
        return "encoding", encoding[1]
    if "expected a text in utf-8, found the byte" in refused:
        return "encoding", "cp1252"
    separator = re.search(r"set data\.separator=(tab|'.')", refused)
    if separator:
        return "separator", "\t" if separator[1] == "tab" else separator[1].strip("'")
    return None


def report_lines(report: DataReport) -> list[str]:
    """Return what `fedpipe doctor DATA` prints."""
    lines = [f"{report.path}: data.source={report.source}" if report.source else report.path]
    if report.columns:
        lines.append(f"{len(report.columns):,} columns:")
        lines += [
            f"  {column.name or f'(no name, column {number})'}: {column.kind}"
            + (
                f", {column.distinct:,} distinct, such as {column.example!r}"
                if column.example
                else ""
            )
            for number, column in enumerate(report.columns[:_MOST_SHOWN], 1)
        ]
        if len(report.columns) > _MOST_SHOWN:
            lines.append(f"  and {len(report.columns) - _MOST_SHOWN:,} more")
    if report.refused:
        lines.append(f"with the project's settings prepare would refuse it: {report.refused}")
    lines += report.lines
    lines += [f"look at this: {text}" for text in report.doubts]
    if report.readable:
        lines.append(f"read it with: {report.command}")
    return lines
