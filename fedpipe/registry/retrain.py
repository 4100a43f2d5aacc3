"""The champion again, without the clients that were forgotten: with its own settings, as a new
version that takes its place.
"""

import tempfile
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
from fedpipe.tracking.tags import RETRAIN_OF

if TYPE_CHECKING:
    from fedpipe.runs.state import RunState

STATE_KEY = "retrain_of"
"""Key of a run's state: the version that the run retrains."""


@dataclass(frozen=True)
class Retraining:
    """What is to be run.

    Attributes:
        version: the champion that is replaced, `NAME/VERSION`.
        params: its settings, registered under the same name; a params file.
    """

    version: str
    params: Path


def retrain_tags(run: "RunState | None") -> dict[str, str]:
    """Return the tag of a run that retrains a version: which; none of other runs."""
    of = run.values.get(STATE_KEY) if run else None
    if of:
        return {RETRAIN_OF: str(of)}
    return {}


def model_of(project: Project, wanted: str | None) -> str | None:
    """Return the registered model that `wanted`, as `MODEL@ALIAS` or `MODEL/VERSION`, names; None
    if it names none.
    """
    from fedpipe.tracking.lookup import version_named
    from fedpipe.tracking.store import has_store, read_store

    if wanted is None or not has_store(project.root):
        return None
    store = read_store(project.root)
    with store.guard(f"find {wanted}"):
        version = version_named(store, wanted)
    if version is None:
        return None
    return version.name


def plan_retraining(project: Project, model_name: str) -> Retraining:
    """Return how the champion of a registered model is trained again.

    Raises:
        TrackingError: the model has no champion, or that does not say with which settings it was
            trained.
        ConfigError: it was trained without validation examples: nothing could say what the new one
            is worth.
    """
    from fedpipe.tracking.artifacts import read_artifact
    from fedpipe.tracking.lookup import find_run, model_versions
    from fedpipe.tracking.model_registry import CHAMPION, champion_of
    from fedpipe.tracking.store import has_store, read_store

    champion = (
        champion_of(read_store(project.root), model_name) if has_store(project.root) else None
    )
    if champion is None:
        found = model_versions(read_store(project.root)) if has_store(project.root) else []
        others = shorten(
            dict.fromkeys(version.name for version in found if CHAMPION in version.aliases)
        )
        known = f"those with a champion: {others}" if others else "no model has a champion"
        raise TrackingError(
            f"--retrain: expected a champion of the registered model '{model_name}', found none. "
            f"Forget without --retrain, or name another model with --model ({known})."
        )
    store = read_store(project.root)
    label = f"{champion.name}/{champion.version}"
    with tempfile.TemporaryDirectory(prefix="fedpipe-retrain-") as scratch:
        kept = read_artifact(
            store, find_run(store, label), f"{LINEAGE}/{PARAMS_NAME}", Path(scratch)
        )
        if kept is None:
            raise TrackingError(
                f"{label}: expected its run to have kept {LINEAGE}/{PARAMS_NAME}, found none: it "
                "cannot be trained again."
            )
        values = read_params(kept)
    values["tracking"] = {
        **(values.get("tracking") or {}),
        "register": True,
        "model_name": model_name,
    }
    try:
        config = parse_recorded(values, f"settings of {label}")
    except ConfigError as err:
        raise ConfigError(f"--retrain: {err}") from err
    path = project.private / "retrain" / f"{_plain(model_name)}-{champion.version}.yaml"
    write_atomic(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    return Retraining(label, path)


def _plain(name: str) -> str:
    return "".join(one if one.isalnum() or one in "-_" else "_" for one in name)[:100]
