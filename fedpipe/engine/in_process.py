"""The runtime of `runtime.debug`: none. Calls run here, in the caller's thread, so that a debugger
reaches them.
"""

from collections.abc import Callable, Mapping
from typing import Any


class InProcess:
    """Runs every call directly; takes the place of `Runtime` for algorithms that make no TFF
    calls.
    """

    @property
    def info(self) -> Mapping[str, str]:
        """Return what the run should record."""
        return {"isolation": "debug: no worker", "workers": "0", "restarts": "0", "recycled": "0"}

    def attach(self, machines: Any) -> None:  # noqa: ARG002 - it takes none
        """Refuse machines: settings that ask for both are not valid."""
        raise TypeError("runtime.debug computes in this process, not on machines")

    def take_losses(self) -> tuple[str, ...]:
        """Return nothing: there is no machine that could be lost."""
        return ()

    # errors name it themselves
    def call(self, fn: Callable[..., Any], *args: Any, label: str = "") -> Any:  # noqa: ARG002
        """Return fn(*args)."""
        return fn(*args)
