"""Which data a command is about: those of a run, of a model or of the newest run, wherever their
shards are.

Shards are in `data/shards`, where DVC's stage `prepare` makes those of `params.yaml`, or in
`.fedpipe/shards/`, where a run makes those of overridden `data` settings.
"""

import json
import logging
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fedpipe.config import DataConfig, load_config
from fedpipe.config.ignored_settings import without_ignored
from fedpipe.config.load import apply_overrides, read_params
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.config.task import TaskConfig, TaskKind
from fedpipe.data.manifest import MANIFEST_NAME
from fedpipe.errors import ConfigError, DataError, TrackingError
from fedpipe.project import dvc
from fedpipe.project.paths import Project
from fedpipe.runs.lineage import LINEAGE, PARAMS_NAME, TAGS_NAME, population_key
from fedpipe.runs.shards import shards_folder
from fedpipe.runs.state import RunState, all_states
from fedpipe.tracking.tags import DVC_DATA_MD5, POPULATION

if TYPE_CHECKING:
    from fedpipe.data.manifest import Manifest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunData:
    """The data of a run, or those of `params.yaml`.

    Attributes:
        title: says whose data they are, for example `run brave-fox (csv table.csv)`.
        settings: the group `data` that made them.
        md5: DVC's md5 of the version that the run trained on; None of data of no run.
        path: folder in which the run found that version; None where that is not known.
        run_id: the MLflow run; empty where there is none.
        population: key of the clients (`runs.lineage.population_key`); empty where the run does
            not say.
        kind: `task.kind`, by which the labels were read.
    """

    title: str
    settings: DataConfig
    md5: str | None = None
    path: Path | None = None
    run_id: str = ""
    population: str = ""
    kind: TaskKind = "classification"

    @property
    def shard_settings(self) -> ShardSettings:
        """Return all settings that made them."""
        return ShardSettings(self.settings, self.kind)


def data_of(project: Project, name: str | None = None, of_runs: bool = False) -> RunData:
    """Return the data of a run.

    Args:
        project: where.
        name: a run's id or name, `MODEL@ALIAS` or `MODEL/VERSION`; None: the newest run, or
            `data/shards` if they were prepared after it, or if there is no run.
        of_runs: take the newest run also where `data/shards` were prepared after it.

    Raises:
        TrackingError: there is no such run or model, or its settings were not kept.
        DataError: its settings are not those of this version.
    """
    if name is None:
        return _newest(project, of_runs)
    return _named(project, name)


def find_run_shards(project: Project, data: RunData) -> Path:
    """Return the folder of the version of the data that a run trained on, or else, with a warning,
    of a later version.

    Raises:
        DataError: neither is on this machine; the message says how to make it again.
    """
    if data.md5 is None:
        if not (project.shards / MANIFEST_NAME).is_file():
            raise DataError(
                f"{project.shards}: expected shards, found none. "
                f"{how_to_make(project, data.shard_settings)}"
            )
        return project.shards
    for folder in _candidates(project, data.path):
        if _has_md5(folder, data.md5):
            return folder
    later = shards_folder(data.shard_settings, project)
    if (later / MANIFEST_NAME).is_file():
        logger.warning(
            "%s: these are a later version than the run trained on, made after clients were "
            "forgotten or files changed.",
            data.title,
        )
        return later
    there = (
        "Other shards are there: of other settings, or a later version. "
        if any(_candidates(project, None))
        else ""
    )
    raise DataError(
        f"{data.title}: expected its shards (DVC md5 {data.md5}) on this machine, found none. "
        f"{there}{how_to_make(project, data.shard_settings, data.md5)}"
    )


def how_to_make(project: Project, settings: ShardSettings, md5: str | None = None) -> str:
    """Return the command that makes the shards of these settings, as a sentence.

    Args:
        project: where.
        settings: those that make them.
        md5: of a version that `dvc.lock` may name.
    """
    if md5 is not None and dvc.locked_md5(project.root, "prepare", "data/shards") == md5:
        return "Run `dvc pull data/shards`."
    differing = overrides(project, settings)
    if not differing:
        return "Run `fedpipe prepare`."
    return (
        "A run with its settings makes them: `fedpipe run "
        f"{' '.join(f'-S {shlex.quote(override)}' for override in differing)}`."
    )


def overrides(project: Project, settings: ShardSettings) -> list[str]:
    """Return the settings that differ from the project's `params.yaml`, as `data.key=value`, and
    `task.kind`.
    """
    config = load_config(project.params)
    here = config.data.model_dump()
    then = without_ignored({"data": settings.data.model_dump()})["data"]
    kind = [f"task.kind={settings.kind}"] if settings.kind != config.task.kind else []
    return [
        *kind,
        *(f"data.{key}={_yaml(value)}" for key, value in then.items() if here.get(key) != value),
    ]


def population_of(data: RunData, manifest: "Manifest") -> str:
    """Return the key of who the clients are (`runs.lineage.population_key`)."""
    return data.population or population_key(data.settings, manifest.partition)


def _newest(project: Project, of_runs: bool) -> RunData:
    newest = next((state for state in all_states(project) if state.values.get("data_md5")), None)
    if newest is None:
        return _of_params(project)
    manifest = project.shards / MANIFEST_NAME
    prepared_later = manifest.is_file() and manifest.stat().st_mtime > float(
        newest.values.get("begun", 0)
    )
    if (
        prepared_later
        and not of_runs
        and not _has_md5(project.shards, str(newest.values["data_md5"]))
    ):
        return _of_params(project)
    return _of_state(newest)


def _of_params(project: Project) -> RunData:
    config = load_config(project.params)
    return RunData("data/shards", config.data, kind=config.task.kind)


def _named(project: Project, name: str) -> RunData:
    states = [state for state in all_states(project) if state.values.get("data_md5")]
    for state in states:
        if state.is_called(name):
            return _of_state(state)
    from fedpipe.tracking.artifacts import read_artifact
    from fedpipe.tracking.lookup import find_run
    from fedpipe.tracking.store import read_store

    store = read_store(project.root)
    run = find_run(store, name)
    run_id = str(run.info.run_id)
    tags = run.data.tags
    local = next((state for state in states if state.values.get("mlflow_run_id") == run_id), None)
    if local is not None:
        return _of_state(local)
    with tempfile.TemporaryDirectory(prefix="fedpipe-run-data-") as scratch:
        params = read_artifact(store, run, f"{LINEAGE}/{PARAMS_NAME}", Path(scratch))
        if params is None or DVC_DATA_MD5 not in tags:
            raise TrackingError(
                f"run {run_id}: expected {LINEAGE}/{PARAMS_NAME} among its files, found none. "
                "Name another run."
            )
        values = read_params(params)
    described = _described(str(run.info.run_name), values)
    return replace(
        described,
        md5=str(tags[DVC_DATA_MD5]),
        run_id=run_id,
        population=str(tags.get(POPULATION, "")),
    )


def _of_state(state: RunState) -> RunData:
    path = state.values.get("data_path")
    md5 = str(state.values["data_md5"])
    described = _described(state.name, state.values["config"])
    try:
        tags = json.loads((state.folder / LINEAGE / TAGS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        tags = {}
    return replace(
        described,
        md5=md5,
        path=Path(path) if path else None,
        run_id=str(state.values.get("mlflow_run_id") or ""),
        population=str(tags.get(POPULATION, "")),
    )


def _described(name: str, values: dict[str, Any]) -> RunData:
    try:
        settings = DataConfig.model_validate(values.get("data") or {})
        kind = TaskConfig.model_validate(values.get("task") or {}).kind
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(
            f"run {name}: expected `data` settings of this version of fedpipe, found "
            f"data.{place}: {first['msg']}. Use the version of the run's commit."
        ) from err
    source = settings.source if settings.path is None else f"{settings.source} {settings.path}"
    return RunData(f"run {name} ({source})", settings, kind=kind)


def _candidates(project: Project, first: Path | None) -> Iterator[Path]:
    """Yield the folders that hold shards, `first` before all others."""
    folders = [project.shards, *sorted((project.private / "shards").glob("*"))]
    if first is not None:
        folders.sort(key=lambda folder: folder != first)
    return (folder for folder in folders if (folder / MANIFEST_NAME).is_file())


def _has_md5(folder: Path, md5: str) -> bool:
    from fedpipe.data.digest import dvc_md5

    return folder.is_dir() and dvc_md5(folder) == md5


def _yaml(value: Any) -> str:
    """Return a value as it is written after the `=` of an override."""
    quoted = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        return quoted
    read: dict[str, Any] = {}
    try:
        apply_overrides(read, [f"data.path={value}"])
    except ConfigError:
        return quoted
    if read["data"]["path"] == value:
        return value
    return quoted
