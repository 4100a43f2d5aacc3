"""The named sources. One small adapter each; TensorFlow and TFF are imported when a source that
needs them is opened.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from fedpipe.config import DataConfig
from fedpipe.data.sources import file_sources as own
from fedpipe.data.sources import mnist5k, shakespeare, tff_sets
from fedpipe.data.sources.base import Batch, PixelConvention, Source, SourceSummary
from fedpipe.data.sources.custom import open_custom
from fedpipe.data.sources.shape import with_feature_shape
from fedpipe.data.tff_files import FILES, fetch

__all__ = [
    "NEEDS",
    "SOURCES",
    "Batch",
    "PixelConvention",
    "Source",
    "SourceSummary",
    "download_files",
    "open_source",
]

SOURCES: dict[str, Callable[[DataConfig, Path], Source]] = {
    "mnist5k": mnist5k.open_mnist5k,
    "synthetic": tff_sets.open_synthetic,
    "emnist": tff_sets.open_emnist,
    "emnist62": tff_sets.open_emnist62,
    "cifar100": tff_sets.open_cifar100,
    "shakespeare": shakespeare.open_shakespeare,
    **own.OWN_SOURCES,
}
"""Opener by `data.source`: (settings, project folder) -> source. Raises DataError where the source
cannot be read.
"""

NEEDS: dict[str, str] = {**mnist5k.NEEDS, **tff_sets.NEEDS, **shakespeare.NEEDS, **own.NEEDS}
"""What each source is and needs, one line each."""


_DOWNLOADS: dict[str, Literal["emnist", "cifar100", "shakespeare"]] = {
    "emnist": "emnist",
    "emnist62": "emnist",
    "cifar100": "cifar100",
    "shakespeare": "shakespeare",
}


def download_files(config: DataConfig, project: Path) -> None:
    """Download the source's file if it is missing. Raises DataError if that fails."""
    if config.source in _DOWNLOADS:
        fetch(_DOWNLOADS[config.source], tff_sets.cache_dir(config, project))


def downloaded_file(config: DataConfig, project: Path) -> Path:
    """Return the path of a downloaded data set's file; it need not exist."""
    return tff_sets.cache_dir(config, project) / FILES[_DOWNLOADS[config.source]]


def open_source(config: DataConfig, project: Path) -> Source:
    """Return the source that `data.source` names. Raises DataError where it cannot be read."""
    source = SOURCES.get(config.source, open_custom)(config, project)
    if config.feature_shape is None:
        return source
    return with_feature_shape(source, config)
