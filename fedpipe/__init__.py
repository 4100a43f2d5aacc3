"""fedpipe: federated learning runs that can be trusted, compared and repeated.

    import fedpipe

    run = fedpipe.run(overrides={"client.learning_rate": 0.1})
    run.metrics["test/accuracy"]

`run` trains, `runs` lists, `load_run` opens a recorded run; all three are in `fedpipe.api`.
Importing the package imports nothing heavy: TensorFlow, TFF, MLflow, pandas and Prefect are
imported by the functions that need them.
"""

import importlib
import os
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "run": "fedpipe.api.python",
    "load_run": "fedpipe.api.python",
    "Run": "fedpipe.api.recorded_run",
}
"""The module of each name of the Python interface; `runs` is the package `fedpipe.runs` itself,
which can be called.
"""

# TensorFlow's old wrapt cannot save dicts and tuples with a newer typing-extensions; it reads this
# when it is imported, which a notebook may do before it calls `run`.
os.environ.setdefault("WRAPT_DISABLE_EXTENSIONS", "1")


def __getattr__(name: str) -> Any:
    """Return a name of the Python interface, imported at its first use."""
    if name == "runs":
        return importlib.import_module("fedpipe.runs")
    if name not in _MODULES:
        raise AttributeError(f"module 'fedpipe' has no attribute '{name}'")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, "runs"])
