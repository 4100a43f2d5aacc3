"""One run on this machine: its folder, state, shards, lineage, rounds and files.

The package can be called: `fedpipe.runs()` returns the table of all runs.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """This package, which is also the function `fedpipe.runs`: a name can be only one of them."""

    def __call__(
        self,
        filter: str | Sequence[str] | Mapping[str, Any] = (),
        project: Path | str | None = None,
        limit: int | None = None,
    ) -> Any:
        """Return the runs of a project, see `fedpipe.api.python.runs`."""
        return importlib.import_module("fedpipe.api.python").runs(filter, project, limit)


sys.modules[__name__].__class__ = _CallablePackage
