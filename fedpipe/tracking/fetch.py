"""Fetches a recorded model, of a run or a registered version, to this machine; only models of the
kind that fedpipe records.

MLflow's own loader runs any code that a model names as its loader, and unpickles. Here the model's
description, YAML that is loaded safely, names the folder of its SavedModel; nothing else is run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fedpipe.errors import TrackingError, shorten
from fedpipe.models.input_facts import InputFacts
from fedpipe.tracking.lookup import ModelVersion, find_run, model_versions, version_named
from fedpipe.tracking.model import ABOUT
from fedpipe.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class FetchedModel:
    """A model on this machine.

    Attributes:
        label: `NAME/VERSION @alias`, or `run ID`.
        run_id: the run that trained it; empty if that is not known.
        saved_model: folder of its SavedModel.
        facts: how its input is prepared.
        version: the registered version; None for the model of a run.
    """

    label: str
    run_id: str
    saved_model: Path
    facts: InputFacts
    version: ModelVersion | None


def fetch_model(store: Store, name: str, scratch: Path) -> FetchedModel:
    """Return a model.

    Args:
        store: an open store.
        name: `MODEL@ALIAS`, `MODEL/VERSION`, or the run that trained it.
        scratch: folder for files that are not on this machine yet.

    Raises:
        TrackingError: the store has no such model, or it is of another kind than fedpipe records.
    """
    with store.guard(f"find {name}"):
        version = version_named(store, name)
        if version is not None:
            uri = store.client.get_model_version_download_uri(version.name, version.version)
            label = version.label
            run_id = version.run_id
        else:
            if _names_a_version(name):
                raise _no_such_model(store, name)
            run = find_run(store, name)
            uri = _model_of(store, run)
            label = f"run {run.info.run_id}"
            run_id = run.info.run_id
    folder = _local(store, uri, label, scratch)
    return _described(folder, label, run_id, version)


def _names_a_version(name: str) -> bool:
    model, _, number = name.rpartition("/")
    return "@" in name or bool(model and number.isdigit())


def _no_such_model(store: Store, name: str) -> TrackingError:
    model = name.partition("@")[0] if "@" in name else name.rpartition("/")[0]
    versions = model_versions(store)
    of_model = [version for version in versions if version.name == model]
    labels = [version.label for version in of_model or versions]
    return TrackingError(
        f"{store.label}: expected a registered model '{name}', found "
        f"{shorten(labels) or 'no registered model'}. Name one of these, or the run that trained "
        "it."
    )


def _model_of(store: Store, run: "Run") -> str:
    outputs = run.outputs.model_outputs if run.outputs else []
    if not outputs:
        raise TrackingError(
            f"run {run.info.run_id}: expected a run with a model, found none; its status is "
            f"{run.info.status}. Finish it with `fedpipe resume`, or name another."
        )
    return str(store.client.get_logged_model(outputs[-1].model_id).artifact_location)


def _local(store: Store, uri: str, label: str, scratch: Path) -> Path:
    from mlflow.artifacts import download_artifacts

    if uri.startswith("file://"):
        path = Path(unquote(urlsplit(uri).path))
        if not path.is_dir():
            raise TrackingError(
                f"{label}: expected its files in {path}, found nothing there. Restore them, or "
                "train again."
            )
        return path
    with store.guard(f"fetch {label}"):
        return Path(download_artifacts(uri, dst_path=str(scratch), tracking_uri=store.uri))


def _described(folder: Path, label: str, run_id: str, version: ModelVersion | None) -> FetchedModel:
    import yaml

    try:
        described: Any = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        flavors = dict(described["flavors"])
        inside = str(dict(flavors.get("tensorflow") or {}).get("saved_model_dir") or "")
        about = dict(dict(described.get("metadata") or {}).get(ABOUT) or {})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as err:
        reason = " ".join(str(err).split())[:200]
        raise TrackingError(
            f"{label}: expected a model with its description, cannot read {folder / 'MLmodel'}: "
            f"{reason}."
        ) from err
    path = (folder / inside).resolve()
    if not inside or not path.is_relative_to(folder.resolve()) or not path.is_dir():
        raise TrackingError(
            f"{label}: expected a model that fedpipe recorded, a TensorFlow SavedModel, found one "
            f"of {shorten(sorted(flavors))}. Use MLflow itself for others."
        )
    return FetchedModel(label, run_id, path, InputFacts.read(about), version)
