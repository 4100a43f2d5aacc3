"""Features from Arrow columns: columns of numbers side by side, or one column of lists, of texts or
of tensors.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Array, Int32s
from fedpipe.data.sources.arrow_types import is_list, is_number, is_text
from fedpipe.data.sources.feature_checks import check_columns, check_features, check_sequences
from fedpipe.data.sources.places import BatchPlace
from fedpipe.data.sources.table import ignore_setting
from fedpipe.errors import DataError, shorten


def features_of(
    config: DataConfig, columns: Sequence[tuple[str, Any]], place: BatchPlace
) -> Array | list[Int32s]:
    """Return a vector for each row, from a column of numbers each or from one column of lists
    (fixed size) or a sequence for each row, from one column of lists or of texts.

    Args:
        config: the settings under `data`.
        columns: names and Arrow arrays, at least one.
        place: where they come from, for errors.

    Raises:
        DataError: a value is missing, or the columns are no features of these kinds.
    """
    import pyarrow as pa

    for name, column in columns:
        if column.null_count:
            row = place.first_row + column.is_null().index(True).as_py()
            raise DataError(
                f"{place.source}: row {row}, column {name}: expected a value, found none (null). "
                f"Fill it in, remove the row, or leave the column out: {ignore_setting([name])}."
            )
    if len(columns) == 1:
        name, column = columns[0]
        if is_list(column.type):
            return _lists(config, name, column, place)
        if isinstance(column.type, pa.FixedShapeTensorType):
            return check_features(column.to_numpy_ndarray(), place, config.feature_dtype)
        if is_text(column.type):
            return check_sequences(column.to_pylist(), place)
    others = [(name, column.type) for name, column in columns if not is_number(column.type)]
    if others:
        shown = shorten((f"{name} ({kind})" for name, kind in others), 5)
        setting = ignore_setting(name for name, _ in others)
        raise DataError(
            f"{place.source}: expected features that are numbers, found {shown}. Leave them out "
            f"with {setting}, or encode them as numbers."
        )
    x = np.stack([_numbers(column) for _, column in columns], axis=1)
    plain = replace(place, row_name="row {}".format)
    return check_columns(config, [name for name, _ in columns], x, plain)


def _numbers(column: Any) -> Array:
    import pyarrow as pa

    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _lists(config: DataConfig, name: str, column: Any, place: BatchPlace) -> Array | list[Int32s]:
    """Return a column of lists: of whole numbers in lists of variable size as sequences, of
    anything else as vectors of one length.
    """
    import pyarrow.compute as pc
    from pyarrow import types

    kind = column.type.value_type
    if is_list(kind):
        return check_features(_arrays(name, column, place), place, config.feature_dtype)
    values = column.flatten()
    if not is_number(kind) or values.null_count:
        raise DataError(
            f"{place.source}: expected lists of numbers without gaps in {name}, found "
            f"{column.type} or a gap from row {place.first_row} on."
        )
    sizes = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    numbers = values.to_numpy(zero_copy_only=False)
    dtype: type[np.generic] = np.float64
    if types.is_integer(kind):
        dtype = np.uint8 if types.is_uint8(kind) else np.int64
    has_variable_size = dtype is np.int64 and not types.is_fixed_size_list(column.type)
    if has_variable_size and config.feature_dtype in ("auto", "int32"):
        return check_sequences(np.split(numbers, np.cumsum(sizes)[:-1]), place)
    lengths = sorted(set(sizes.tolist()))
    if len(lengths) != 1:
        raise DataError(
            f"{place.source}: expected lists of one length in {name}, found lengths "
            f"{shorten(lengths, 3)}; whole numbers (tokens) may differ in length, others may not. "
            "Pad them."
        )
    vectors = numbers.reshape(len(column), lengths[0]).astype(dtype)
    return check_features(vectors, place, config.feature_dtype, tokens=True)


def _arrays(name: str, column: Any, place: BatchPlace) -> Array:
    """Return a column of lists of lists of numbers as one array, [rows, lists, ..., numbers]."""
    import pyarrow.compute as pc

    shape = [len(column)]
    while is_list(column.type):
        sizes = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(sizes) != 1 or sizes[0] is None:
            raise DataError(
                f"{place.source}: expected lists in lists of the same size in every row of "
                f"{name}, found sizes {shorten(sizes, 3)} from row {place.first_row} on. Pad or "
                f"correct them, or leave the column out: {ignore_setting([name])}."
            )
        shape.append(sizes[0])
        column = column.flatten()
    if not is_number(column.type) or column.null_count:
        shown = "values that are missing (null)" if is_number(column.type) else column.type
        raise DataError(
            f"{place.source}: expected lists in lists of numbers in {name}, found {shown} from row "
            f"{place.first_row} on. Correct them."
        )
    return _numbers(column).reshape(shape)
