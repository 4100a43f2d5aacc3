"""Packages that TFF imports and a run seldom uses: executed when they are first used.

TFF imports TensorFlow Probability, through TensorFlow Privacy, for the samplers of one discrete
noise: 0.6 s of every start. A module of `importlib.util.LazyLoader` would be executed all the same,
as AutoGraph asks every module for its `__file__`.
"""

import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_DEFERRED = ("tensorflow_probability",)
_executing = threading.RLock()


class _DeferredModule(ModuleType):
    """A package that is executed when an attribute is used that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        """Execute the package, once, and return its attribute."""
        with _executing:
            waiting: _DeferringLoader | None = vars(self).pop("_waiting", None)
            if waiting is not None:
                waiting.execute(self)
        return super().__getattribute__(name)


class _DeferringLoader(Loader):
    """Makes a package and leaves its execution to the package's own loader, later."""

    def __init__(self, loader: Loader) -> None:
        """Take the package's own loader."""
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the package, empty."""
        return _DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute nothing. The package has no path meanwhile: an import of a submodule asks for
        it.
        """
        self._path = module.__path__
        del module.__path__
        vars(module)["_waiting"] = self

    def execute(self, module: ModuleType) -> None:
        """Execute the package; if that fails, its next use tries again."""
        module.__path__ = self._path
        try:
            self._loader.exec_module(module)
        except BaseException:
            self.exec_module(module)
            raise


class _Finder:
    """Finds the deferred packages."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a deferred package with a loader that waits; None of any other."""
        if name not in _DEFERRED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


def defer_imports() -> None:
    """Defer these packages for this process; call it before TFF is imported. A second call does
    nothing.
    """
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
