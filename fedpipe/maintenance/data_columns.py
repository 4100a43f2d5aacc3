"""Which columns has a table, and which of them are its label and its clients?"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.config import DataConfig
from fedpipe.errors import DataError
from fedpipe.maintenance.data_report import Column, DataReport

if TYPE_CHECKING:
    from fedpipe.data.sources.csv_table import CsvTable
    from fedpipe.data.sources.parquet_table import ParquetTable

_CLIENT = re.compile(
    r"(client|user|writer|device|patient|subject|site|hospital|customer|person|participant|member"
    r"|account|speaker|author|group|clinic|school|store|shop)s?",
    re.I,
)
_LABEL = re.compile(
    r"(label|target|class|classes|y|category|species|diagnosis|outcome|character|digit|sentiment"
    r"|variety|quality|response)s?",
    re.I,
)
_BESIDE = {"id", "ids", "name", "no", "nr", "number", "key", "code"}
"""Words that may stand beside one of these in the name of a column."""
_MAX_NAME = 200
"""Characters in the name of a column that is chosen, at most."""
_SAMPLE_ROWS = 100_000
_MAX_LABELS = 50


def look_at_table(report: DataReport, path: Path, settings: dict[str, Any]) -> None:
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
    names = [column.name for column in report.columns if len(column.name) <= _MAX_NAME]
    labels = DataConfig(**settings).label_columns
    if len(labels) == 1 and labels[0] not in names:
        label = _likely_label(report.columns)
        if label is not None:
            settings["label_column"] = label
            report.doubts.append(
                f"the label is taken to be {label}: name another in data.label_column if it is not"
            )
    if settings["client_column"] not in names:
        like_clients = (
            column.name
            for column in report.columns
            if _names(_CLIENT, column.name)
            and column.name not in DataConfig(**settings).label_columns
        )
        client = next(like_clients, None)
        settings["client_column"] = client
        doubt = "no column looks like a client: data.partition makes clients from the rows"
        if client:
            doubt = (
                f"the clients are taken from {client}: name another column in data.client_column "
                "if they are not"
            )
        report.doubts.append(doubt)


def _names(pattern: re.Pattern[str], name: str) -> bool:
    """Return whether a column's name is one of a pattern's words, alone or with an `id` or the like
    beside it.
    """
    words = [word for word in re.split(r"[\W_]+", name.strip()) if word]
    plain = [word for word in words if word.lower() not in _BESIDE]
    return bool(pattern.fullmatch(name.strip())) or (
        len(plain) == 1 and bool(pattern.fullmatch(plain[0]))
    )


def _likely_label(columns: Sequence[Column]) -> str | None:
    """Return the first column that is called like a label, or else the last one with few values;
    None if there is none.
    """
    columns = [column for column in columns if 0 < len(column.name) <= _MAX_NAME]
    for column in columns:
        if _names(_LABEL, column.name):
            return column.name
    for column in reversed(columns):
        few = 2 <= column.distinct <= _MAX_LABELS
        if few and column.kind != "numbers" and not _names(_CLIENT, column.name):
            return column.name
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
