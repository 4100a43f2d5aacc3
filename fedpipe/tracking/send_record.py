"""Sends records of a run's journal to MLflow."""

import logging
from collections.abc import Mapping
from typing import Any

from fedpipe.errors import TrackingError
from fedpipe.tracking.mlflow_limits import batches
from fedpipe.tracking.store import Store

_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
"""MLflow's error codes for values that it will never accept."""
logger = logging.getLogger("fedpipe.tracking")


def send(store: Store, run_id: str, record: Mapping[str, Any]) -> None:
    """Send one record. Raises TrackingError if the store does not accept it."""
    from mlflow.entities import Metric, RunTag

    with store.guard(f"write to run {run_id}"):
        match record["kind"]:
            case "metrics":
                values = (
                    Metric(key, float(value), record["time"], record["step"])
                    for key, value in record["values"].items()
                )
                for metrics in batches(values):
                    store.client.log_batch(run_id, metrics=metrics)
            case "tags":
                for tags in batches(RunTag(key, value) for key, value in record["tags"].items()):
                    store.client.log_batch(run_id, tags=tags)
            case "file":
                store.client.log_artifact(run_id, record["path"], record["to"])
            case "end":
                store.client.set_terminated(run_id, record["status"])


def send_accepted(store: Store, run_id: str, record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Send a record, without the values that the store will never accept.

    Returns:
        A note for each of these values: `what` it is, and `why` the store refuses it.

    Raises:
        TrackingError: the store does not accept the record now.
    """
    try:
        send(store, run_id, record)
        return []
    except TrackingError as err:
        if (
            not _is_refused(err)
            or record["kind"] not in ("metrics", "tags")
            or not _is_active(store, run_id)
        ):
            raise
    notes = []
    field = "values" if record["kind"] == "metrics" else "tags"
    for key, value in record[field].items():
        try:
            send(store, run_id, {**record, field: {key: value}})
        except TrackingError as err:
            if not _is_refused(err):
                raise
            label = f"tag {key!r}"
            if field == "values":
                label = f"metric {key!r} of round {record['step']}"
            reason = " ".join(str(err.__cause__).split())[:300]
            logger.warning("run %s: the store refuses %s: %s", run_id, label, reason)
            notes.append({"what": label, "why": reason})
    return notes


def _is_active(store: Store, run_id: str) -> bool:
    """Return whether the run is not deleted: the store refuses everything of a deleted run."""
    with store.guard(f"find the run {run_id}"):
        return str(store.client.get_run(run_id).info.lifecycle_stage) == "active"


def _is_refused(err: TrackingError) -> bool:
    """Return whether the store will refuse the same values again."""
    return getattr(err.__cause__, "error_code", None) in _REFUSALS
