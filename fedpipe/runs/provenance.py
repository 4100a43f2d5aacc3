"""The chain from a commit to a run, written as `lineage.json` beside the run's other files: git
commit -> DVC's data -> Prefect -> MLflow.

MLflow has the same as tags. What comes later, such as registered versions of the model, refers back
to the run and is looked up.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fedpipe.config import Config, DataConfig
from fedpipe.project.dvc import locked_md5
from fedpipe.project.paths import Project
from fedpipe.runs.refs import DataRef
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tables.texts import markdown, markdown_code

if TYPE_CHECKING:
    from fedpipe.data.manifest import Manifest

LINEAGE = "lineage"
CHAIN_NAME = "lineage.json"
PARAMS_NAME = "params.yaml"
PATCH_NAME = "dirty.patch"
ORIGIN_NAME = "origin.json"
POPULATION_TAG = "data.population"
_WHO = ("clients", "alpha", "labels_per_client", "sigma", "seed")

logger = logging.getLogger(__name__)

_NO_REPOSITORY = ("not a git repository", "no commit yet")
"""What `git.note` says of a project that was never committed, which its user knows."""


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
    """Return the run's tags that belong to the chain, beside those of `tracking.environment` and
    the flow's own.

    - `dvc.data_in_lock`: whether `dvc.lock` names this version of the data, so that `dvc pull`
      brings it.
    - `dvc.experiment`: under `dvc exp run`, the experiment's name.
    - `data.population`: see `population_key`.
    """
    tags = {
        "dvc.data_md5": data.md5,
        "dvc.data_in_lock": str(
            locked_md5(project.root, "prepare", "data/shards") == data.md5
        ).lower(),
        POPULATION_TAG: population_key(config.data, manifest.partition),
    }
    experiment = os.environ.get("DVC_EXP_NAME")
    if experiment:
        return {**tags, "dvc.experiment": experiment}
    return tags


def write_origin(
    folder: Path, config: Config, project: Project, tags: Mapping[str, str]
) -> dict[str, str]:
    """Write what repeating the run takes besides its commit and its data, before the run is made;
    return the tags with what they add.

    `params.yaml` has the settings, `dirty.patch` what the work tree has beyond its commit,
    `origin.json` the tags.
    """
    from fedpipe.tracking.git_diff import DiffLeftOut, dirty_patch

    write_atomic(
        folder / PARAMS_NAME, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    )
    note = tags.get("git.note", "")
    if note and not any(text in note for text in _NO_REPOSITORY):
        logger.warning("the run is recorded without a commit, and cannot be reproduced: %s", note)
    try:
        patch = dirty_patch(project.root)
        patch_tag = {}
    except DiffLeftOut as err:
        logger.warning(
            "the work tree's changes are not kept with the run, which cannot be reproduced: %s", err
        )
        patch = b""
        patch_tag = {"git.patch": f"left out: {err}"}
    if patch:
        (folder / PATCH_NAME).write_bytes(patch)
        patch_tag = {"git.patch": f"sha256:{hashlib.sha256(patch).hexdigest()}"}
    write_atomic(folder / ORIGIN_NAME, json.dumps({**tags, **patch_tag}, indent=1) + "\n")
    return {**tags, **patch_tag}


def origin_files(folder: Path) -> list[Path]:
    """Return the files that `write_origin` wrote."""
    return [
        path for name in (PARAMS_NAME, PATCH_NAME, ORIGIN_NAME) if (path := folder / name).exists()
    ]


def write_chain(folder: Path, run_id: str, store: str, weights_sha256: str) -> Path:
    """Write `lineage.json` into the folder of `write_origin` and return its path.

    Args:
        folder: for it.
        run_id: the MLflow run.
        store: the store's address, without a password.
        weights_sha256: of the last round.
    """
    origin = folder / ORIGIN_NAME
    tags: dict[str, str] = json.loads(origin.read_text(encoding="utf-8")) if origin.exists() else {}
    chain = chain_of_tags(tags) | {
        "mlflow": {"run_id": run_id, "store": store},
        "weights_sha256": weights_sha256,
    }
    write_atomic(folder / CHAIN_NAME, json.dumps(chain, indent=1) + "\n")
    return folder / CHAIN_NAME


def read_chain(run_dir: Path) -> dict[str, Any]:
    """Return the chain that a run's folder holds."""
    return dict(json.loads((run_dir / LINEAGE / CHAIN_NAME).read_text(encoding="utf-8")))


def note(tags: Mapping[str, str]) -> str:
    """Return what the MLflow UI shows as the run's description: the links of the chain, in
    Markdown.
    """
    lines = [
        f"git commit {markdown_code(str(tags.get('git.commit')))}, data "
        f"{markdown_code(str(tags.get('dvc.data_md5')))} (DVC)"
    ]
    if "prefect.url" in tags:
        lines.append(
            f"Prefect flow run [{markdown(tags['prefect.flow_run_name'])}]({tags['prefect.url']})"
        )
    if "dvc.experiment" in tags:
        lines.append(f"DVC experiment {markdown_code(tags['dvc.experiment'])}")
    return "\n\n".join(lines)


def chain_of_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the links of the chain that a run's tags name; None where one is missing."""
    return {
        "git": {
            "commit": tags.get("git.commit"),
            "branch": tags.get("git.branch"),
            "dirty": tags.get("git.dirty") == "true",
            "patch": tags.get("git.patch"),
        },
        "dvc": {
            "data_md5": tags.get("dvc.data_md5"),
            "data_in_lock": tags.get("dvc.data_in_lock") == "true",
            "experiment": tags.get("dvc.experiment"),
        },
        "prefect": {
            "flow_run_id": tags.get("prefect.flow_run_id"),
            "flow_run_name": tags.get("prefect.flow_run_name"),
            "url": tags.get("prefect.url"),
        },
        "plan_sha256": tags.get("fedpipe.plan_sha256"),
    }
