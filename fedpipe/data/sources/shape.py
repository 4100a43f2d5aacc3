"""The setting `data.feature_shape`: flat rows of features as images or other arrays."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from fedpipe.config import DataConfig
from fedpipe.data.array_types import Array
from fedpipe.data.sources.base import Batch, Source
from fedpipe.errors import DataError


def with_feature_shape(source: Source, config: DataConfig) -> Source:
    """Return a source whose features have the shape `data.feature_shape`.

    The batches raise DataError where the features do not fill that shape.
    """

    def batches() -> Iterator[Batch]:
        for batch in source.batches():
            if isinstance(batch.x, list):
                raise DataError(
                    f"data.feature_shape={config.feature_shape}: expected features of one shape, "
                    f"data.source={config.source} has sequences (tokens). If they are pixels, set "
                    "data.feature_dtype=uint8 or float32; else set data.feature_shape=null."
                )
            yield replace(
                batch,
                x=shaped(
                    batch.x, tuple(config.feature_shape or ()), f"data.source={config.source}"
                ),
            )

    return replace(source, batches=batches)


def shaped(x: Array, shape: tuple[int, ...], where: str) -> Array:
    """Return features [n, *shape], from flat ones [n, k] or from ones that differ by axes of length
    1.

    Raises:
        DataError: k is not the product of `shape`, or the features have another shape already.
    """
    given_shape = x.shape[1:]
    if prod(given_shape) != prod(shape):
        raise DataError(
            f"data.feature_shape={list(shape)}: expected {prod(shape)} features "
            f"({' x '.join(map(str, shape))}), {where} has "
            f"{prod(given_shape)}{f' ({list(given_shape)})' if len(given_shape) > 1 else ''}. "
            "Correct the shape, or leave out the columns that are no features."
        )
    given_axes = [size for size in given_shape if size != 1]
    axes = [size for size in shape if size != 1]
    if len(given_axes) > 1 and len(axes) > 1 and given_axes != axes:
        raise DataError(
            f"data.feature_shape={list(shape)}: expected flat features or ones of that shape, "
            f"{where} has {list(given_shape)}: filling another shape would tear the rows apart. "
            "Set data.feature_shape=null."
        )
    return x.reshape(len(x), *shape)
