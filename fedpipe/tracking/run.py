"""One training as one MLflow run: its lineage before the first round, then one batch of metrics per
round.

What a run leaves, by name:
    params          every setting, by dotted key
    tags            what the caller gives, and `dvc.data_md5`, `weights.*`, `fedpipe.status_reason`
    inputs          the data set, digest = DVC's md5: `NAME` in training, `NAME-test` in testing
    metrics         `train/loss`, `test/accuracy`, `round/seconds`, ... with step = round;
    `final/...`, `best/...` once weights/        `round_0000.safetensors`, ..., `best.safetensors`,
    `last.safetensors`, and `index.json`
"""

import json
import time
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedpipe.errors import TrackingError
from fedpipe.models.weights_io import save_weights
from fedpipe.redact import hide
from fedpipe.tracking.records import MAX_PARAM, MAX_TAG, DataRecord, batches, dataset_inputs, fit
from fedpipe.tracking.snapshots import Snapshot, SnapshotPolicy, index_body, index_entry
from fedpipe.tracking.store import Store, run_url
from fedpipe.types import RoundReport

__all__ = ["DataRecord", "TrackedRun"]

_REASON = "fedpipe.status_reason"
_KEY = "fedpipe.run_key"


class TrackedRun:
    """A run in the store; a `RoundSink`. Every method raises TrackingError when the store does not
    take what it is given.
    """

    def __init__(self, store: Store, run_id: str, policy: SnapshotPolicy | None) -> None:
        """Use `start` or `attach`. Without a `policy` the run takes no rounds."""
        self._store = store
        self._policy = policy
        self.run_id = run_id
        self._index: dict[str, Mapping[str, Any]] = {}
        self._training_done = policy is None

    @classmethod
    def start(
        cls,
        store: Store,
        *,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        data: DataRecord,
        save_every: int,
        key: str | None = None,
        begun: bool = False,
    ) -> "TrackedRun":
        """Create the run called `name` with its params, tags and data set; return it, ready for
        round 0.

        Args:
            store: an open store.
            name: the run's name; need not be unique.
            params: the settings by dotted key. A value above MLflow's 6,000 characters is cut and
                ends in its SHA-256; the whole is in the artifact `long_params.json`.
            tags: more tags.
            data: the data set, written as inputs of the run.
            save_every: rounds between saved weights, at least 1.
            key: hexadecimal, this run's alone; kept as a tag.
            begun: an earlier try may have come this far and died before it knew the run's id: the
                run with the key is taken, if there is one.
        """
        own = {"mlflow.source.name": "fedpipe"} | ({_KEY: key} if key else {})
        with store.guard(f"create the run '{name}'"):
            found = (
                store.client.search_runs([store.experiment_id], f"tags.`{_KEY}` = '{key}'")
                if begun and key
                else []
            )
            run_id = (
                found[0].info.run_id
                if found
                else store.client.create_run(
                    store.experiment_id, run_name=name, tags=own
                ).info.run_id
            )
        run = cls(store, run_id, SnapshotPolicy(save_every))
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
            store.client.get_run(run_id)
        return cls(store, run_id, None)

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

    def round_done(self, report: RoundReport) -> None:
        """Write the round's metrics, one batch with step = round, and its weights where they are
        kept (see SnapshotPolicy).

        Raises:
            TrackingError: also if the rounds do not rise: a step is written once.
        """
        last = self._policy.last if self._policy else None
        if (
            self._policy is None
            or self._training_done
            or (last and report.round_num <= last.round_num)
        ):
            expected = (
                "no more rounds"
                if last is None or self._training_done
                else f"a round after {last.round_num}"
            )
            raise TrackingError(
                f"run {self.run_id}: expected {expected}, found round {report.round_num}. Start a "
                "new run."
            )
        self._log_metrics(report.all_metrics(), report.round_num)
        if self._policy.take(report):
            self._save(f"round_{report.round_num:04d}", self._policy.last)

    def training_done(self) -> None:
        """Write the best and the last weights. `finish` and `fail` do it too; a second call does
        nothing.
        """
        if self._policy is None or self._training_done:
            return
        self._save("best", self._policy.best)
        self._save("last", self._policy.last)
        tags = {}
        for name, snapshot in (("best", self._policy.best), ("last", self._policy.last)):
            if snapshot is not None:
                tags[f"weights.{name}_round"] = str(snapshot.round_num)
                tags[f"weights.{name}_sha256"] = self._index[f"{name}.safetensors"]["sha256"]
        self.set_tags(tags)
        self._training_done = True

    def log_final_metrics(
        self, metrics: Mapping[str, float], which: str = "final", model_id: str | None = None
    ) -> None:
        """Write the result of the run under `final/<key>`, apart from the rounds' keys: a step is
        written once.

        What the run has already is passed over: the process may have been killed after it and the
        run completed again. `which` is `final`, or `best`: the result of the round that the
        validation examples chose. They are those of the logged model `model_id` too, if it is
        given.
        """
        with self._store.guard(f"read metrics of run {self.run_id}"):
            there = self._store.client.get_run(self.run_id).data.metrics
        found = {f"{which}/{key}": value for key, value in metrics.items()}
        # MLflow gives back another NaN and its largest number for an infinity.
        new = {
            key: value
            for key, value in found.items()
            if key not in there or (isfinite(value) and value != there[key])
        }
        self._log_metrics(new, 0, model_id)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a value above MLflow's 8,000 characters is cut and ends in its SHA-256."""
        from mlflow.entities import RunTag

        with self._store.guard(f"write tags of run {self.run_id}"):
            for batch in batches(
                RunTag(key, fit(hide(str(value)), MAX_TAG)) for key, value in tags.items()
            ):
                self._store.client.log_batch(self.run_id, tags=batch)

    def remove_tag(self, key: str) -> None:
        """Remove a tag, if the run has it."""
        with self._store.guard(f"remove the tag {key} of run {self.run_id}"):
            if key in self._store.client.get_run(self.run_id).data.tags:
                self._store.client.delete_tag(self.run_id, key)

    def log_file(self, path: Path, artifact_path: str | None = None) -> None:
        """Copy the file at `path` to the run's artifacts, into the folder `artifact_path`."""
        self._store.require_artifacts()
        with self._store.guard(f"write '{path.name}' to run {self.run_id}"):
            self._store.client.log_artifact(self.run_id, str(path), artifact_path)

    def finish(self) -> None:
        """Write what is still to be written and mark the run as finished; why an earlier try of it
        ended is no longer its status.
        """
        self.training_done()
        self.remove_tag(_REASON)
        self._terminate("FINISHED")

    def fail(self, reason: str, killed: bool = False) -> None:
        """Mark the run as failed, or as killed (by a signal), with the tag `fedpipe.status_reason`;
        keep what weights there are.

        Raises:
            TrackingError: the store does not take it; the message ends in `reason`, which would
                otherwise be lost.
        """
        reason = " ".join(reason.split())
        try:
            try:
                self.training_done()
                self.set_tags({_REASON: reason})
            finally:
                self._terminate("KILLED" if killed else "FAILED")
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
            self._log_json(long, "long_params.json")
        self.set_tags({"dvc.data_md5": data.md5, **tags})
        with self._store.guard(f"write the data set of run {self.run_id}"):
            self._store.client.log_inputs(self.run_id, datasets=dataset_inputs(data))

    def _log_metrics(
        self, metrics: Mapping[str, float], step: int, model_id: str | None = None
    ) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._store.guard(f"write metrics of round {step} to run {self.run_id}"):
            for batch in batches(
                Metric(key, float(value), now, step, model_id=model_id)
                for key, value in metrics.items()
            ):
                self._store.client.log_batch(self.run_id, metrics=batch)

    def _save(self, name: str, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.safetensors"
            sha256 = save_weights(path, snapshot.weights)
            self._index[path.name] = index_entry(snapshot, sha256)
            self.log_file(path, "weights")
        self._log_json(
            index_body(self._index, self._policy.best if self._policy else None),
            "weights/index.json",
        )

    def _log_json(self, value: Any, name: str) -> None:
        with self._store.guard(f"write '{name}' to run {self.run_id}"):
            self._store.client.log_text(self.run_id, json.dumps(value, indent=1) + "\n", name)

    def _terminate(self, status: str) -> None:
        with self._store.guard(f"end run {self.run_id}"):
            self._store.client.set_terminated(self.run_id, status)
