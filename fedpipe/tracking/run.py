"""One training as one MLflow run: started with its lineage, and completed after the last round.

Contents of a run, by kind:

- params: every setting, by dotted key
- tags: see `fedpipe.tracking.tags`
- inputs: the data set, digest = DVC's md5: `NAME` in training, `NAME-test` in testing
- metrics: `train/loss`, `test/accuracy`, `round/seconds`, ... with step = round; `final/...` and
  `best/...` once
- artifacts: `weights/` and `lineage/`, which `tracking.journaled` sends during the rounds, and
  those of `pipeline.record`
"""

import json
import time
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from fedpipe.errors import TrackingError
from fedpipe.redact import hide
from fedpipe.status import MlflowStatus
from fedpipe.tracking.mlflow_limits import (
    MAX_PARAM,
    MAX_TAG,
    DataRecord,
    batches,
    dataset_inputs,
    fit,
)
from fedpipe.tracking.store import Store, run_url
from fedpipe.tracking.tags import DVC_DATA_MD5, RUN_KEY, STATUS_REASON

__all__ = ["DataRecord", "TrackedRun"]


class TrackedRun:
    """A run in the store. Every method raises TrackingError if the store does not take its values;
    the rounds are written by `journaled.JournaledRun`.
    """

    def __init__(self, store: Store, run_id: str, tags: Iterable[str] = ()) -> None:
        """Use `start` or `attach`; `tags` are the names of those that it has already."""
        self._store = store
        self.run_id = run_id
        self._tags = set(tags)

    @classmethod
    def start(
        cls,
        store: Store,
        *,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        data: DataRecord,
        key: str | None = None,
        begun: bool = False,
    ) -> "TrackedRun":
        """Create the run called `name` with its params, tags and data set.

        Args:
            store: an open store.
            name: the run's name; need not be unique.
            params: the settings by dotted key. A value above MLflow's 6,000 characters is cut and
                ends in its SHA-256; the whole is in the artifact `long_params.json`.
            tags: more tags.
            data: the data set, written as inputs of the run.
            key: hexadecimal, unique to this run; kept as a tag.
            begun: an earlier try may have died before it knew the run's id: take the run with the
                key, if there is one.
        """
        with store.guard(f"create the run '{name}'"):
            run_id = run_with_key(store, name, key, reuse=begun)
        run = cls(store, run_id)
        if begun:
            run = cls.attach(store, run_id)  # it may have tags
        try:
            run._log_lineage(params, tags, data)
        except BaseException as err:
            run.fail(f"{type(err).__name__}: {err}")
            raise
        return run

    @classmethod
    def attach(cls, store: Store, run_id: str) -> "TrackedRun":
        """Return the run `run_id`, that another process may have started, to add files, tags and
        final metrics to it.
        """
        with store.guard(f"find the run {run_id}"):
            tags = store.client.get_run(run_id).data.tags
        return cls(store, run_id, tags)

    @property
    def store(self) -> Store:
        """Return the store that the run is in."""
        return self._store

    @property
    def url(self) -> str:
        """Return the run's address in the MLflow UI: on its server, or where `fedpipe ui` will show
        a local store.
        """
        return run_url(self._store, self._store.experiment_id, self.run_id)

    def log_final_metrics(
        self, metrics: Mapping[str, float], which: str = "final", model_id: str | None = None
    ) -> None:
        """Write the result of the run under `final/KEY`, apart from the keys of rounds.

        Values that the run has already are skipped: an earlier try may have written them.

        Args:
            metrics: the result, by `split/metric`.
            which: `final`, or `best`: the result of the round that validation chose.
            model_id: the logged model that the result is of, too.
        """
        from mlflow.entities import Metric

        with self._store.guard(f"read metrics of run {self.run_id}"):
            recorded = self._store.client.get_run(self.run_id).data.metrics
        now = int(time.time() * 1000)
        new = []
        for name, value in metrics.items():
            key = f"{which}/{name}"
            # MLflow gives back another NaN and its largest number for an infinity.
            if key not in recorded or (isfinite(value) and value != recorded[key]):
                new.append(Metric(key, float(value), now, 0, model_id=model_id))
        with self._store.guard(f"write final metrics to run {self.run_id}"):
            for batch in batches(new):
                self._store.client.log_batch(self.run_id, metrics=batch)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a value above MLflow's 8,000 characters is cut and ends in its SHA-256."""
        from mlflow.entities import RunTag

        with self._store.guard(f"write tags of run {self.run_id}"):
            for batch in batches(
                RunTag(key, fit(hide(str(value)), MAX_TAG)) for key, value in tags.items()
            ):
                self._store.client.log_batch(self.run_id, tags=batch)
        self._tags |= tags.keys()

    def remove_tag(self, key: str) -> None:
        """Remove a tag, if the run had it when it was attached, or was given it here."""
        if key not in self._tags:
            return
        with self._store.guard(f"remove the tag {key} of run {self.run_id}"):
            self._store.client.delete_tag(self.run_id, key)
        self._tags.discard(key)

    def log_file(self, path: Path, artifact_path: str | None = None) -> None:
        """Copy the file at `path` to the run's artifacts, into the folder `artifact_path`."""
        self._store.require_artifacts()
        with self._store.guard(f"write '{path.name}' to run {self.run_id}"):
            self._store.client.log_artifact(self.run_id, str(path), artifact_path)

    def finish(self) -> None:
        """Mark the run as finished, and remove the reason for which an earlier try of it failed."""
        self.remove_tag(STATUS_REASON)
        self._terminate(MlflowStatus.FINISHED)

    def fail(self, reason: str, killed: bool = False) -> None:
        """Mark the run as failed, or as killed (by a signal), with the tag `fedpipe.status_reason`.

        Raises:
            TrackingError: the store does not take it; the message ends in `reason`, which would
                otherwise be lost.
        """
        reason = " ".join(reason.split())
        try:
            try:
                self.set_tags({STATUS_REASON: reason})
            finally:
                self._terminate(MlflowStatus.KILLED if killed else MlflowStatus.FAILED)
        except TrackingError as err:
            raise TrackingError(f"{err} The run itself failed with: {reason}") from err

    def _log_lineage(
        self, params: Mapping[str, Any], tags: Mapping[str, str], data: DataRecord
    ) -> None:
        from mlflow.entities import Param

        texts = {key: hide(str(value)) for key, value in params.items()}
        with self._store.guard(f"write params of run {self.run_id}"):
            for batch in batches(Param(key, fit(text, MAX_PARAM)) for key, text in texts.items()):
                self._store.client.log_batch(self.run_id, params=batch)
        long = {key: text for key, text in texts.items() if len(text) > MAX_PARAM}
        if long:
            with self._store.guard(f"write 'long_params.json' to run {self.run_id}"):
                text = json.dumps(long, indent=1) + "\n"
                self._store.client.log_text(self.run_id, text, "long_params.json")
        self.set_tags({DVC_DATA_MD5: data.md5, **tags})
        with self._store.guard(f"write the data set of run {self.run_id}"):
            self._store.client.log_inputs(self.run_id, datasets=dataset_inputs(data))

    def _terminate(self, status: str) -> None:
        with self._store.guard(f"end run {self.run_id}"):
            self._store.client.set_terminated(self.run_id, status)


def run_with_key(
    store: Store, name: str, key: str | None, *, reuse: bool, tags: Mapping[str, str] | None = None
) -> str:
    """Return the id of a new run called `name`.

    Args:
        store: an open store.
        name: of the run.
        key: hexadecimal, unique to this run; kept as a tag.
        reuse: return the run that has the key already, if there is one.
        tags: of a new run.
    """
    if key and reuse:
        runs = store.client.search_runs([store.experiment_id], f"tags.`{RUN_KEY}` = '{key}'")
        if runs:
            return str(runs[0].info.run_id)
    all_tags = {"mlflow.source.name": "fedpipe", **(tags or {})}
    if key:
        all_tags[RUN_KEY] = key
    run = store.client.create_run(store.experiment_id, run_name=name, tags=all_tags)
    return str(run.info.run_id)
