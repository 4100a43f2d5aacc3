"""Keeps code of the user's own from starting TFF's stock worker.

A TFF computation runs in the context that is installed in its thread. In fedpipe's runtime that is
the run's own worker. Without one TFF starts its stock worker, which listens on all addresses
without a password and outlives the run. So, once code of the user's own is imported, TFF has
another context for calls outside of the runtime: one that refuses them. Imports TFF only if
somebody else did, or does.
"""

import atexit
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from fedpipe.errors import ConfigError

_TFF = "tensorflow_federated"
_refused = False


def refuse_stock_context(place_of_caller: Callable[[], str]) -> None:
    """Refuse TFF computations outside of fedpipe's runtime, in all threads of this process from now
    on.

    `place_of_caller` returns the running line of the user's own code, for the error.
    """
    global _refused
    if _refused:
        return
    _refused = True
    if _TFF in sys.modules:
        _install(place_of_caller)
    else:
        sys.meta_path.insert(0, _WhenImported(place_of_caller))


def drop_stock_context_at_exit() -> None:
    """Have TFF's stock context, which has no worker, go before the interpreter takes modules down:
    it would then complain on stderr. A second call changes nothing.
    """
    atexit.unregister(_drop_stock_context)
    atexit.register(_drop_stock_context)


def _drop_stock_context() -> None:
    tff = sys.modules.get(_TFF)
    if tff is not None:
        tff.framework.get_context_stack()._stack.clear()


def _install(place_of_caller: Callable[[], str]) -> None:
    """Put a context that refuses in the place of every default one, of all threads, those that are
    set later too.
    """
    tff: Any = sys.modules[_TFF]

    class Refusing(tff.framework.SyncContext):  # type: ignore[misc]  # TFF ships no types
        """The context outside of the runtime."""

        def invoke(self, comp: Any, arg: Any) -> Any:  # noqa: ARG002 - the signature of a context
            """Raise ConfigError."""
            where = place_of_caller()
            raise ConfigError(
                f"a TFF computation was called outside of fedpipe's runtime{where}. Call "
                "computations in an algorithm of your own (its build, initialize, next, "
                "weights), which runs there; in sources, models and anywhere else use TensorFlow "
                "or NumPy."
            )

    refusing = Refusing()
    kind = type(tff.framework.get_context_stack())
    # At the bottom of each thread's stack is its default context; above are those that the runtime,
    # or the tracing of a computation, puts.
    kind.current = property(lambda stack: refusing if len(stack._stack) == 1 else stack._stack[-1])


class _WhenImported(importlib.abc.MetaPathFinder):
    """Has TFF's default contexts replaced as soon as TFF is imported."""

    def __init__(self, place_of_caller: Callable[[], str]) -> None:
        """Take what `refuse_stock_context` is given."""
        self._place_of_caller = place_of_caller

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the signature of a finder
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Return TFF's spec with a loader that installs the context; None for other modules."""
        if fullname != _TFF:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader = spec.loader
            execute = spec.loader.exec_module

            def execute_and_install(module: ModuleType) -> None:
                execute(module)
                _install(self._place_of_caller)

            loader.exec_module = execute_and_install  # type: ignore[method-assign]
        return spec
