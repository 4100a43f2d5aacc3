"""Sends the rounds of a training to the store: a `RoundSink` that writes to the run's journal and
never waits for the store.

`run.TrackedRun` starts the run and completes it. The rounds go through the journal on disk, so that
training continues while the store cannot be reached, and a resumed run logs each round once.
"""

import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedpipe.engine.early_stopping import BestRound
from fedpipe.errors import ModelError, TrackingError
from fedpipe.models.weights_io import load_weights, save_weights
from fedpipe.status import MlflowStatus
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tasks.score import ACCURACY, Score
from fedpipe.tracking.journal import Journal, read_records
from fedpipe.tracking.send_record import send
from fedpipe.tracking.snapshots import Snapshot, SnapshotPolicy, index_body, index_entry
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import STATUS_REASON
from fedpipe.types import RoundReport

logger = logging.getLogger("fedpipe.tracking")


class JournaledRun:
    """The rounds of one run, sent through its journal."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        folder: Path,
        save_every: int,
        score: Score = ACCURACY,
    ) -> None:
        """Continue the run where its journal ends.

        Args:
            store: an open store.
            run_id: a run in it, with its lineage.
            folder: the run's folder; files that are logged stay there.
            save_every: rounds between saved weights, at least 1.
            score: the metric that chooses the best weights.
        """
        self._score = score
        self._store = store
        self.run_id = run_id
        self._weights = folder / "weights"
        self._weights.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(store, run_id, folder)
        self._index: dict[str, Any] = {}
        last = self._journal.last_step
        self._done = -1 if last is None else last
        if last is not None:
            store.client.update_run(run_id, status=MlflowStatus.RUNNING)
            self._index = _read_index(self._weights)
        best = None if last is None else _best_so_far(self._journal.path, self._weights, score)
        self._policy = SnapshotPolicy(save_every, best, score)

    @property
    def store(self) -> Store:
        """Return the store that the run is in."""
        return self._store

    def round_done(self, report: RoundReport) -> None:
        """Journal the round's metrics, and save its weights if the policy keeps them; a round that
        is journaled already is skipped.
        """
        best = self._policy.best
        keeps_weights = self._policy.take(report)
        if report.round_num <= self._done:
            if best is not None and best.round_num == report.round_num:
                self._policy.best = best
            return
        # The best weights first: if the process dies in between, the round is run again and they
        # are the same.
        if self._policy.best is not best and self._policy.best is not None:
            save_weights(self._weights / "best.safetensors", self._policy.best.weights)
        if keeps_weights:
            self._save(f"round_{report.round_num:04d}", self._policy.last)
        self._journal.metrics(report.all_metrics(), report.round_num)
        self._done = report.round_num

    def training_done(self) -> None:
        """Journal the best and the last weights, with their rounds and SHA-256 as tags."""
        tags = {}
        for name, snapshot in (("best", self._policy.best), ("last", self._policy.last)):
            if snapshot is not None:
                self._save(name, snapshot)
                tags[f"weights.{name}_round"] = str(snapshot.round_num)
                tags[f"weights.{name}_sha256"] = self._index[f"{name}.safetensors"]["sha256"]
        self.set_tags(tags)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Journal tags."""
        self._journal.tags(tags)

    def log_file(self, path: Path, artifact_path: str | None = None) -> None:
        """Journal a file, which must stay where it is."""
        self._journal.file(path, artifact_path)

    def flush(self, seconds: float) -> None:
        """Wait until everything is sent. Raises TrackingError if nothing is for so many seconds."""
        self._journal.flush(seconds)

    def fail(self, reason: str, killed: bool, seconds: float) -> None:
        """Journal that the run failed, or was killed, and wait up to `seconds` for the store; later
        `fedpipe sync` sends the rest.

        An error of the journal, such as a full disk, is only a warning: the reason of the failure
        is the error.
        """
        status = MlflowStatus.KILLED if killed else MlflowStatus.FAILED
        try:
            self._journal.tags({STATUS_REASON: " ".join(reason.split())})
            self._journal.end(status)
        except TrackingError as err:
            logger.warning("%s", err)
            with contextlib.suppress(TrackingError):  # it may be on the same disk
                send(self._store, self.run_id, {"kind": "end", "status": status})
            return
        try:
            self._journal.flush(seconds)
        except TrackingError as err:
            logger.warning("%s", err)

    def close(self) -> None:
        """Stop sending."""
        self._journal.close()

    def _save(self, name: str, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        path = self._weights / f"{name}.safetensors"
        self._index[path.name] = index_entry(snapshot, save_weights(path, snapshot.weights))
        body = index_body(self._index, self._policy.best, self._score)
        index = self._weights / "index.json"
        write_atomic(index, json.dumps(body, indent=1) + "\n")
        self._journal.file(path, "weights")
        self._journal.file(index, "weights")


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "index.json").read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError):
        return {}  # only people read it; later rounds add their files


def _best_so_far(journal: Path, folder: Path, score: Score) -> Snapshot | None:
    """Return the best round in a journal with its weights, as `SnapshotPolicy` chooses it."""
    best = BestRound(by=score)
    for record in read_records(journal):
        if record["kind"] == "metrics" and not record["final"]:
            best.add(record["step"], record["values"])
    if best.round_num is None:
        return None
    try:
        weights = load_weights(folder / "best.safetensors")
    except ModelError as err:
        logger.warning(
            "the weights of the best round so far, %d, are lost: %s", best.round_num, err
        )
        return None
    return Snapshot(best.round_num, best.score, weights, best.score_name or score.test)
