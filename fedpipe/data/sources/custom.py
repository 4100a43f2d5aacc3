"""A source of the user's own: `data.source: mypackage.module:function`. The contract:
docs/sources.md.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.data.sources.base import Batch, PixelConvention, Source, SourceSummary
from fedpipe.data.sources.feature_checks import check_features, check_sequences
from fedpipe.data.sources.places import BatchPlace
from fedpipe.data.sources.target_checks import checked_batch
from fedpipe.errors import DataError
from fedpipe.system.user_code import import_own, own_code
from fedpipe.system.user_options import OptionsReader, read_options

_END = object()


def open_custom(config: DataConfig, project: Path, kind: TaskKind = "classification") -> Source:
    """Import the function, from the project's folder if it is there, and return what it returns for
    these settings.

    Raises:
        ConfigError: its module has the name of another one.
        DataError: the module or the function is not there, raises, or does not return a `Source`;
            the cause is kept.
    """
    build = import_own(config.source, project, "data.source", DataError)
    reader = OptionsReader(f"data.source={config.source}", build, given=2)
    (options,) = read_options("data.options", config.options, [reader], DataError)
    with _own(config, "opening the source"):
        source = build(config, project, **options)
    if not isinstance(source, Source):
        raise DataError(
            f"data.source={config.source}: expected it to return a fedpipe.data.sources.Source, "
            f"found {type(source).__name__}."
        )
    _refuse_wrong_facts(config, source)
    summary = source.summary
    return replace(
        source,
        batches=lambda: _batches(config, source, kind),
        summary=(lambda: _summary(config, summary)) if summary is not None else None,
    )


def _refuse_wrong_facts(config: DataConfig, source: Source) -> None:
    """Raise DataError for a wrong `num_classes` or an unknown pixel convention."""
    classes = source.num_classes
    if classes is not None and (
        isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 1
    ):
        raise DataError(
            f"data.source={config.source}: expected num_classes to be a whole number from 1, or "
            f"None: the labels that occur are the classes then. Found {classes!r:.50}."
        )
    if source.pixel_convention not in (None, *get_args(PixelConvention)):
        raise DataError(
            f"data.source={config.source}: expected pixel_convention to be None or one of "
            f"{', '.join(get_args(PixelConvention))}, found {source.pixel_convention!r:.50}."
        )


def module_file(source: str, project: Path) -> str | None:
    """Return the file of the project that a source of the user's own is in; None for one of
    fedpipe's or of an installed package.
    """
    module, colon, _ = source.partition(":")
    place = module.replace(".", "/")
    files = (f"{place}.py", f"{place}/__init__.py")
    return next((file for file in files if colon and (project / file).is_file()), None)


def _batches(config: DataConfig, source: Source, kind: TaskKind) -> Iterable[Batch]:
    row = 0
    with _own(config, "reading its batches"):
        batches = iter(source.batches())
    while True:
        with _own(config, "reading its batches"):
            batch = next(batches, _END)
        if batch is _END:
            return
        if not isinstance(batch, Batch):
            raise DataError(
                f"data.source={config.source}: expected batches to be fedpipe.data.sources.Batch, "
                f"found {type(batch).__name__}."
            )
        place = BatchPlace(f"data.source={config.source}", row)
        with _own(config, f"checking the batch from {place.row()} on"):
            checked = _checked(config, batch, place, kind)
        if checked is not None:
            yield checked
            row += len(checked.x)


def _checked(config: DataConfig, batch: Batch, place: BatchPlace, kind: TaskKind) -> Batch | None:
    """Return a batch whose columns are what `Batch` says, converted where nothing is lost; None if
    it has no examples.

    Raises:
        DataError: a column is of another type or length, or a value is missing or no number, id or
            label; it names the row, counted from 0 over all batches.
    """
    columns = {
        name: _column(getattr(batch, name), name, place)
        for name in ("x", "y", "clients", "is_test")
    }
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise DataError(
            f"{place.source}: expected as many values in each column of a batch, found {shown}, "
            f"from {place.row()} on."
        )
    if not lengths["x"]:
        return None
    x = _features(config, columns["x"], place)
    return checked_batch(x, columns["y"], columns["clients"], columns["is_test"], place, kind)


def _column(values: Any, name: str, place: BatchPlace) -> Any:
    """Return a column as a list or an array of at least one dimension; data frames' columns and
    tensors as arrays.
    """
    if values is None and name != "x":
        return None
    if isinstance(values, list | tuple):
        return list(values)
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise DataError(
            f"{place.source}: expected {name} to be a list or an array with a value for each "
            f"example, found {values!r:.50} from {place.row()} on."
        )
    if name == "x" and isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)  # type: ignore[no-untyped-call]
        values = (
            np.where(mask, np.nan, values.data) if mask.any() else values.data
        )  # NaN is refused with its row
    column = values if isinstance(values, np.ndarray) else np.asarray(values)
    if not column.ndim:
        raise DataError(
            f"{place.source}: expected {name} to be a list or an array, found "
            f"{type(values).__name__} from {place.row()} on."
        )
    return column


def _features(config: DataConfig, x: Any, place: BatchPlace) -> Any:
    """Return features as an array, or a list of sequences as sequences."""
    if isinstance(x, np.ndarray):
        return check_features(x, place, config.feature_dtype, tokens=True)
    if x and all(map(_is_sequence, x)):
        return check_sequences(x, place)
    try:
        joined = np.asarray(x)
    except ValueError as err:
        raise DataError(
            f"{place.source}: expected features of one shape, or sequences of whole numbers, found "
            f"several shapes from {place.row()} on."
        ) from err
    if len(x):
        return check_features(joined, place, config.feature_dtype)
    return joined


def _is_sequence(x: Any) -> bool:
    return isinstance(x, str) or (np.ndim(x) == 1 and np.asarray(x).dtype.kind in "iu")


def _summary(config: DataConfig, summary: Callable[[], SourceSummary]) -> SourceSummary:
    where = f"data.source={config.source}"
    with _own(config, "calling summary()"):
        value = summary()
    if not isinstance(value, SourceSummary):
        raise DataError(
            f"{where}: expected summary() to return a fedpipe.data.sources.SourceSummary, found "
            f"{type(value).__name__}."
        )
    texts = (value.format, value.features, *value.left_out, *value.notes)
    if not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"{where}: expected the fields of a SourceSummary to be texts, found {value}."
        )
    return value


def _own(config: DataConfig, doing: str) -> AbstractContextManager[None]:
    return own_code(f"data.source={config.source}", DataError, doing)
