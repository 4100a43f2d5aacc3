"""The named sources. One small adapter each; TensorFlow and TFF are imported when a source that
needs them is opened.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from fedpipe.config import DataConfig
from fedpipe.config.task import TaskKind
from fedpipe.data.sources import file_sources as own
from fedpipe.data.sources import mnist5k, shakespeare, tff_sets
from fedpipe.data.sources.base import Batch, PixelConvention, Source, SourceSummary
from fedpipe.data.sources.custom import open_custom
from fedpipe.data.sources.label_columns import check_label_columns
from fedpipe.data.sources.shape import with_feature_shape
from fedpipe.data.sources.target_checks import with_labels_of_kind
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

SOURCES: dict[str, Callable[..., Source]] = {
    "mnist5k": mnist5k.open_mnist5k,
    "synthetic": tff_sets.open_synthetic,
    "emnist": tff_sets.open_emnist,
    "emnist62": tff_sets.open_emnist62,
    "cifar100": tff_sets.open_cifar100,
    "shakespeare": shakespeare.open_shakespeare,
    **own.OWN_SOURCES,
}
"""Opener by `data.source`: (settings, project folder) -> source, of the user's own files
(settings, project folder, kind of the labels) -> source. Raises DataError where the source cannot
be read.
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


def open_source(config: DataConfig, project: Path, kind: TaskKind = "classification") -> Source:
    """Return the source that `data.source` names.

    Args:
        config: the settings under `data`.
        project: folder that paths are relative to.
        kind: `task.kind`, by which the labels are read.

    Raises:
        DataError: it cannot be read, or `data.label_column` does not fit the kind.
    """
    check_label_columns(config, kind)
    if config.source in SOURCES and config.source not in own.OWN_SOURCES:
        source = SOURCES[config.source](config, project)
        if kind != "classification":
            source = with_labels_of_kind(source, f"data.source={config.source}", kind)
    else:
        source = SOURCES.get(config.source, open_custom)(config, project, kind)
    if config.feature_shape is None:
        return source
    return with_feature_shape(source, config)
