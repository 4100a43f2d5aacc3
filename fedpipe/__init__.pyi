# `runs` is the package fedpipe.runs, which can be called: no type checker knows such modules.
from fedpipe.api.python import load_run as load_run
from fedpipe.api.python import run as run
from fedpipe.api.recorded_run import Run as Run

__version__: str
