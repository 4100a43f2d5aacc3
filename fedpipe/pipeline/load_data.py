"""Step `load_data`, and the checks of a run before anything is started for it.

A wrong row or a missing file is reported within the seconds that reading it takes, with no worker,
no Prefect server, no flow run and no folder of a run; then the user's own code is imported.
"""

from pathlib import Path

from fedpipe.config import Config
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.model import MODEL_NAMES
from fedpipe.errors import ConfigError, FedpipeError
from fedpipe.pipeline.sample_clients import draw_plan
from fedpipe.project.paths import Project
from fedpipe.runs import shards
from fedpipe.runs.context import RunContext
from fedpipe.runs.step_results import DataRef
from fedpipe.system.user_code import import_own

_NEVER_PASSES = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    FileExistsError,
)


def may_pass(error: object) -> bool:
    """Return whether loading data that failed is worth another try: a lost connection is, a missing
    file is not.
    """
    cause = error if isinstance(error, OSError) else getattr(error, "__cause__", None)
    return isinstance(cause, OSError) and not isinstance(cause, _NEVER_PASSES)


def load_data(run: RunContext) -> DataRef:
    """Return the run's shards: those that were loaded before the pipeline started, or those that
    are brought up to date now.

    Raises:
        DataError, ModelError: see `fedpipe.runs.shards.ensure_shards`.
    """
    return run.data or shards.ensure_shards(run.config, run.project)


def load_early(config: Config, project: Project) -> DataRef | None:
    """Load the data before anything is started, and draw one cohort from them.

    Returns:
        The shards; None where a download or a remote did not answer: the pipeline tries again.

    Raises:
        FedpipeError: the data cannot be read, do not suit the model, or are too few for the cohort.
    """
    from fedpipe.data.population import Population

    try:
        data = shards.ensure_shards(config, project, own_model=False)
    except FedpipeError as err:
        if not may_pass(err):
            raise
        return None
    draw_plan(config, Population.open(Path(data.path), verify=False), rounds=1)
    return data


def check_own_code(config: Config, project: Project, data: DataRef | None) -> None:
    """Build the task; import the model and the algorithm of the user's own, and build the model;
    fedpipe's own need no check.

    Imports TensorFlow and TFF, if the user's code does, and for losses and metrics of Keras.

    Raises:
        ModelError: the model cannot be built, or does not take the data's features.
        ConfigError: the module of the algorithm cannot be imported; or a loss or a metric does not
            fit the labels, see `fedpipe.tasks.build_task`.
    """
    if data is not None:
        from fedpipe.data.population import Population
        from fedpipe.tasks import task_of

        task_of(config, Population.open(Path(data.path), verify=False), project.root)
    if config.model.name not in MODEL_NAMES and data is not None:
        from fedpipe.data.population import Population
        from fedpipe.models import check_input

        population = Population.open(Path(data.path), verify=False)
        check_input(config, population.manifest, project.root, population.highest_token)
    if config.algorithm.name not in ALGORITHMS:
        import_own(config.algorithm.name, project.root, "algorithm.name", ConfigError)
