"""A source of the user's own: `data.source: mypackage.module:function`. The contract: docs/sources.md."""

import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from fedpipe.config import DataConfig
from fedpipe.data.sources.base import Batch, Source, SourceSummary
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
    summary = source.summary
    return replace(
        source,
        batches=lambda: _batches(config, source),
        summary=(lambda: _summary(config, summary)) if summary is not None else None,
    )


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


def _summary(config: DataConfig, summary: Callable[[], SourceSummary]) -> SourceSummary:
    try:
        value = summary()
        if not isinstance(value, SourceSummary):
            raise TypeError(f"summary() should return a fedpipe.data.sources.SourceSummary, not {type(value).__name__}")
        texts = (value.format, value.features, *value.left_out, *value.notes)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("the fields of a SourceSummary should be texts")
    except Exception as err:
        raise _failed(config, err) from err
    return value


def _failed(config: DataConfig, err: Exception) -> DataError:
    said = hide(" ".join(str(err).split()))[:300]
    return DataError(f"data.source={config.source}: expected a function that gives a source, it raised {type(err).__name__}: {said}.")
