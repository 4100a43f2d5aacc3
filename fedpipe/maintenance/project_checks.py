"""The checks of a project for `fedpipe doctor`: what a run does with its files, its store, its data
and the user's code, tried.

Nothing of it stays: shards and resident files go to temporary folders, no run is recorded.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.config import Config, DataConfig, load_config
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.model import MODEL_NAMES
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.errors import ConfigError, DataError, FedpipeError, ModelError
from fedpipe.maintenance.check import Check, failed, passed
from fedpipe.project import dvc
from fedpipe.project.paths import Project
from fedpipe.runs.shards import prepare, require_dependencies, settings_of_stage
from fedpipe.system.locks import can_lock, file_lock
from fedpipe.system.user_code import import_own, own_code

if TYPE_CHECKING:
    from fedpipe.data.population import Population

_READ_WHOLE_BYTES = 500 * 2**20
"""Size up to which data are read to their end; of larger ones the first batch is."""
_DOWNLOADED = ("emnist", "emnist62", "cifar100", "shakespeare")


@dataclass(frozen=True)
class TriedData:
    """Data that could be read.

    Attributes:
        shards: folder of shards; None if only the first batch was read.
        check: its result.
    """

    shards: Path | None
    check: Check


def check_folder(project: Project) -> Check:
    """Make, lock and remove a file in the project's folder and in that of its runs."""
    name = "project folder"
    for folder in filter(Path.exists, (project.root, project.private)):
        try:
            with (
                tempfile.TemporaryDirectory(prefix=".fedpipe-doctor-", dir=folder) as made,
                file_lock(Path(made) / "lock", 5),
            ):
                pass
        except OSError as err:
            return failed(
                name,
                f"{folder} cannot be written: {err.strerror or err}",
                "make it writable, or clone the project to another place",
            )
    if not can_lock(project.root):
        return failed(
            name,
            f"{project.root} can be written, but its file system has no file locks; fedpipe uses "
            "files in their place",
            "do not start two runs there from different machines at the same time",
            needed=False,
        )
    return passed(name, f"{project.root} can be written and locked")


def read_settings(params: Path, overrides: Sequence[str]) -> tuple[Config | None, Check]:
    """Return the settings that a run would use and the check of them; no settings if they cannot be
    read.
    """
    try:
        config = load_config(params, overrides)
    except FedpipeError as err:
        return None, failed("settings", str(err))
    finding = (
        f"{params.name}: {config.algorithm.name} on {config.model.name}, data of "
        f"{config.data.source}, {config.rounds} rounds"
    )
    return config, passed("settings", finding)


def check_dvc(project: Project) -> Check:
    """Read `dvc.yaml` and `dvc.lock`, and ask DVC for the state of the stage `prepare`."""
    root = project.root
    if not (root / "dvc.yaml").is_file():
        return failed(
            "dvc",
            f"{root} has no dvc.yaml: runs work, but no version of their data is kept",
            "run `git checkout dvc.yaml`",
            needed=False,
        )
    dvc.check_dvc_files(root)
    if not (root / ".dvc").is_dir():
        return failed(
            "dvc",
            "the project has no .dvc folder",
            "run `uv run dvc init` here, or clone the project again",
        )
    state = "will be run by the next run" if dvc.status(root, "prepare") else "is up to date"
    return passed("dvc", f"dvc.yaml and dvc.lock can be read; the stage prepare {state}")


def check_store(project: Project, experiment: str) -> Check:
    """Open the MLflow store that a run would use, read from it and write to it."""
    from fedpipe.tracking.store import open_store, write_and_read

    name = "mlflow store"
    try:
        store = open_store(project.root, experiment)
        write_and_read(store)
    except FedpipeError as err:
        return failed(name, str(err), "set MLFLOW_TRACKING_URI to a store that can be written")
    return passed(name, f"{store.label} can be read and written")


@contextmanager
def trying_data(config: Config, project: Project) -> Iterator[TriedData]:
    """Read the data as `fedpipe prepare` would, for the block: shards that are current are
    verified, others are made and removed.

    Data of over 500 MB are read up to their first batch, and what would have to be downloaded is
    not.

    Raises:
        FedpipeError: they cannot be read.
    """
    from fedpipe.data.population import Population

    data = config.data
    settings = ShardSettings.of(config)
    of_stage = settings_of_stage(project) == settings
    if of_stage:
        require_dependencies(data, project)
        if dvc.stage_is_current(project.root, "prepare"):
            population = Population.open(project.shards)
            yield TriedData(
                project.shards, _data_check(population, "data/shards, up to date by dvc.lock")
            )
            return
    missing_file = _download_missing(data, project)
    if missing_file is not None:
        finding = f"{data.source} is not at {missing_file} yet; the first run downloads it"
        yield TriedData(None, passed("data", finding))
        return
    size = _size_of(data, project)
    if size > _READ_WHOLE_BYTES:
        yield TriedData(None, _read_first_batch(settings, project, size))
        return
    with tempfile.TemporaryDirectory(prefix="fedpipe-doctor-") as folder:
        shards = Path(folder) / "shards"
        prepare(settings, shards, project)
        population = Population.open(shards)
        yield TriedData(shards, _data_check(population, f"{_place(data)} can be read"))


def check_cohort(config: Config, population: "Population") -> Check:
    """Draw the cohorts of all rounds."""
    from fedpipe.pipeline.sample_clients import draw_plan

    plan = draw_plan(config, population, config.rounds)
    return passed(
        "cohort",
        f"{config.cohort.size} of {len(population.participating())} clients in each of "
        f"{len(plan)} rounds",
    )


def check_model(config: Config, project: Project, population: "Population | None") -> Check:
    """Import and build the model for the data's features, and draw its initial weights."""
    from fedpipe.models import build_model, check_input

    name = config.model.name
    if name not in MODEL_NAMES:
        import_own(name, project.root, "model.name", ModelError)
    if population is None:
        return passed("model", f"{name} can be imported; it is built once the data are there")
    manifest = population.manifest
    check_input(config, manifest, project.root, population.highest_token)
    model = build_model(
        config, tuple(manifest.feature_shape), manifest.outputs, project.root, manifest.tokens
    )
    numbers = sum(int(tensor.size) for tensor in model.initial_weights(config.seed).values())
    shape = " x ".join(map(str, manifest.feature_shape))
    return passed(
        "model",
        f"{name} takes features of {shape}, {manifest.labels_in_words}; {numbers:,} weights",
    )


def check_algorithm(
    config: Config, project: Project, population: "Population | None", with_round: bool
) -> Check:
    """Build the algorithm, and make its first server state in a TFF worker; with `with_round`, run
    its first round there.
    """
    name = config.algorithm.name
    if population is None:
        if name not in ALGORITHMS:
            import_own(name, project.root, "algorithm.name", ConfigError)
        return passed("algorithm", f"{name} can be imported; it is built once the data are there")
    with tempfile.TemporaryDirectory(prefix="fedpipe-doctor-") as folder:
        result = _first_steps(config, project, population, Path(folder), with_round)
    if result is None:
        return passed("algorithm", f"{name} is built and its first state is made")
    metrics = ", ".join(
        f"{key} {value:.4f}"
        for key, value in sorted(result.metrics.items())
        if key.startswith("train/")
    )
    return Check(
        "algorithm",
        not result.failed,
        True,
        f"{name}: round 1 with {result.examples} examples; {metrics}",
        "see the errors of its clients",
    )


def _first_steps(
    config: Config, project: Project, population: "Population", folder: Path, with_round: bool
) -> Any:
    """Return the result of round 1, None without it."""
    from fedpipe.algorithms.catalog import build_algorithm
    from fedpipe.engine.user_algorithm import UserAlgorithm
    from fedpipe.models import build_model
    from fedpipe.models.federated import training_clients
    from fedpipe.models.trainable import trained_part
    from fedpipe.pipeline.privacy import account_of, noise_key_of
    from fedpipe.pipeline.runtime import started_runtime
    from fedpipe.pipeline.sample_clients import draw_plan

    manifest = population.manifest
    local = config.model_copy(
        update={
            "runtime": config.runtime.model_copy(
                update={"remote": [], "groups": config.runtime.set_groups}
            )
        }
    )
    plan = draw_plan(local, population, local.rounds)
    accountant, plan = account_of(local, len(training_clients(local, population)), plan)
    settings = accountant.config if accountant else local
    with started_runtime(local.runtime, folder) as runtime:
        model = build_model(
            local, tuple(manifest.feature_shape), manifest.outputs, project.root, manifest.tokens
        )
        model = trained_part(model, model.initial_weights(local.seed))
        key = noise_key_of(local, folder / "checkpoints")
        arguments = (settings, model, population, folder / "cache", project.root, key)
        if local.algorithm.name in ALGORITHMS:
            algorithm: Any = build_algorithm(*arguments)
        else:
            algorithm = UserAlgorithm.build(
                local.algorithm.name, runtime, build_algorithm, *arguments
            )
        with own_code(
            f"algorithm.name={local.algorithm.name}", ConfigError, "running its first steps"
        ):
            state = runtime.call(algorithm.initialize, label="the initial state")
            runtime.call(algorithm.weights, state, label="the initial weights")
            if not with_round:
                return None
            first = next(number for number in range(1, len(plan) + 1) if plan.cohort(number))
            return runtime.call(
                algorithm.next, state, first, plan.cohort(first), label=f"round {first}"
            )


def _data_check(population: "Population", place: str) -> Check:
    manifest = population.manifest
    clients = len(population.index.client_ids)
    return passed(
        "data",
        f"{place}: {clients} clients, {manifest.labels_in_words}, features "
        f"{list(manifest.feature_shape)}",
    )


def _read_first_batch(settings: ShardSettings, project: Project, size: int) -> Check:
    from fedpipe.data.sources import open_source

    data = settings.data
    batch = next(iter(open_source(data, project.root, settings.kind).batches()), None)
    if batch is None:
        raise DataError(f"data.path={data.path}: the source has no examples.")
    return passed(
        "data",
        f"{_place(data)}: its first {len(batch.x)} examples can be read, of {size / 2**30:.1f} "
        "GiB; `fedpipe prepare` reads the rest",
    )


def _place(data: DataConfig) -> str:
    return data.path or data.source


def _size_of(data: DataConfig, project: Project) -> int:
    """Return the bytes of the user's file or folder; 0 where the source has none, or it is not
    there.
    """
    if data.path is None:
        return 0
    path = project.root / Path(data.path).expanduser()
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _download_missing(data: DataConfig, project: Project) -> Path | None:
    """Return where a downloaded data set would be, if it is not there."""
    if data.source not in _DOWNLOADED:
        return None
    from fedpipe.data.sources import downloaded_file

    path = downloaded_file(data, project.root)
    if path.exists():
        return None
    return path
