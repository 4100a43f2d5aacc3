"""Reads the artifacts of a run, from a local folder or a remote store."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from fedpipe.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run


def read_artifact(store: Store, run: "Run", name: str, scratch: Path) -> Path | None:
    """Return a file with the artifact `name` of a run, None if it has none; a remote one is fetched
    into `scratch`.

    Raises:
        TrackingError: the store does not answer.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = str(run.info.artifact_uri)
    if uri.startswith("file://"):
        path = Path(unquote(urlsplit(uri).path)) / name
        if path.exists():
            return path
        return None
    folder = name.rpartition("/")[0]
    if name not in artifact_names(store, run, folder, whole=True):
        return None
    with store.guard(f"read {name} of run {run.info.run_id}"):
        try:
            return Path(
                download_artifacts(f"{uri}/{name}", dst_path=str(scratch), tracking_uri=store.uri)
            )
        except MlflowException as err:
            if err.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise


def artifact_names(store: Store, run: "Run", folder: str, whole: bool = False) -> list[str]:
    """Return the names of the files in a folder of a run's artifacts, with the folder's if
    `whole`.
    """
    with store.guard(f"list the artifacts of run {run.info.run_id}"):
        listed = [
            file.path
            for file in store.client.list_artifacts(run.info.run_id, folder)
            if not file.is_dir
        ]
    if whole:
        return listed
    return [Path(path).name for path in listed]
