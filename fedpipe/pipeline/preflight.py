"""What a run brings is judged before anything is started for it: its data, its plan, and then the
user's own code.

A wrong row or a missing file is said within the seconds that reading it takes, with no worker, no
Prefect server, no flow run and no folder of a run. The flow's step `load_data` finds the data that
were loaded here.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedpipe.config import Config
from fedpipe.config.algorithms import ALGORITHMS
from fedpipe.config.model import MODEL_NAMES
from fedpipe.errors import ConfigError, FedpipeError
from fedpipe.pipeline.sample_clients import draw_plan
from fedpipe.project.paths import Project
from fedpipe.runs.refs import DataRef
from fedpipe.runs.shards import load_data
from fedpipe.system.user_code import import_own

_NEVER_PASSES = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    FileExistsError,
)

_lock = threading.Lock()
_early: tuple[Config, DataRef] | None = None


def may_pass(error: object) -> bool:
    """Return whether loading data that failed is worth another try: a lost connection is, a missing
    file is not.
    """
    cause = error if isinstance(error, OSError) else getattr(error, "__cause__", None)
    return isinstance(cause, OSError) and not isinstance(cause, _NEVER_PASSES)


@contextmanager
def early_data(config: Config, project: Project) -> Iterator[DataRef | None]:
    """Load the data now, for the next `borrow_data` with the same settings, and draw one cohort
    from them.

    Gives None where a download or a remote did not answer: the flow's step tries again.

    Raises:
        FedpipeError: the data cannot be read, do not suit the model, or are too few for the cohort.
    """
    from fedpipe.data.population import Population

    global _early
    try:
        data = load_data(config, project, own_model=False)
    except FedpipeError as err:
        if not may_pass(err):
            raise
        yield None
        return
    draw_plan(config, Population.open(Path(data.path), verify=False), rounds=1)
    with _lock:
        _early = (config, data)
    try:
        yield data
    finally:
        with _lock:
            _early = None


def borrow_data(config: Config) -> DataRef | None:
    """Return the data that were loaded early with these settings, once; None if there are none."""
    global _early
    with _lock:
        if _early is None or _early[0] != config:
            return None
        data = _early[1]
        _early = None
        return data


def check_own_code(config: Config, project: Project, data: DataRef | None) -> None:
    """Import the model and the algorithm of the user's own, and build the model; fedpipe's own need
    no check.

    Imports TensorFlow and TFF, if the user's code does.

    Raises:
        ModelError: the model cannot be built, or does not take the data's features.
        ConfigError: the module of the algorithm cannot be imported.
    """
    if config.model.name not in MODEL_NAMES and data is not None:
        from fedpipe.data.population import Population
        from fedpipe.models import check_input

        population = Population.open(Path(data.path), verify=False)
        check_input(config, population.manifest, project.root, population.highest_token)
    if config.algorithm.name not in ALGORITHMS:
        import_own(config.algorithm.name, project.root, "algorithm.name", ConfigError)
