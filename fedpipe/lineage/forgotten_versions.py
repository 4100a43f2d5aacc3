"""Marks the registered versions that were trained on forgotten clients."""

import json
from collections.abc import Sequence

from fedpipe.lineage.queries import VersionOfClient, client_lineage
from fedpipe.project.paths import Project
from fedpipe.tracking.lookup import ModelVersion, model_versions
from fedpipe.tracking.model_registry import CHAMPION, tag_version
from fedpipe.tracking.store import has_store, read_store
from fedpipe.tracking.tags import FORGOTTEN_CLIENTS, FORGOTTEN_REASON

NO_REASON = "asked to be forgotten"


def mark_versions(
    project: Project, client_ids: Sequence[str], reason: str | None, population: str | None = None
) -> list[str]:
    """Tag every registered model version that trained on the data of these clients.

    The tag `fedpipe.forgotten_clients` is a JSON list, to which later calls add. A project without
    runs has nothing to tag.

    Args:
        project: has the store.
        client_ids: the clients.
        reason: for the tag `fedpipe.forgotten_reason`; None leaves an earlier one.
        population: key of who the clients are, None for those of the newest run's data; the same
            ids in other data are other clients.

    Returns:
        The versions as `NAME/VERSION`.

    Raises:
        TrackingError: the store cannot be read or written.
    """
    if not has_store(project.root):
        return []
    versions: dict[str, VersionOfClient] = {}
    forgotten: dict[str, set[str]] = {}
    for client_id in client_ids:
        lineage = client_lineage(project, client_id, population=population)
        for version in lineage.versions:
            if version.here:
                label = f"{version.name}/{version.version}"
                versions[label] = version
                forgotten.setdefault(label, set(forgotten_of(version))).add(client_id)
    store = read_store(project.root)
    for label, version in versions.items():
        clients = json.dumps(sorted(forgotten[label]))  # never cut: it is read again
        with store.guard(f"tag version {version.version} of model {version.name}"):
            store.client.set_model_version_tag(
                version.name, version.version, FORGOTTEN_CLIENTS, clients
            )
        tag_version(
            store,
            version,
            {FORGOTTEN_REASON: reason or version.tags.get(FORGOTTEN_REASON, NO_REASON)},
        )
    return list(versions)


def forgotten_of(version: ModelVersion) -> tuple[str, ...]:
    """Return the forgotten clients that a version's tag names."""
    return tuple(json.loads(version.tags.get(FORGOTTEN_CLIENTS, "[]")))


def forgotten_champions(project: Project) -> list[str]:
    """Return the champions, as `NAME/VERSION`, that trained on clients who were forgotten since.

    Raises:
        TrackingError: the store cannot be read.
    """
    if not has_store(project.root):
        return []
    return [
        f"{version.name}/{version.version}"
        for version in model_versions(read_store(project.root))
        if CHAMPION in version.aliases and FORGOTTEN_CLIENTS in version.tags
    ]
