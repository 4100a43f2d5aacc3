"""A source of the user's own: `data.source: mypackage.module:function`. The contract: docs/sources.md."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source
from fedpipe.errors import DataError
from fedpipe.redact import hide


def open_custom(config: DataConfig, project: Path) -> Source:
    """Import the function, with the project's folder on the path, and return what it returns for these settings.

    Raises:
        DataError: the module or the function is not there, raises, or does not return a `Source`; the cause is kept.
    """
    module, _, name = config.source.partition(":")
    if str(project.resolve()) not in sys.path:
        sys.path.insert(0, str(project.resolve()))
    try:
        source = getattr(importlib.import_module(module), name)(config, project)
    except DataError:
        raise
    except Exception as err:
        raise _failed(config, err) from err
    if not isinstance(source, Source):
        raise DataError(f"data.source={config.source}: expected it to return a fedpipe.data.sources.Source, found {type(source).__name__}.")
    return Source(lambda: _batches(config, source), source.num_classes, source.pixel_convention)


def module_file(source: str, project: Path) -> str | None:
    """Return the file of the project that a source of the user's own is in; None for one of fedpipe's or of an installed package."""
    module, own, _ = source.partition(":")
    place = module.replace(".", "/")
    return next((file for file in (f"{place}.py", f"{place}/__init__.py") if own and (project / file).is_file()), None)


def _batches(config: DataConfig, source: Source) -> Iterable[Batch]:
    try:
        for batch in source.batches():
            if not isinstance(batch, Batch):
                raise TypeError(f"its batches should be fedpipe.data.sources.Batch, one is {type(batch).__name__}")
            yield batch
    except DataError:
        raise
    except Exception as err:
        raise _failed(config, err) from err


def _failed(config: DataConfig, err: Exception) -> DataError:
    said = hide(" ".join(str(err).split()))[:300]
    return DataError(f"data.source={config.source}: expected a function that gives a source, it raised {type(err).__name__}: {said}.")
