"""Makes sure that the shards of the settings are there, verified, and known by DVC's
md5.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config import Config, DataConfig
from fedpipe.config.augment import problem_of_augment
from fedpipe.config.load import read_params
from fedpipe.config.model import MODEL_NAMES
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.config.task import TaskConfig
from fedpipe.errors import ConfigError
from fedpipe.project import dvc
from fedpipe.project.paths import Project
from fedpipe.runs.step_results import DataRef
from fedpipe.system.locks import file_lock

if TYPE_CHECKING:
    from fedpipe.data.manifest import Manifest


def ensure_shards(config: Config, project: Project, own_model: bool = True) -> DataRef:
    """Bring the shards up to date, verify them against their manifest, and return where they are
    and their md5.

    Three cases. The settings are those of `params.yaml`: DVC's stage `prepare` owns the shards and
    is brought up to date. DVC itself runs this process: the shards are verified, DVC has made them.
    The settings under `data`, or `task.kind`, are overridden: the shards go to a folder of their
    own, named by the settings, and `params.yaml`'s shards stay as they are.

    Args:
        config: the settings.
        project: where.
        own_model: whether a model of the user's own is built and checked too, which imports what
            its module imports.

    Raises:
        ConfigError: `client.augment` does not suit the features.
        DataError: the source cannot be read, or the shards do not match their manifest.
        ModelError: the model does not take the features that the shards hold.
    """
    from fedpipe.data.digest import dvc_md5
    from fedpipe.data.population import Population
    from fedpipe.models import check_input

    start = time.perf_counter()
    project.private.mkdir(parents=True, exist_ok=True)
    if dvc.inside_dvc():
        path = project.shards
        how = "verified; DVC runs this stage"
    else:
        # One run at a time brings shards up to date; DVC's own lock would refuse the second at
        # once.
        with file_lock(project.private / "prepare.lock"):
            path, how = _bring_up_to_date(ShardSettings.of(config), project)
    population = Population.open(path)
    manifest = population.manifest
    problem = problem_of_augment(
        config.client.augment, manifest.feature_dtype, manifest.feature_shape
    )
    if problem:
        raise ConfigError(problem)
    if own_model or config.model.name in MODEL_NAMES:
        check_input(config, population.manifest, project.root, population.highest_token)
    return DataRef(str(path), dvc_md5(path), how, time.perf_counter() - start)


def shards_folder(settings: ShardSettings, project: Project) -> Path:
    """Return the folder of the newest version of these settings' shards, which need not be there
    yet.
    """
    if settings == settings_of_stage(project):
        return project.shards
    return project.private / "shards" / _key(settings, project)


def current_shards(settings: ShardSettings, project: Project) -> Path:
    """Return the folder of the newest version of these settings' shards, made if it is not there.
    The caller holds `prepare.lock`.

    Raises:
        ConfigError, DataError: see `ensure_shards`.
    """
    return _bring_up_to_date(settings, project)[0]


def _bring_up_to_date(settings: ShardSettings, project: Project) -> tuple[Path, str]:
    from fedpipe.data.sources import download_files

    if settings != settings_of_stage(project):
        path = project.private / "shards" / _key(settings, project)
        if path.is_dir():
            return (
                path,
                "outside the stage of dvc.yaml, whose settings differ; made by an earlier run",
            )
        prepare(settings, path, project)
        return path, "outside the stage of dvc.yaml, whose settings differ; prepared now"
    require_dependencies(settings.data, project)
    if dvc.stage_is_current(project.root, "prepare"):
        return project.shards, "up to date by dvc.lock"
    download_files(
        settings.data, project.root
    )  # here and not under DVC, which would hide its progress
    dvc.repro(project.root, "prepare")
    return project.shards, "brought up to date by dvc repro"


def require_dependencies(config: DataConfig, project: Project) -> None:
    """Raise ConfigError if DVC's stage `prepare` would not see the user's data or source change."""
    from fedpipe.data.sources.custom import module_file

    files = [("path", config.path, config.path)]
    files.append(("source", config.source, module_file(config.source, project.root)))
    files += [
        ("preprocess", step.name, module_file(step.name, project.root))
        for step in config.preprocess
    ]
    for setting, value, file in files:
        if file is not None and not dvc.depends_on(project.root, "prepare", file):
            raise ConfigError(
                f"data.{setting}={value}: DVC does not see {file} change, as "
                f"it is not among the deps of the stage prepare in {project.root / 'dvc.yaml'}. "
                f"Add the line `- {file}` there."
            )


def prepare(settings: ShardSettings, out: Path, project: Project) -> "Manifest":
    """Make the shards of `settings` in the folder `out`, replacing it wholly. What DVC's stage
    `prepare` runs.
    """
    from fedpipe.data.forgotten import read_forgotten
    from fedpipe.data.prepare import prepare_shards

    out.parent.mkdir(parents=True, exist_ok=True)
    forgotten = read_forgotten(project.root)
    return prepare_shards(settings.data, out, project.root, forgotten, settings.kind)


def settings_of_stage(project: Project) -> ShardSettings | None:
    """Return the settings whose shards DVC's stage `prepare` makes: those of params.yaml; None in a
    project without dvc.yaml.
    """
    if not (project.root / "dvc.yaml").is_file():
        return None
    params = read_params(project.params)
    task = TaskConfig.model_validate(params.get("task") or {})
    return ShardSettings(DataConfig.model_validate(params.get("data") or {}), task.kind)


def _key(settings: ShardSettings, project: Project) -> str:
    """Return a name for what settings, code, the user's own files and the list of the forgotten
    make.
    """
    from fedpipe.data.digest import dvc_md5
    from fedpipe.data.forgotten import read_forgotten
    from fedpipe.data.sources.custom import module_file

    config = settings.data
    code = dvc_md5(Path(__file__).parents[1] / "data")
    own = project.root / Path(config.path).expanduser() if config.path else None
    parts = {
        "settings": config.model_dump(),
        "code": code,
        "own": dvc_md5(own) if own and own.exists() else None,
        "forgotten": sorted(read_forgotten(project.root)),
    }
    if settings.kind != "classification":
        parts["kind"] = settings.kind
    module = module_file(config.source, project.root)
    if module is not None:
        parts["module"] = dvc_md5(project.root / module)
    own_steps = {
        file: dvc_md5(project.root / file)
        for step in config.preprocess
        if (file := module_file(step.name, project.root)) is not None
    }
    if own_steps:
        parts["steps"] = own_steps
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
