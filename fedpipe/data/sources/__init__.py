"""The named sources. One small adapter each; TensorFlow and TFF are imported when a source that needs them is loaded."""

from collections.abc import Callable
from pathlib import Path

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import NaturalClients, PixelConvention, SourceData
from fedpipe.data.sources.mnist5k import load_mnist5k
from fedpipe.data.sources.tff_emnist import load_emnist, load_synthetic

__all__ = ["SOURCES", "NaturalClients", "PixelConvention", "SourceData"]

SOURCES: dict[str, Callable[[DataConfig, Path], SourceData]] = {
    "mnist5k": load_mnist5k,
    "emnist": load_emnist,
    "synthetic": load_synthetic,
}
"""Loader by `data.source`: (settings, project folder) -> all examples. Raises DataError where the source cannot be read."""
