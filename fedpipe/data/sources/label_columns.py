"""Checks that `data.label_column` names what the kind of task needs."""

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.errors import DataError

_READERS = ("csv", "parquet", "npz", "sqlite")
"""Sources that read `data.label_column`."""


def check_label_columns(config: DataConfig, kind: TaskKind) -> None:
    """Raise DataError if `data.label_column` names none where labels are needed, one where there
    are none, or several where one is.
    """
    if config.source not in _READERS:
        return
    columns = config.label_columns
    written = f"data.label_column={config.label_column}"
    if kind == "tokens" and columns:
        raise DataError(
            f"{written}: expected none for task.kind=tokens, whose features are what is predicted. "
            "Set data.label_column=null."
        )
    if kind != "tokens" and not columns:
        raise DataError(
            f"data.label_column=null: expected the column of labels for task.kind={kind}; "
            "task.kind=tokens alone has none. Name it."
        )
    if len(columns) > 1 and kind in ("classification", "binary"):
        raise DataError(
            f"data.label_column=[{', '.join(columns)}]: expected one column for task.kind={kind}, "
            f"found {len(columns)}. Name one, or set task.kind=multilabel or regression."
        )
    repeated = [name for place, name in enumerate(columns) if name in columns[:place]]
    if repeated:
        raise DataError(
            f"data.label_column=[{', '.join(columns)}]: expected each column once, found "
            f"{repeated[0]} twice. Remove one."
        )
