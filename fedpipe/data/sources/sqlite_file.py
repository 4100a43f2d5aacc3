"""Source `sqlite`: a file in TFF's SQLite format of client data
(`tff.simulation.datasets.load_and_parse_sql_client_data`).

Table `examples(split_name, client_id, serialized_example_proto)`, each proto a `tf.train.Example`.
Splits whose name ends in `test` are the test split, all others train. TensorFlow is imported to
parse the protos.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.data.sources.base import Batch, Source
from fedpipe.data.sources.feature_checks import check_features
from fedpipe.data.sources.places import BATCH_ROWS, BatchPlace, own_path, unreadable
from fedpipe.data.sources.target_checks import checked_batch
from fedpipe.data.tff_files import refuse_cut_short
from fedpipe.errors import DataError, shorten


def open_sqlite(config: DataConfig, project: Path, kind: TaskKind = "classification") -> Source:
    """Return the examples of the file: the label is the feature `data.label_column`, all others are
    joined to a vector.

    Raises:
        DataError: the file is not there, is cut short, or is not in TFF's format.
    """
    path = own_path(config, project)
    refuse_cut_short("sqlite", path, "Replace the file, or correct data.path or data.source.")
    return Source(lambda: _batches(config, path, kind))


def _batches(config: DataConfig, path: Path, kind: TaskKind) -> Iterator[Batch]:
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute(
                "PRAGMA trusted_schema = OFF"
            )  # a view in the file may call no function that does things
            names = [
                name
                for (name,) in connection.execute(
                    "SELECT DISTINCT split_name FROM examples ORDER BY split_name"
                )
            ]
            tests = [str(name).endswith("test") for name in names]
            query = (
                "SELECT client_id, serialized_example_proto FROM examples WHERE split_name IS ? "
                "ORDER BY rowid"
            )
            shape: dict[str, tuple[bool, int]] = {}
            for name, is_test in zip(names, tests, strict=True):
                cursor = connection.execute(query, (name,))
                where = f"{path} (split {str(name)[:50]!r}, in the order of rowid)"
                row = 0
                while rows := cursor.fetchmany(BATCH_ROWS):
                    marks = is_test if len(set(tests)) == 2 else None
                    yield _batch(config, where, rows, row, marks, shape, kind)
                    row += len(rows)
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as err:
        raise unreadable(path, "a SQLite file of TFF's client data", err) from err


def _batch(
    config: DataConfig,
    path: str,
    rows: list[Any],
    first: int,
    is_test: bool | None,
    shape: dict[str, tuple[bool, int]],
    kind: TaskKind,
) -> Batch:
    """Return some rows; `shape` says of each feature of the first example whether it is numbers and
    how many, and is filled by it.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    needed = set(config.label_columns)
    examples = []
    for row, (_, proto) in enumerate(rows, first):
        try:
            examples.append(_values(tf.train.Example.FromString(proto)))
        except (DecodeError, TypeError) as err:
            raise DataError(
                f"{path}: expected a tf.train.Example at row {row}, found other bytes. Make the "
                "file again."
            ) from err
        if examples[-1].keys() != examples[0].keys() or not needed <= examples[-1].keys():
            raise DataError(
                f"{path}: expected the feature {shorten(config.label_columns)} and the same others "
                f"in each example, found {sorted(examples[-1])} at row {row}. Name yours in "
                "data.label_column."
            )
    labels = [
        [value for name in config.label_columns for value in example.pop(name)]
        for example in examples
    ]
    has_one = kind in ("classification", "binary")
    if has_one and any(len(label) != 1 for label in labels):
        raise DataError(
            f"{path}: expected one label in each example, found another number from row {first} "
            "on. Correct them."
        )
    for row, example in enumerate(examples, first):
        lengths = {
            name: (all(isinstance(value, int | float) for value in values), len(values))
            for name, values in example.items()
        }
        shape.update(lengths if not shape else {})
        if not all(is_number for is_number, _ in lengths.values()):
            raise DataError(
                f"{path}: expected features that are numbers, found texts at row {row}. Encode "
                "them."
            )
        if lengths != shape:
            raise DataError(
                f"{path}: expected features of one length in each example, found others at row "
                f"{row}. Correct them."
            )
    vectors = [
        [value for name in sorted(example) for value in example[name]] for example in examples
    ]
    place = BatchPlace(path, first)
    x = check_features(np.array(vectors, np.float64), place, config.feature_dtype)
    clients = [client for client, _ in rows]
    values: list[Any] | None = [label[0] for label in labels] if has_one else labels
    return checked_batch(x, values, clients, is_test, place, kind)


def _values(example: Any) -> dict[str, list[Any]]:
    """Return the values of each feature."""
    return {
        name: list(getattr(feature, feature.WhichOneof("kind") or "float_list").value)
        for name, feature in example.features.feature.items()
    }
