"""What a file or folder of the user's is: reads it as `prepare` would, and says which settings fit.
Behind `fedpipe doctor DATA`.
"""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskConfig, TaskKind
from fedpipe.errors import DataError, shorten
from fedpipe.maintenance.data_columns import look_at_table
from fedpipe.maintenance.data_report import DataReport

_MAX_TRIES = 4
_MAX_FILES = 5000
"""Entries of a folder that are looked at to tell what it holds."""
_WORDS: dict[TaskKind, str] = {
    "classification": "labels",
    "binary": "labels",
    "multilabel": "values of labels",
    "regression": "values of the first target",
    "tokens": "labels",
}
_OF_THE_FILE = (
    "separator",
    "encoding",
    "decimal",
    "column_names",
    "feature_columns",
    "ignore_columns",
    "feature_dtype",
    "memory_limit_mb",
)
"""Settings of the project that hold for a file read by the project's own source."""


def check_data(
    path: Path, config: DataConfig, project: Path, kind: TaskKind = "classification"
) -> DataReport:
    """Return what a file or folder is, reading all of it as `prepare` would.

    Args:
        path: the file or folder.
        config: the project's settings under `data`; those that name columns and how a CSV is
            written are tried first.
        project: folder that paths in settings are relative to.
        kind: `task.kind`, by which the labels are read.
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
    of_the_file = _OF_THE_FILE if config.source == report.source else ()
    for key in (*of_the_file, "client_column", "label_column"):
        settings[key] = getattr(config, key)
    report.refused, _ = _read(DataConfig(**settings), project, kind)
    if report.source in ("csv", "parquet"):
        look_at_table(report, path, settings)
    elif report.source == "images":
        _drop_clients_if_refused(report, settings, project, kind)
    fitting_kind = _read_with_proposals(report, settings, project, kind)
    defaults = DataConfig()
    kinds = [f"task.kind={fitting_kind}"] if fitting_kind != TaskConfig().kind else []
    report.settings = kinds + [
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
        suffixes = [
            file.suffix
            for file in itertools.islice(path.rglob("*"), _MAX_FILES)
            if file.is_file() and not file.name.startswith((".", "_"))
        ]
        images = sum(suffix.lower() in image_suffixes() for suffix in suffixes)
        if images * 2 > len(suffixes):
            return "images"
        if ".json" in suffixes:
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
        items = (yaml_text(item) if isinstance(item, str) else str(item) for item in value)
        return f"[{', '.join(items)}]"
    return {"\t": "tab", None: "null"}.get(value, str(value))


def _read(config: DataConfig, project: Path, kind: TaskKind) -> tuple[str | None, list[str]]:
    """Read all examples; return the refusal, or None and what was understood."""
    from fedpipe.data.labels import label_notes, require_two_labels
    from fedpipe.data.sources import open_source

    try:
        source = open_source(config, project, kind)
        rows = 0
        labels: set[Any] = set()
        clients: set[str] = set()
        for batch in source.batches():
            rows += len(batch.x)
            labels.update(_labels_of(batch.y))
            clients.update(batch.clients or ())
        if not rows:
            return f"{config.path}: expected examples, found none.", []
        if kind == "binary":
            require_two_labels(tuple(sorted(labels)), str(config.path))
    except DataError as err:
        return str(err), []
    shown = shorten(sorted(labels, key=lambda label: (isinstance(label, str), label)), 5)
    counted = f"{len(clients):,} clients" if config.client_column else "no clients"
    lines = [f"{rows:,} examples, {counted}, {len(labels):,} {_WORDS[kind]}: {shown}"]
    if kind == "tokens":
        lines = [f"{rows:,} examples, {counted}, no labels (task.kind=tokens)"]
    if source.summary is not None:
        summary = source.summary()
        lines = [summary.format, f"features: {summary.features}", *lines]
        lines += [f"left out: {text}" for text in summary.left_out]
        lines += [f"note: {text}" for text in summary.notes]
    is_class = kind in ("classification", "binary")
    if is_class and len({isinstance(label, str) for label in labels}) == 1:
        lines += [f"note: {text}" for text in label_notes(tuple(sorted(labels)), rows, None)]
    return None, lines


def _labels_of(y: Any) -> set[Any]:
    """Return the different labels of a batch; of rows of targets the different first ones, of lists
    of labels each.
    """
    if y is None:
        return set()
    if isinstance(y, np.ndarray):
        return set((y if y.ndim == 1 else y[:, 0]).tolist())
    return {label for labels in y for label in (labels if isinstance(labels, list) else [labels])}


def _drop_clients_if_refused(
    report: DataReport, settings: dict[str, Any], project: Path, kind: TaskKind
) -> None:
    if report.refused and "data.client_column=null" in report.refused:
        refused, _ = _read(DataConfig(**{**settings, "client_column": None}), project, kind)
        if refused is None:
            settings["client_column"] = None
            report.doubts.append(
                "the folders are labels and name no clients: data.partition makes clients"
            )


def _read_with_proposals(
    report: DataReport, settings: dict[str, Any], project: Path, kind: TaskKind
) -> TaskKind:
    """Read with the settings, then with what the refusals propose, a few times; return the kind of
    the labels that was tried last.
    """
    for _ in range(_MAX_TRIES):
        refused, lines = _read(DataConfig(**settings), project, kind)
        if refused is None:
            report.lines = lines
            report.readable = True
            return kind
        report.refused = report.refused or refused
        if kind == "classification" and "set task.kind=regression" in refused:
            kind = "regression"
            report.doubts.append(
                "the labels are numbers with fractions: they are taken to be a quantity to predict "
                "(task.kind=regression); name another column in data.label_column if they are not"
            )
            continue
        key, value = _proposed(refused) or ("", None)
        if not key or settings.get(key) == value:
            if refused != report.refused:
                report.lines = [refused]
            return kind
        if key == "ignore_columns":
            value = sorted({*(settings.get(key) or []), *map(str, value or ())})
        settings[key] = value
    return kind


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
    separator = re.search(r"set data\.separator=(?:(tab)|'(.)')", refused)
    if separator:
        return "separator", separator[2] or "\t"
    return None
