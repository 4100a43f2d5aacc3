"""MLflow's model registry: versions of a model, and the aliases `champion` and `challenger`."""

import json
from collections.abc import Mapping

from fedpipe.tracking.lookup import ModelVersion, model_versions, version_named
from fedpipe.tracking.mlflow_limits import MAX_VERSION_TAG, fit
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import (
    FORGOTTEN_CLIENTS,
    MODEL_ROUND,
    MODEL_WEIGHTS_SHA256,
    VERSION_LINEAGE_PREFIXES,
    VERSION_ROUND,
    VERSION_WEIGHTS_SHA256,
)

CHAMPION = "champion"
CHALLENGER = "challenger"


def register_version(
    store: Store, name: str, model_id: str, run_id: str, tags: Mapping[str, str]
) -> ModelVersion:
    """Return the version of model `name` for the logged model of a run: a new one, or that of an
    earlier try of the same run.

    The registered model is created if it does not exist. The version has the run's lineage tags,
    and `tags`. The list of forgotten clients is never cut: it is read again.

    Raises:
        TrackingError: the store does not take it.
    """
    from mlflow.exceptions import MlflowException

    client = store.client
    for version in reversed(model_versions(store)):
        if version.name == name and version.run_id == run_id:
            return version
    with store.guard(f"register a version of model {name}"):
        try:
            client.create_registered_model(name)
        except MlflowException as err:
            if err.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        logged = client.get_logged_model(model_id)
        source = str(logged.artifact_location)
        if store.is_server:  # which resolves this itself; MLflow here would ask its global store
            source = f"models:/{model_id}"
        run_tags = client.get_run(run_id).data.tags
        lineage = {
            key: value
            for key, value in run_tags.items()
            if key.startswith(VERSION_LINEAGE_PREFIXES)
        }
        weights = {
            VERSION_WEIGHTS_SHA256: str(logged.tags.get(MODEL_WEIGHTS_SHA256, "")),
            VERSION_ROUND: str(logged.tags.get(MODEL_ROUND, "")),
        }
        texts = {
            key: value if key == FORGOTTEN_CLIENTS else fit(value, MAX_VERSION_TAG)
            for key, value in {**lineage, **weights, **tags}.items()
            if value
        }
        created = client.create_model_version(name, source, run_id, tags=texts, model_id=model_id)
        # MLflow's pages link a run's model to its versions by this tag, which only its global
        # functions set.
        client.set_logged_model_tags(
            model_id,
            {"mlflow.modelVersions": json.dumps([{"name": name, "version": int(created.version)}])},
        )
        return ModelVersion(name, str(created.version), run_id, (), texts)


def champion_of(store: Store, name: str) -> ModelVersion | None:
    """Return the version with the alias `champion`; None if there is none."""
    with store.guard(f"find the champion of model {name}"):
        return version_named(store, f"{name}@{CHAMPION}")


def move_alias(store: Store, alias: str, version: ModelVersion) -> None:
    """Give a version the alias, and take it from any other."""
    with store.guard(f"make version {version.version} of model {version.name} the {alias}"):
        store.client.set_registered_model_alias(version.name, alias, version.version)


def tag_version(store: Store, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version; a value above MLflow's limit is cut and ends in its SHA-256."""
    with store.guard(f"tag version {version.version} of model {version.name}"):
        for key, value in tags.items():
            store.client.set_model_version_tag(
                version.name, version.version, key, fit(value, MAX_VERSION_TAG)
            )
