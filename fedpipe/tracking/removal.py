"""Sizes of the files of the store's runs, and their removal; rows of the store are never removed.

A removed run is marked as deleted in MLflow, as on its pages, and loses its artifacts and its
logged model. `lineage/` and `plan/` stay: `fedpipe lineage --client` reads them. `mlflow gc`
removes the rest for good.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedpipe.tracking.lookup import experiment_ids, model_versions, pages
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import DVC_DATA_MD5, PARENT, SWEEP_BEST, SWEEP_SPACE

if TYPE_CHECKING:
    from mlflow.entities import Run

KEPT_FOLDERS = ("lineage", "plan")
"""Folders of a run's artifacts that are not removed."""


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it.

    Attributes:
        run_id, name: of the run.
        status: MLflow's, such as `FINISHED`.
        deleted: whether it is marked as deleted.
        ended: end of the run, or its start if it has no end, in seconds since 1970.
        data_md5: DVC's md5 of its data; empty if that is not known.
        sweep_run_id: the run of its sweep; empty if it is no trial.
        is_sweep: whether it is the run of a sweep itself.
        sweep_best: the run that is the best of this sweep; empty if this is no sweep.
        models: registered versions that it trained, as `NAME/VERSION @ALIAS`.
    """

    run_id: str
    name: str
    status: str
    deleted: bool
    ended: float
    data_md5: str
    sweep_run_id: str
    is_sweep: bool
    sweep_best: str
    models: tuple[str, ...]


def stored_runs(store: Store) -> list[StoredRun]:
    """Return all runs of all experiments, deleted ones too.

    Raises:
        TrackingError: the store does not answer.
    """
    versions: dict[str, list[str]] = {}
    for version in model_versions(store):
        versions.setdefault(version.run_id, []).append(version.label)
    with store.guard("list the runs"):
        return [_stored(run, tuple(versions.get(run.info.run_id, ()))) for run in _all_runs(store)]


def _all_runs(store: Store) -> "Iterator[Run]":
    from mlflow.entities import ViewType

    experiments = experiment_ids(store)
    return pages(
        lambda token: store.client.search_runs(experiments, "", ViewType.ALL, page_token=token)
    )


def _stored(run: "Run", models: tuple[str, ...]) -> StoredRun:
    info = run.info
    tags = run.data.tags
    return StoredRun(
        run_id=info.run_id,
        name=info.run_name or "",
        status=info.status,
        deleted=info.lifecycle_stage == "deleted",
        ended=(info.end_time or info.start_time or 0) / 1000,
        data_md5=tags.get(DVC_DATA_MD5, ""),
        sweep_run_id=tags.get(PARENT, ""),
        is_sweep=SWEEP_SPACE in tags,
        sweep_best=tags.get(SWEEP_BEST, ""),
        models=models,
    )


def size_of_files(store: Store, run_id: str) -> int:
    """Return the size in bytes of the files that `remove_files` removes.

    Raises:
        TrackingError: the store does not answer.
    """
    with store.guard(f"list the files of run {run_id}"):
        return sum(_size(repository, path) for repository, path in _removable(store, run_id))


def remove_files(store: Store, run_id: str) -> None:
    """Mark a run as deleted, and remove its logged models and its artifacts except `KEPT_FOLDERS`.
    A second time changes nothing.

    Raises:
        TrackingError: the store does not answer, or refuses.
    """
    with store.guard(f"remove the files of run {run_id}"):
        run = store.client.get_run(run_id)
        if run.info.lifecycle_stage != "deleted":
            store.client.delete_run(run_id)
        for repository, path in _removable(store, run_id):
            repository.delete_artifacts(path)
        for model in _logged_models(store, run):
            store.client.delete_logged_model(model.model_id)


def _removable(store: Store, run_id: str) -> Iterator[tuple[Any, str | None]]:
    """Yield the artifacts to remove, as a repository and a path in it; None is all of it."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    run = store.client.get_run(run_id)
    repository: Any = get_artifact_repository(run.info.artifact_uri, tracking_uri=store.uri)
    for entry in repository.list_artifacts():
        if entry.path not in KEPT_FOLDERS:
            yield repository, entry.path
    for model in _logged_models(store, run):
        of_model: Any = get_artifact_repository(model.artifact_location, tracking_uri=store.uri)
        if of_model.list_artifacts():
            yield of_model, None


def _logged_models(store: Store, run: "Run") -> list[Any]:
    """Return the logged models of a run that are not deleted yet."""
    from mlflow.exceptions import MlflowException

    models = []
    for output in run.outputs.model_outputs if run.outputs else []:
        try:
            models.append(store.client.get_logged_model(output.model_id))
        except MlflowException as err:
            if err.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return models


def _size(repository: Any, path: str | None) -> int:
    """Return the size of a file, or of all files in a folder, of a repository."""
    entries = repository.list_artifacts(path)
    if not entries and path:  # a file: its size is in the list of its folder
        folder = path.rpartition("/")[0] or None
        return sum(
            entry.file_size or 0
            for entry in repository.list_artifacts(folder)
            if entry.path == path
        )
    return sum(
        _size(repository, entry.path) if entry.is_dir else entry.file_size or 0 for entry in entries
    )
