"""Places of the artifacts of a store and of its copy, by MLflow's own rule:

ROOT/EXPERIMENT_ID/RUN_ID/artifacts           a run's
ROOT/EXPERIMENT_ID/models/MODEL_ID/artifacts  a logged model's
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

_OF_A_RUNNING_SERVER = ("scheduler_leases", "job_locks")

SERVED = "mlflow-artifacts:"
"""Address of artifacts that an MLflow server reads and writes for its clients."""


def tables() -> "Sequence[Table]":
    """Return MLflow's tables, each after those that it refers to."""
    import mlflow.store.model_registry.dbmodels.models
    import mlflow.store.tracking.dbmodels.models  # noqa: F401 - both put their tables into Base
    from mlflow.store.db.base_sql_model import Base

    return [
        table for table in Base.metadata.sorted_tables if table.name not in _OF_A_RUNNING_SERVER
    ]


@dataclass(frozen=True)
class Places:
    """Places of one copy.

    Attributes:
        root: place of the copy's files, such as `s3://BUCKET/FOLDER`.
        named: address of that place in the copy's rows: the same, or `SERVED`.
        folders: path under the root by the address of each folder of the source.
    """

    root: str
    named: str
    folders: dict[str, str] = field(default_factory=dict)

    def in_copy(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row as it is in the copy."""
        if table == "experiments":
            row["artifact_location"] = f"{self.named}/{row['experiment_id']}"
        elif table == "runs":
            row["artifact_uri"] = f"{self.named}/{_of_run(row)}"
        elif table == "logged_models":
            row["artifact_location"] = f"{self.named}/{_of_model(row)}"
        elif table == "model_versions":
            for column in ("source", "storage_location"):
                row[column] = self._moved(row[column])
        return row

    def _moved(self, uri: str | None) -> str | None:
        """Return the address in the copy of a folder of a run or model, or inside one; others are
        unchanged.
        """
        start = uri or ""
        while start:
            if start in self.folders:
                return f"{self.named}/{self.folders[start]}{str(uri)[len(start) :]}"
            start = start.rpartition("/")[0]
        return uri


def find_places(source: "Connection", root: str, served: bool) -> Places:
    """Return the places of a copy of all folders of a store under `root`; `served` by an MLflow
    server, or read directly.
    """
    from sqlalchemy import select

    root = root.rstrip("/")
    by_name = {table.name: table for table in tables()}
    folders = {}
    for row in source.execute(select(by_name["runs"])).mappings():
        folders[str(row["artifact_uri"]).rstrip("/")] = _of_run(row)
    for row in source.execute(select(by_name["logged_models"])).mappings():
        folders[str(row["artifact_location"]).rstrip("/")] = _of_model(row)
    return Places(root, SERVED if served else root, folders)


def _of_run(row: Any) -> str:
    return f"{row['experiment_id']}/{row['run_uuid']}/artifacts"


def _of_model(row: Any) -> str:
    return f"{row['experiment_id']}/models/{row['model_id']}/artifacts"
