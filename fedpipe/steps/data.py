"""Step `load_data`: the shards that the settings ask for are there, verified, and known by DVC's md5."""

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config import Config, DataConfig
from fedpipe.config.load import read_params
from fedpipe.errors import ConfigError
from fedpipe.locks import file_lock
from fedpipe.steps import dvc
from fedpipe.steps.project import Project
from fedpipe.steps.refs import DataRef

if TYPE_CHECKING:
    from fedpipe.data.manifest import Manifest


def load_data(config: Config, project: Project) -> DataRef:
    """Bring the shards up to date, verify them against their manifest, and return where they are and their md5.

    Three cases. The settings are those of `params.yaml`: DVC's stage `prepare` owns the shards and is brought up to date.
    DVC itself runs this process: the shards are verified, DVC has made them. The settings under `data` are overridden: the
    shards go to a folder of their own, named by the settings, and `params.yaml`'s shards stay as they are.

    Raises:
        DataError: the source cannot be read, or the shards do not match their manifest.
        ModelError: the model does not take the features that the shards hold.
    """
    from fedpipe.data.digest import dvc_md5
    from fedpipe.data.population import Population
    from fedpipe.models import check_input

    start = time.perf_counter()
    project.private.mkdir(parents=True, exist_ok=True)
    if dvc.inside_dvc():
        path, how = project.shards, "verified; DVC runs this stage"
    else:
        # One run at a time brings shards up to date; DVC's own lock would refuse the second at once.
        with file_lock(project.private / "prepare.lock"):
            path, how = _bring_up_to_date(config, project)
    population = Population.open(path)
    check_input(config, population.manifest, project.root, population.highest_token)
    return DataRef(str(path), dvc_md5(path), how, time.perf_counter() - start)


def _bring_up_to_date(config: Config, project: Project) -> tuple[Path, str]:
    from fedpipe.data.sources import bring_files
    from fedpipe.data.sources.custom import module_file

    if config.data != _data_of_params(project):
        path = project.private / "shards" / _key(config.data, project)
        if path.is_dir():
            return path, "outside the stage of dvc.yaml, whose settings differ; made by an earlier run"
        prepare(config.data, path, project)
        return path, "outside the stage of dvc.yaml, whose settings differ; prepared now"
    for setting, file in (("path", config.data.path), ("source", module_file(config.data.source, project.root))):
        if file is not None and not dvc.depends_on(project.root, "prepare", file):
            raise ConfigError(
                f"data.{setting}={getattr(config.data, setting)}: expected {file} among the deps of the stage prepare in "
                f"{project.root / 'dvc.yaml'}, so that DVC sees it change, found it is not. Add the line `- {file}` there."
            )
    if dvc.stage_is_current(project.root, "prepare"):
        return project.shards, "up to date by dvc.lock"
    bring_files(config.data, project.root)  # here and not under DVC, which would hide its progress
    dvc.repro(project.root, "prepare")
    return project.shards, "brought up to date by dvc repro"


def prepare(config: DataConfig, out: Path, project: Project) -> "Manifest":
    """Make the shards of `config` in the folder `out`, replacing it wholly. What DVC's stage `prepare` runs."""
    from fedpipe.data.forgotten import read_forgotten
    from fedpipe.data.prepare import prepare_shards

    out.parent.mkdir(parents=True, exist_ok=True)
    return prepare_shards(config, out, project.root, read_forgotten(project.root))


def _data_of_params(project: Project) -> DataConfig | None:
    if not (project.root / "dvc.yaml").is_file():
        return None
    return DataConfig.model_validate(read_params(project.params).get("data") or {})


def _key(config: DataConfig, project: Project) -> str:
    """Return a name for what settings, code, the user's own files and the list of the forgotten make."""
    from fedpipe.data.digest import dvc_md5
    from fedpipe.data.forgotten import read_forgotten
    from fedpipe.data.sources.custom import module_file

    code = dvc_md5(Path(__file__).parents[1] / "data")
    own = project.root / Path(config.path).expanduser() if config.path else None
    parts = {
        "settings": config.model_dump(),
        "code": code,
        "own": dvc_md5(own) if own and own.exists() else None,
        "forgotten": sorted(read_forgotten(project.root)),
    }
    module = module_file(config.source, project.root)
    if module is not None:
        parts["module"] = dvc_md5(project.root / module)
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
