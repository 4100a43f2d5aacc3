"""Sources `parquet` and `csv`: one row an example, one column the client, one the label, the others
the features.

pandas reads CSV, pyarrow Parquet. An optional column `split` holds train or test. Columns are known
by their names.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.data.preprocess.steps import FittedSteps
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.column_roles import SPLIT_COLUMN, Roles, assign_roles
from fedpipe.data.sources.csv_table import CsvTable
from fedpipe.data.sources.parquet_table import ParquetTable
from fedpipe.data.sources.places import own_path
from fedpipe.data.sources.raw_columns import RawColumns
from fedpipe.data.sources.table import TableRows
from fedpipe.data.sources.table_files import content_of
from fedpipe.data.sources.table_reader import TableReader
from fedpipe.errors import DataError, shorten


def open_table_source(
    config: DataConfig, project: Path, kind: TaskKind = "classification"
) -> Source:
    """Return the rows of a CSV or Parquet file, or of a folder of them; a client's name stays as it
    is written, so `007` is not 7.

    Raises:
        DataError: the file is not there, is of another kind, lacks a column, or has row groups too
            large for `data.memory_limit_mb`.
    """
    path = own_path(config, project)
    readers: list[TableReader] = []

    def batches() -> Iterator[Batch]:
        table = open_table(config, path)
        reader = TableReader(config, table, assign_roles(config, table), kind)
        readers[:] = [reader]
        yield from reader.batches()

    return Source(batches, summary=lambda: readers[0].summary(), texts=lambda: readers[0].texts)


def open_table(config: DataConfig, path: Path) -> CsvTable | ParquetTable:
    """Return a table, opened by the settings: its columns' names, and how it is read. Raises
    DataError if it cannot be.
    """
    if config.source == "parquet":
        return ParquetTable(config, path)
    return CsvTable(config, path)


def table_kind(path: Path) -> str | None:
    """Return the source that reads a file or a folder as a table, `csv` or `parquet`; None if
    neither does.
    """
    if path.is_dir():
        files = sorted(
            file
            for file in path.rglob("*")
            if file.is_file() and not file.name.startswith((".", "_"))
        )
        kinds = Counter(filter(None, map(table_kind, files[:1000])))
        return max(kinds, key=kinds.__getitem__, default=None)
    content = content_of(path)
    is_text = content in ("text", "gzip", "bzip2", "xz")
    if is_text and path.suffix.lower() not in (".json", ".yaml", ".xml", ".html"):
        return "csv"
    return "parquet" if content == "parquet" else None


@dataclass(frozen=True)
class TableFeatures:
    """The features of a table without its labels and clients: what a model predicts from.

    Attributes:
        names: of the columns of features, in the model's order.
        surplus: columns that the table has beside them, its columns of label, client and split left
            aside.
        rows: yields the rows; raises DataError where a cell is missing or no number.
        texts: returns the distinct texts of each column of texts beside numbers, of the rows that
            were taken.
    """

    names: tuple[str, ...]
    surplus: tuple[str, ...]
    rows: Callable[[], Iterator[TableRows]]
    texts: Callable[[], Mapping[str, Sequence[str]]] = dict


def open_features(
    config: DataConfig, path: Path, columns: Sequence[str] = (), steps: FittedSteps | None = None
) -> TableFeatures:
    """Open a table by the settings that a model's training data were read with, and find the
    model's features by their names.

    Args:
        config: the settings; `source` says whether this table is `csv` or `parquet`.
        path: a file, or a folder of files.
        columns: names of the features in the order that the model takes them; () takes the table's
            own, as in training. The table may have them in any order.
        steps: of the model, which say what columns hold texts and where cells may be empty.

    Raises:
        DataError: it cannot be read, or a column is missing or there twice.
    """
    table = open_table(config, path)
    if not columns:
        roles = assign_roles(config, table, labelled=False)
        roles = replace(roles, labels=(), client=None, split=None)
        surplus: tuple[str, ...] = ()
    else:
        counts = Counter(table.names)
        known = {*columns, "", *config.label_columns, config.client_column, SPLIT_COLUMN}
        surplus = tuple(name for name in counts if name not in known)
        missing = [name for name in columns if name not in counts]
        if missing:
            unknown = f"; columns that the model does not know: {shorten(surplus)}"
            raise DataError(
                f"{path}: expected the {len(columns)} columns that the model was trained on, "
                f"found no {shorten(missing)}{unknown if surplus else ''}. Add or rename them; "
                "their order does not matter."
            )
        twins = [name for name in dict.fromkeys(columns) if counts[name] > 1]
        if twins:
            raise DataError(
                f"{path}: expected each column once, found {shorten(twins)} twice. Rename or "
                "remove one."
            )
        places = {name: place for place, name in enumerate(table.names)}
        roles = Roles((), None, None, tuple(places[name] for name in columns))
    reader = TableReader(config, table, roles, raw=RawColumns.of_fitted(steps))
    return TableFeatures(
        tuple(table.names[place] for place in roles.features),
        surplus,
        reader.rows,
        lambda: reader.texts,
    )
