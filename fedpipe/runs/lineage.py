"""Lineage of a run, from the git commit over DVC's data and the Prefect flow run to the MLflow run:
its tags, `lineage.json`, and the files that reproduce the run.

What comes later, such as registered versions of the model, refers back to the run: see
`fedpipe.lineage`.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fedpipe.config import Config, DataConfig
from fedpipe.project.dvc import locked_md5
from fedpipe.project.paths import Project
from fedpipe.runs.step_results import DataRef
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tables.texts import markdown, markdown_code
from fedpipe.tracking.tags import (
    DVC_DATA_IN_LOCK,
    DVC_DATA_MD5,
    DVC_EXPERIMENT,
    GIT_BRANCH,
    GIT_COMMIT,
    GIT_DIRTY,
    GIT_NOTE,
    GIT_PATCH,
    INITIAL_FROM,
    INITIAL_SHA256,
    PLAN_SHA256,
    POPULATION,
    PREFECT_FLOW_RUN_ID,
    PREFECT_FLOW_RUN_NAME,
    PREFECT_URL,
)

if TYPE_CHECKING:
    from fedpipe.data.manifest import Manifest

LINEAGE = "lineage"
"""Folder of these files in a run's folder and among its artifacts."""
LINEAGE_NAME = "lineage.json"
PARAMS_NAME = "params.yaml"
PATCH_NAME = "dirty.patch"
TAGS_NAME = "origin.json"
INITIAL_NAME = "initial.safetensors"
"""The weights that `model.initial` named when the run was started."""
_WHO = ("clients", "alpha", "labels_per_client", "sigma", "seed")

logger = logging.getLogger(__name__)

_NO_REPOSITORY = ("not a git repository", "no commit yet")
"""What `git.note` says of a project that was never committed, which its user knows."""


@dataclass(frozen=True)
class GitLineage:
    """The commit of the code, and `sha256:...` of the patch to it where the work tree differed."""

    commit: str | None
    branch: str | None
    dirty: bool
    patch: str | None


@dataclass(frozen=True)
class DvcLineage:
    """The version of the data: its md5, whether `dvc.lock` names it, and the DVC experiment."""

    data_md5: str | None
    data_in_lock: bool
    experiment: str | None


@dataclass(frozen=True)
class PrefectLineage:
    """The flow run; all None of a run outside a flow."""

    flow_run_id: str | None
    flow_run_name: str | None
    url: str | None


@dataclass(frozen=True)
class InitialLineage:
    """The weights that the run started from: where they were brought from, and their SHA-256; None
    where the model drew them.
    """

    source: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class TagLineage:
    """The lineage that a run's tags name; None where one is missing."""

    git: GitLineage
    dvc: DvcLineage
    prefect: PrefectLineage
    plan_sha256: str | None
    initial: InitialLineage = field(default=InitialLineage(), kw_only=True)


@dataclass(frozen=True)
class MlflowLineage:
    """The MLflow run, and the address of its store without a password."""

    run_id: str
    store: str


@dataclass(frozen=True)
class TrainingLineage(TagLineage):
    """Contents of `lineage.json`; `weights_sha256` is of the last round."""

    mlflow: MlflowLineage
    weights_sha256: str


def population_key(data: DataConfig, partition: str) -> str:
    """Return a short name for who the clients are: the same id means the same client where this is
    the same.

    Natural clients are their source's; those that a partition makes are also the work of its
    settings. Versions of the data that differ in what was appended, or in who was forgotten, have
    the same key.

    Args:
        data: the settings.
        partition: the one that was used; that of the settings may be `auto`.
    """
    parts: dict[str, Any] = {
        "source": data.source,
        "path": data.path,
        "column": data.client_column,
        "partition": partition,
    }
    if partition != "natural":
        parts |= {name: getattr(data, name) for name in _WHO}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def lineage_tags(
    config: Config, data: DataRef, manifest: "Manifest", project: Project
) -> dict[str, str]:
    """Return the tags of a run's data, beside those of `tracking.environment` and of the flow.

    - `dvc.data_in_lock`: whether `dvc.lock` names this version of the data, so that `dvc pull`
      brings it.
    - `dvc.experiment`: under `dvc exp run`, the experiment's name.
    - `data.population`: see `population_key`.
    """
    tags = {
        DVC_DATA_MD5: data.md5,
        DVC_DATA_IN_LOCK: str(
            locked_md5(project.root, "prepare", "data/shards") == data.md5
        ).lower(),
        POPULATION: population_key(config.data, manifest.partition),
    }
    experiment = os.environ.get("DVC_EXP_NAME")
    if experiment:
        return {**tags, DVC_EXPERIMENT: experiment}
    return tags


def write_reproduction_files(
    folder: Path, config: Config, project: Project, tags: Mapping[str, str]
) -> dict[str, str]:
    """Write what reproducing a run takes besides its commit and its data, before the run is made.

    `params.yaml` has the settings, `dirty.patch` the changes of the work tree against its commit,
    `origin.json` the tags.

    Returns:
        `tags`, with the tag of the patch.
    """
    from fedpipe.tracking.git_diff import DiffLeftOutError, dirty_patch

    write_atomic(
        folder / PARAMS_NAME, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    )
    git_note = tags.get(GIT_NOTE, "")
    if git_note and not any(text in git_note for text in _NO_REPOSITORY):
        logger.warning(
            "the run is recorded without a commit, and cannot be reproduced: %s", git_note
        )
    all_tags = dict(tags)
    try:
        patch = dirty_patch(project.root)
    except DiffLeftOutError as err:
        logger.warning(
            "the work tree's changes are not kept with the run, which cannot be reproduced: %s", err
        )
        all_tags[GIT_PATCH] = f"left out: {err}"
    else:
        if patch:
            (folder / PATCH_NAME).write_bytes(patch)
            all_tags[GIT_PATCH] = f"sha256:{hashlib.sha256(patch).hexdigest()}"
    write_atomic(folder / TAGS_NAME, json.dumps(all_tags, indent=1) + "\n")
    return all_tags


def reproduction_files(folder: Path) -> list[Path]:
    """Return the files that reproduce a run: those that `write_reproduction_files` wrote, and the
    weights that it started from, if they were brought.
    """
    paths = (folder / name for name in (PARAMS_NAME, PATCH_NAME, TAGS_NAME, INITIAL_NAME))
    return [path for path in paths if path.exists()]


def write_lineage(folder: Path, run_id: str, store: str, weights_sha256: str) -> Path:
    """Write `lineage.json` beside the files of `write_reproduction_files` and return its path.

    Args:
        folder: of the run's lineage.
        run_id: the MLflow run.
        store: the store's address, without a password.
        weights_sha256: of the last round.
    """
    try:
        tags = json.loads((folder / TAGS_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        tags = {}
    lineage = TrainingLineage(
        **vars(lineage_of_tags(tags)),
        mlflow=MlflowLineage(run_id, store),
        weights_sha256=weights_sha256,
    )
    path = folder / LINEAGE_NAME
    write_atomic(path, json.dumps(asdict(lineage), indent=1) + "\n")
    return path


def read_lineage(run_dir: Path) -> TrainingLineage:
    """Return the lineage in a run's folder."""
    values = json.loads((run_dir / LINEAGE / LINEAGE_NAME).read_text(encoding="utf-8"))
    return TrainingLineage(
        git=GitLineage(**values["git"]),
        dvc=DvcLineage(**values["dvc"]),
        prefect=PrefectLineage(**values["prefect"]),
        plan_sha256=values["plan_sha256"],
        initial=InitialLineage(**values.get("initial", {})),
        mlflow=MlflowLineage(**values["mlflow"]),
        weights_sha256=values["weights_sha256"],
    )


def note(tags: Mapping[str, str]) -> str:
    """Return the run's description in MLflow's pages, its lineage in Markdown."""
    lines = [
        f"git commit {markdown_code(str(tags.get(GIT_COMMIT)))}, data "
        f"{markdown_code(str(tags.get(DVC_DATA_MD5)))} (DVC)"
    ]
    if PREFECT_URL in tags:
        lines.append(
            f"Prefect flow run [{markdown(tags[PREFECT_FLOW_RUN_NAME])}]({tags[PREFECT_URL]})"
        )
    if DVC_EXPERIMENT in tags:
        lines.append(f"DVC experiment {markdown_code(tags[DVC_EXPERIMENT])}")
    return "\n\n".join(lines)


def lineage_of_tags(tags: Mapping[str, str]) -> TagLineage:
    """Return the lineage that a run's tags name."""
    return TagLineage(
        GitLineage(
            commit=tags.get(GIT_COMMIT),
            branch=tags.get(GIT_BRANCH),
            dirty=tags.get(GIT_DIRTY) == "true",
            patch=tags.get(GIT_PATCH),
        ),
        DvcLineage(
            data_md5=tags.get(DVC_DATA_MD5),
            data_in_lock=tags.get(DVC_DATA_IN_LOCK) == "true",
            experiment=tags.get(DVC_EXPERIMENT),
        ),
        PrefectLineage(
            flow_run_id=tags.get(PREFECT_FLOW_RUN_ID),
            flow_run_name=tags.get(PREFECT_FLOW_RUN_NAME),
            url=tags.get(PREFECT_URL),
        ),
        plan_sha256=tags.get(PLAN_SHA256),
        initial=InitialLineage(tags.get(INITIAL_FROM), tags.get(INITIAL_SHA256)),
    )
