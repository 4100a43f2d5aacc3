from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fedpipe.api.python import load_run as load_run
from fedpipe.api.python import run as run
from fedpipe.api.recorded_run import Run as Run

__version__: str

def runs(
    filter: str | Sequence[str] | Mapping[str, Any] = (),
    project: Path | str | None = None,
    limit: int | None = None,
) -> pd.DataFrame: ...
