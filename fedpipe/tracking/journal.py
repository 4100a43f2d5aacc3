"""Journal of a run: records for MLflow, written to disk first and then sent in order by a thread.

A record is a line of JSON in `journal.jsonl`, synced before the round continues; `journal.sent` has
the number of lines that the store has confirmed. Training continues while the store cannot be
reached; `fedpipe sync` sends what is left at the end. A line that was sent but not counted, because
the process died in between, is sent again: metrics keep their timestamp, so that MLflow stores the
same row, and tags and files are replaced.

No record blocks those after it for good. A file that cannot be uploaded is postponed: the records
after it are sent, then it is tried again. Values that the store will never accept, such as a metric
with a forbidden name, are noted in `journal.refused.jsonl`; the others of their record are sent.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fedpipe.errors import TrackingError
from fedpipe.redact import hide
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.json_lines import append_line, json_line, whole_lines
from fedpipe.tracking.mlflow_limits import MAX_TAG, fit
from fedpipe.tracking.send_record import send_accepted
from fedpipe.tracking.store import Store

JOURNAL_NAME = "journal.jsonl"
SENT_NAME = "journal.sent"
REFUSED_NAME = "journal.refused.jsonl"
logger = logging.getLogger("fedpipe.tracking")
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0


class Journal:
    """The journal of one run, written by one thread and sent by another."""

    def __init__(self, store: Store, run_id: str, folder: Path) -> None:
        """Open or create the journal in the run's folder, and start sending."""
        self._store = store
        self._run_id = run_id
        self.path = folder / JOURNAL_NAME
        self._sent_path = folder / SENT_NAME
        folder.mkdir(parents=True, exist_ok=True)
        self._records = read_records(self.path)
        self._sent = _read_sent(self._sent_path)
        self._next = self._sent
        self._postponed = list[int]()
        # Unbuffered: bytes that the disk refuses are not written again when the file is closed.
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
        """Wait until everything is sent.

        Raises:
            TrackingError: nothing was sent for so many seconds.
        """
        with self._changed:
            count = self._unsent
            since = time.monotonic()
            while self._unsent:
                if self._unsent != count:
                    count = self._unsent
                    since = time.monotonic()
                seconds_left = since + seconds - time.monotonic()
                if seconds_left <= 0:
                    raise TrackingError(
                        f"{self._store.label}: {count} records of run {self._run_id} are not "
                        f"sent: {self._error or f'no answer for {seconds:g} s.'} They are kept in "
                        f"{self.path}. When the store is back: `fedpipe sync`, then `fedpipe "
                        "resume`."
                    ) from self._error
                self._changed.wait(seconds_left)

    @property
    def _unsent(self) -> int:
        """Return how many records are not sent: new ones, and postponed ones."""
        return len(self._records) - self._next + len(self._postponed)

    def close(self) -> None:
        """Stop sending; records that are not sent stay in the journal."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._file.close()

    def _add(self, record: dict[str, Any]) -> None:
        """Write a record and wake the sender; after an interruption, such as Ctrl-C, the record is
        in neither the file nor the list.
        """
        end = self._file.tell()
        try:
            unwritten = memoryview(json_line(record))
            while unwritten:
                unwritten = unwritten[self._file.write(unwritten) :]
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

    def _is_woken(self, count: int) -> bool:
        """Return whether the journal is closed, or has more records than `count`."""
        return self._closed or len(self._records) > count

    def _send_all(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while True:
            with self._changed:
                while not self._closed and not self._unsent:
                    self._changed.wait()
                if self._closed:
                    return
                is_new = self._next < len(self._records)
                index = self._next if is_new else self._postponed[0]
                record = self._records[index]
            try:
                for note in send_accepted(self._store, self._run_id, record):
                    append_line(self.path.with_name(REFUSED_NAME), note)
            except Exception as err:  # the record is kept, and `flush` raises the error
                with self._changed:
                    self._error = err
                    if is_new and record["kind"] == "file":
                        self._postponed.append(index)
                        self._next += 1
                        continue
                    if not is_new:
                        self._postponed.append(self._postponed.pop(0))
                    # A new record ends the wait of a postponed one.
                    last = sys.maxsize if is_new else len(self._records)
                    self._changed.wait_for(partial(self._is_woken, last), wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
                continue
            wait = _FIRST_WAIT_SECONDS
            with self._changed:
                if is_new:
                    self._next += 1
                else:
                    self._postponed.remove(index)
                self._sent = min([self._next, *self._postponed])
                if not self._postponed:
                    self._error = None
                try:
                    # A note that is behind has records sent again, which changes nothing.
                    write_atomic(self._sent_path, str(self._sent), sync_file=False)
                except OSError as err:
                    self._error = err
                self._changed.notify_all()


def send_journal(store: Store, run_id: str, folder: Path, seconds: float) -> None:
    """Send the rest of the journal of a run that no process holds.

    Raises:
        TrackingError: nothing was sent for so many seconds.
    """
    journal = Journal(store, run_id, folder)
    try:
        journal.flush(seconds)
    finally:
        journal.close()


def read_refused(folder: Path) -> list[str]:
    """Return the refused values of the run in `folder`, each as `metric NAME of round N: why`."""
    notes = read_records(folder / REFUSED_NAME)
    return list(dict.fromkeys(f"{note['what']}: {note['why']}" for note in notes))


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a journal, none if it does not exist.

    Raises:
        TrackingError: a line is not JSON.
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
