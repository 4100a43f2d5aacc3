"""What a run has to say to MLflow, on disk first and then sent: in order, each record once,
whatever happens to the store.

A record is a line of JSON in `journal.jsonl`, on the disk before the round goes on; a thread sends
the lines and notes in `journal.sent` how many the store has confirmed. A store that is away for a
minute holds up nobody; one that is away at the end leaves a journal that `fedpipe sync` sends. A
line that was sent but not noted, because the process died in between, is sent again: metrics keep
their timestamp, which makes the second sending the same row of MLflow's database, and tags and
files replace themselves.

Nothing stops what is behind it for good. A file that cannot be uploaded is put off: the records
behind it are sent, then it is tried again. Of a record that the store refuses whatever is done,
such as a metric with a name that it does not take, the values that it does take are sent; the
others are named in `journal.refused.jsonl`.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedpipe.errors import TrackingError
from fedpipe.redact import hide
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.json_lines import json_line, whole_lines
from fedpipe.tracking.records import MAX_TAG, batches, fit
from fedpipe.tracking.store import Store

JOURNAL_NAME = "journal.jsonl"
SENT_NAME = "journal.sent"
REFUSED_NAME = "journal.refused.jsonl"
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
"""MLflow's error codes of what is refused again however often it is sent."""
logger = logging.getLogger("fedpipe.tracking")
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0


class Journal:
    """The journal of one run. `add` may be called by one thread; the sender is another."""

    def __init__(self, store: Store, run_id: str, folder: Path) -> None:
        """Open or make the journal in the run's folder; what is not sent yet is sent from now
        on.
        """
        self._store = store
        self._run_id = run_id
        self.path = folder / JOURNAL_NAME
        self._sent_path = folder / SENT_NAME
        folder.mkdir(parents=True, exist_ok=True)
        self._records = read_records(self.path)
        self._sent = _read_sent(self._sent_path)
        self._next = self._sent
        self._put_off = list[int]()
        # Unbuffered: what the disk refuses is gone, and is not written again behind everyone's back
        # when the file is closed.
        self._file = self.path.open("r+b" if self.path.exists() else "w+b", buffering=0)
        self._file.seek(sum(len(line) for line in map(json_line, self._records)))
        self._file.truncate()  # a line that a kill cut short
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._send_all, name="fedpipe-journal", daemon=True)
        self._thread.start()

    @property
    def last_step(self) -> int | None:
        """Return the last round whose metrics are in the journal, None if there is none."""
        steps = [
            int(record["step"])
            for record in self._records
            if record["kind"] == "metrics" and not record.get("final")
        ]
        return max(steps, default=None)

    def metrics(self, values: Mapping[str, float], step: int, final: bool = False) -> None:
        """Add a round's metrics; `final` marks those of the whole run, which have no round."""
        self._add(
            {
                "kind": "metrics",
                "step": step,
                "time": int(time.time() * 1000),
                "values": dict(values),
                "final": final,
            }
        )

    def tags(self, tags: Mapping[str, str]) -> None:
        """Add tags; a value above MLflow's 8,000 characters is cut and ends in its SHA-256."""
        self._add(
            {
                "kind": "tags",
                "tags": {key: fit(hide(str(value)), MAX_TAG) for key, value in tags.items()},
            }
        )

    def file(self, path: Path, artifact_path: str | None) -> None:
        """Add a file, which must stay where it is until it is sent."""
        self._add({"kind": "file", "path": str(path.resolve()), "to": artifact_path})

    def end(self, status: str) -> None:
        """Add the run's end: FINISHED, FAILED or KILLED."""
        self._add({"kind": "end", "status": status})

    def flush(self, seconds: float) -> None:
        """Return when all is sent.

        Raises:
            TrackingError: nothing more was sent for so many seconds, or the store refuses a record.
        """
        with self._changed:
            count = self._unsent
            since = time.monotonic()
            while self._unsent:
                if self._unsent != count:
                    count = self._unsent
                    since = time.monotonic()
                left = since + seconds - time.monotonic()
                if left <= 0:
                    raise TrackingError(
                        f"{self._store.label}: {count} records of run {self._run_id} are not "
                        f"sent: {self._error or f'no answer for {seconds:g} s.'} They are kept in "
                        f"{self.path}. When the store is back: `fedpipe sync`, then `fedpipe "
                        "resume`."
                    ) from self._error
                self._changed.wait(left)

    @property
    def _unsent(self) -> int:
        """Return how many records the store has not confirmed: those that were not tried yet, and
        those that were put off.
        """
        return len(self._records) - self._next + len(self._put_off)

    def close(self) -> None:
        """Stop sending. What is not sent stays in the journal."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._file.close()

    def _add(self, record: dict[str, Any]) -> None:
        """Write a record and have it sent; if that is interrupted, by Ctrl-C for one, it is in
        neither the file nor the list.
        """
        end = self._file.tell()
        try:
            left = memoryview(json_line(record))
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
            with self._changed:
                self._records.append(record)
                self._changed.notify_all()
        except BaseException as err:
            if not self._records or self._records[-1] is not record:
                with contextlib.suppress(OSError):  # the next to open the journal cuts it as well
                    self._file.seek(end)
                    self._file.truncate()
            if not isinstance(err, OSError):
                raise
            raise TrackingError(
                f"{self.path}: expected to write a record, found {err.strerror}. Make room, then "
                "`fedpipe resume`."
            ) from err

    def _send_all(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while True:
            with self._changed:
                while not self._closed and not self._unsent:
                    self._changed.wait()
                if self._closed:
                    return
                is_new = self._next < len(self._records)
                index = self._next if is_new else self._put_off[0]
                record = self._records[index]
            try:
                _send_or_refuse(
                    self._store, self._run_id, record, self.path.with_name(REFUSED_NAME)
                )
            except Exception as err:  # whatever it is, the record is kept, and `flush` raises it
                with self._changed:
                    self._error = err
                    if is_new and record["kind"] == "file":
                        self._put_off.append(index)
                        self._next += 1
                        continue
                    if not is_new:
                        self._put_off.append(self._put_off.pop(0))
                    # A record that was put off waits for its next try no longer than until there is
                    # a new one.
                    last = len(self._records) if not is_new else sys.maxsize
                    self._changed.wait_for(
                        lambda last=last: self._closed or len(self._records) > last,  # type: ignore[misc]
                        wait,
                    )
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
                continue
            wait = _FIRST_WAIT_SECONDS
            with self._changed:
                if is_new:
                    self._next += 1
                else:
                    self._put_off.remove(index)
                self._sent = min([self._next, *self._put_off])
                self._error = _noted(self._sent_path, self._sent) or (
                    self._error if self._put_off else None
                )
                self._changed.notify_all()


def send_journal(store: Store, run_id: str, folder: Path, seconds: float) -> None:
    """Send what is left in the journal of a run that no process holds.

    Raises:
        TrackingError: nothing more was sent for so many seconds.
    """
    journal = Journal(store, run_id, folder)
    try:
        journal.flush(seconds)
    finally:
        journal.close()


def read_refused(folder: Path) -> list[str]:
    """Return what the store refused of the run in `folder`, a line each: `metric NAME of round N:
    why`.
    """
    lines = read_records(folder / REFUSED_NAME)
    return list(dict.fromkeys(f"{line['what']}: {line['why']}" for line in lines))


def _send_or_refuse(store: Store, run_id: str, record: Mapping[str, Any], refused: Path) -> None:
    """Send a record; of one that the store refuses for good, send what it takes and note the rest
    in the file `refused`.

    Raises:
        TrackingError: the store does not take it now.
    """
    try:
        send(store, run_id, record)
        return
    except TrackingError as err:
        if (
            not _is_refused(err)
            or record["kind"] not in ("metrics", "tags")
            or not _is_active(store, run_id)
        ):
            raise
    name = "values" if record["kind"] == "metrics" else "tags"
    notes = []
    for key, value in record[name].items():
        try:
            send(store, run_id, {**record, name: {key: value}})
        except TrackingError as err:
            if not _is_refused(err):
                raise
            what = (
                f"metric {key!r} of round {record['step']}" if name == "values" else f"tag {key!r}"
            )
            notes.append({"what": what, "why": " ".join(str(err.__cause__).split())[:300]})
            logger.warning("run %s: the store refuses %s: %s", run_id, what, notes[-1]["why"])
    with refused.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(note) + "\n" for note in notes)


def _is_active(store: Store, run_id: str) -> bool:
    """Return whether the run is there and not deleted: of a deleted one the store refuses
    everything.
    """
    with store.guard(f"find the run {run_id}"):
        return str(store.client.get_run(run_id).info.lifecycle_stage) == "active"


def _is_refused(err: TrackingError) -> bool:
    """Return whether the store will refuse the same again."""
    return getattr(err.__cause__, "error_code", None) in _REFUSALS


def send(store: Store, run_id: str, record: Mapping[str, Any]) -> None:
    """Send one record. Raises TrackingError if the store does not take it."""
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
                for batch in batches(RunTag(key, value) for key, value in record["tags"].items()):
                    store.client.log_batch(run_id, tags=batch)
            case "file":
                store.client.log_artifact(run_id, record["path"], record["to"])
            case "end":
                store.client.set_terminated(run_id, record["status"])


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a journal; none if it is not there. Raises TrackingError if one of
    them is no record.
    """
    try:
        return whole_lines(path)
    except ValueError as err:
        raise TrackingError(
            f"{path}: expected lines of JSON, found something else: {err}. The journal is damaged."
        ) from err


def unsent(folder: Path) -> int:
    """Return how many records of the run in `folder` the store has not confirmed."""
    return len(read_records(folder / JOURNAL_NAME)) - _read_sent(folder / SENT_NAME)


def _read_sent(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return 0  # all are sent again, which changes nothing


def _noted(path: Path, sent: int) -> OSError | None:
    """Note how much is sent; return what kept that from the disk. A note that is behind has records
    sent again, which changes nothing.
    """
    try:
        write_atomic(path, str(sent), sync_file=False)
    except OSError as err:
        return err
    return None
