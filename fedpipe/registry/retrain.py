"""Plans to train the champion again without forgotten clients: with its own settings, as a new
version that replaces it.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from fedpipe.config import parse_recorded
from fedpipe.config.load import read_params
from fedpipe.errors import ConfigError, TrackingError, shorten
from fedpipe.project.paths import Project
from fedpipe.runs.lineage import LINEAGE, PARAMS_NAME
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tracking.artifacts import read_artifact
from fedpipe.tracking.lookup import ModelVersion, find_run, model_versions, version_named
from fedpipe.tracking.model_registry import CHAMPION, champion_of
from fedpipe.tracking.store import has_store, read_store
from fedpipe.tracking.tags import RETRAIN_OF

if TYPE_CHECKING:
    from fedpipe.runs.state import RunState

STATE_KEY = "retrain_of"
"""Key of a run's state: the version that the run retrains."""


@dataclass(frozen=True)
class Retraining:
    """A run to start.

    Attributes:
        version: the champion to replace, `NAME/VERSION`.
        params: params file with its settings, to be registered under the same name.
    """

    version: str
    params: Path


def retrain_tags(run: "RunState | None") -> dict[str, str]:
    """Return the tag that names the version that a run retrains; none for other runs."""
    version = run.values.get(STATE_KEY) if run else None
    if version:
        return {RETRAIN_OF: str(version)}
    return {}


def model_of(project: Project, name: str | None) -> str | None:
    """Return the registered model of a version, `MODEL@ALIAS` or `MODEL/VERSION`; None if there is
    no such version.
    """
    if name is None or not has_store(project.root):
        return None
    store = read_store(project.root)
    with store.guard(f"find {name}"):
        version = version_named(store, name)
    return version.name if version else None


def plan_retraining(project: Project, model_name: str) -> Retraining:
    """Return how to train the champion of a registered model again.

    Raises:
        TrackingError: the model has no champion, or the settings of that are not recorded.
        ConfigError: it was trained without validation examples, which must compare it with the new
            version.
    """
    if not has_store(project.root):
        raise _no_champion(model_name, [])
    store = read_store(project.root)
    champion = champion_of(store, model_name)
    if champion is None:
        raise _no_champion(model_name, model_versions(store))
    label = f"{champion.name}/{champion.version}"
    with tempfile.TemporaryDirectory(prefix="fedpipe-retrain-") as scratch:
        params = read_artifact(
            store, find_run(store, label), f"{LINEAGE}/{PARAMS_NAME}", Path(scratch)
        )
        if params is None:
            raise TrackingError(
                f"{label}: expected its run to have kept {LINEAGE}/{PARAMS_NAME}, found none: it "
                "cannot be trained again."
            )
        values = read_params(params)
    values["tracking"] = {
        **(values.get("tracking") or {}),
        "register": True,
        "model_name": model_name,
    }
    try:
        config = parse_recorded(values, f"settings of {label}")
    except ConfigError as err:
        raise ConfigError(f"--retrain: {err}") from err
    path = project.private / "retrain" / f"{_file_name(model_name)}-{champion.version}.yaml"
    write_atomic(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    return Retraining(label, path)


def _no_champion(model_name: str, versions: Sequence[ModelVersion]) -> TrackingError:
    names = dict.fromkeys(version.name for version in versions if CHAMPION in version.aliases)
    known = f"those with a champion: {shorten(names)}" if names else "no model has a champion"
    return TrackingError(
        f"--retrain: expected a champion of the registered model '{model_name}', found none. "
        f"Forget without --retrain, or name another model with --model ({known})."
    )


def _file_name(name: str) -> str:
    return re.sub(r"[^\w-]", "_", name)[:100]
