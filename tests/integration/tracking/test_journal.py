"""The journal and the run behind it, against real stores: SQLite, and a server that goes away and comes back."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedpipe.errors import TrackingError
from fedpipe.tracking.journal import Journal, read_records, read_refused, send_journal, unsent
from fedpipe.tracking.journaled_run import JournaledRun
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.send_record import send
from fedpipe.tracking.store import open_store

DATA = DataRecord("d", "p", "m", "s")


@pytest.fixture
def run_id(store: Any) -> str:
    return TrackedRun.start(store, name="journaled", params={}, tags={}, data=DATA).run_id


def history(store: Any, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in store.client.get_metric_history(run_id, key)]


def test_records_arrive_in_order_and_once(store: Any, run_id: str, tmp_path: Path) -> None:
    journal = Journal(store, run_id, tmp_path)
    for step in range(20):
        journal.metrics({"train/loss": float(step)}, step)
    (tmp_path / "note.txt").write_text("hello")
    journal.file(tmp_path / "note.txt", "notes")
    journal.tags({"who": "me"})
    journal.flush(30)
    journal.close()
    assert history(store, run_id, "train/loss") == [(step, float(step)) for step in range(20)]
    assert store.client.get_run(run_id).data.tags["who"] == "me"
    assert [file.path for file in store.client.list_artifacts(run_id, "notes")] == [
        "notes/note.txt"
    ]
    assert unsent(tmp_path) == 0


def test_what_was_sent_but_not_noted_is_the_same_when_sent_again(
    store: Any, run_id: str, tmp_path: Path
) -> None:
    journal = Journal(store, run_id, tmp_path)
    journal.metrics({"train/loss": 1.0, "odd": float("nan")}, 0)
    journal.metrics({"train/loss": 2.0}, 1)
    journal.flush(30)
    journal.close()
    (tmp_path / "journal.sent").write_text("0")
    again = Journal(store, run_id, tmp_path)
    again.flush(30)
    again.close()
    assert history(store, run_id, "train/loss") == [(0, 1.0), (1, 2.0)]


def test_what_the_store_confirmed_is_not_sent_again(
    store: Any, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(store, run_id, tmp_path)
    journal.metrics({"train/loss": 1.0}, 0)
    journal.flush(30)
    journal.close()
    sent: list[int] = []

    def noting_send(store: Any, run_id: str, record: Any) -> None:
        sent.append(record["step"])
        send(store, run_id, record)

    monkeypatch.setattr("fedpipe.tracking.send_record.send", noting_send)
    again = Journal(store, run_id, tmp_path)
    again.metrics({"train/loss": 2.0}, 1)
    again.flush(30)
    again.close()
    assert sent == [1]
    assert history(store, run_id, "train/loss") == [(0, 1.0), (1, 2.0)]


def test_a_record_is_on_the_disk_before_it_is_sent(
    store: Any, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    happened: list[tuple[str, int]] = []
    sync = os.fsync

    def noting_sync(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            happened.append(("synced", path.read_bytes().count(b"\n")))
        sync(descriptor)

    def noting_send(store: Any, run_id: str, record: Any) -> None:
        happened.append(("sent", record["step"]))
        send(store, run_id, record)

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr("fedpipe.tracking.send_record.send", noting_send)
    journal = Journal(store, run_id, tmp_path)
    for step in (1, 2):
        journal.metrics({"train/loss": 1.0}, step)
        journal.flush(30)
    journal.close()
    assert happened == [("synced", 1), ("sent", 1), ("synced", 2), ("sent", 2)]


def test_a_record_that_ctrl_c_interrupts_is_not_half_there(
    store: Any, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(store, run_id, tmp_path)
    journal.metrics({"train/loss": 0.0}, 0)

    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with (
        monkeypatch.context() as patch
    ):  # the moment between the disk and the list cannot be met from outside
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.metrics({"train/loss": 1.0}, 1)
    journal.end("KILLED")  # as the run says when it gives up
    journal.flush(30)
    journal.close()
    assert [record["kind"] for record in read_records(tmp_path / "journal.jsonl")] == [
        "metrics",
        "end",
    ]
    assert unsent(tmp_path) == 0
    again = Journal(store, run_id, tmp_path)
    assert again.last_step == 0
    again.metrics({"train/loss": 1.0}, 1)
    again.flush(30)
    again.close()
    assert history(store, run_id, "train/loss") == [(0, 0.0), (1, 1.0)]


def test_a_line_that_a_kill_cut_short_is_gone_and_the_rest_stays(
    store: Any, run_id: str, tmp_path: Path
) -> None:
    journal = Journal(store, run_id, tmp_path)
    journal.metrics({"a": 1.0}, 0)
    journal.flush(30)
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b'{"kind": "metr')
    again = Journal(store, run_id, tmp_path)
    assert again.last_step == 0
    again.metrics({"a": 2.0}, 1)
    again.flush(30)
    again.close()
    assert [record["step"] for record in read_records(journal.path)] == [0, 1]
    assert history(store, run_id, "a") == [(0, 1.0), (1, 2.0)]


@pytest.mark.parametrize("killed_after", [0, 2, 4])
def test_a_run_that_goes_on_is_that_of_one_without_interruption(
    store: Any, run_id: str, tmp_path: Path, report: Any, killed_after: int
) -> None:
    accuracies = [0.1, 0.5, 0.9, 0.3, 0.2, 0.4]
    first = JournaledRun(store, run_id, tmp_path, save_every=2)
    for number in range(killed_after + 1):
        first.round_done(report(number, accuracies[number]))
    first.close()  # as a kill: no end, and perhaps not all was sent
    second = JournaledRun(store, run_id, tmp_path, save_every=2)
    for number in range(killed_after, 6):  # the round of the checkpoint again, then the next ones
        second.round_done(report(number, accuracies[number]))
    second.training_done()
    second.flush(30)
    second.close()
    assert [step for step, _ in history(store, run_id, "test/accuracy")] == list(range(6))
    tags = store.client.get_run(run_id).data.tags
    assert (tags["weights.best_round"], tags["weights.last_round"]) == ("2", "5")
    index = json.loads((tmp_path / "weights" / "index.json").read_text())["files"]
    assert {name: entry["round"] for name, entry in index.items()} == {
        "round_0000.safetensors": 0,
        "round_0002.safetensors": 2,
        "round_0004.safetensors": 4,
        "best.safetensors": 2,
        "last.safetensors": 5,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
        )
    try:
        limit = time.monotonic() + 100
        while time.monotonic() < limit:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_rounds_go_on_while_the_server_is_away_and_all_arrives_once(
    tmp_path: Path, report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with server(tmp_path, port):
        store = open_store(tmp_path, "away")
        run_id = TrackedRun.start(store, name="r", params={}, tags={}, data=DATA).run_id
        run = JournaledRun(store, run_id, tmp_path / "run", save_every=1)
        run.round_done(report(0, 0.1))
        run.flush(60)
    for number in range(1, 6):
        run.round_done(report(number, 0.5))
    with pytest.raises(
        TrackingError,
        match=r"records of run .* are not sent: .*kept in .*journal\.jsonl.*fedpipe sync",
    ):
        run.flush(1)
    assert unsent(tmp_path / "run") > 0
    with server(tmp_path, port):
        run.flush(60)
        assert [step for step, _ in history(store, run_id, "test/accuracy")] == list(range(6))
    run.close()
    assert unsent(tmp_path / "run") == 0


def test_a_note_that_cannot_be_written_stops_nothing(
    store: Any, run_id: str, tmp_path: Path
) -> None:
    (tmp_path / "journal.sent").mkdir()  # in the way of the note, as a full disk would be
    journal = Journal(store, run_id, tmp_path)
    for step in range(3):
        journal.metrics({"a": float(step)}, step)
    journal.flush(30)
    journal.close()
    assert history(store, run_id, "a") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert unsent(tmp_path) == 3


def test_what_the_store_refuses_for_good_stops_nothing_behind_it(
    store: Any, run_id: str, tmp_path: Path
) -> None:
    """As runs of earlier versions left it: a metric whose name MLflow refuses lies in the journal."""
    records = [
        {"kind": "metrics", "step": 0, "time": 1, "values": {"a": 1.0}, "final": False},
        {
            "kind": "metrics",
            "step": 1,
            "time": 2,
            "values": {"a": 2.0, "norm (L2)": 3.0, "x" * 251: 4.0},
            "final": False,
        },
        {"kind": "tags", "tags": {"odd%": "no", "good": "yes"}},
        {
            "kind": "metrics",
            "step": 2,
            "time": 3,
            "values": {"a": float("inf"), "b": float("nan")},
            "final": False,
        },
    ]
    (tmp_path / "journal.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in records)
    )
    send_journal(store, run_id, tmp_path, 30)
    assert unsent(tmp_path) == 0
    assert [step for step, _ in history(store, run_id, "a")] == [0, 1, 2]
    assert store.client.get_run(run_id).data.tags["good"] == "yes"
    refused = read_refused(tmp_path)
    assert [line.partition(": ")[0][:30] for line in refused] == [
        "metric 'norm (L2)' of round 1",
        "metric 'xxxxxxxxxxxxxxxxxxxxxx",
        "tag 'odd%'",
    ]
    assert "Invalid value" in refused[0]


def test_of_a_deleted_run_nothing_counts_as_refused(
    store: Any, run_id: str, tmp_path: Path
) -> None:
    store.client.delete_run(run_id)
    journal = Journal(store, run_id, tmp_path)
    journal.metrics({"a": 1.0}, 0)
    with pytest.raises(TrackingError, match=r"1 records of run .* are not sent: .*active"):
        journal.flush(1)
    journal.close()
    assert read_refused(tmp_path) == []
    assert unsent(tmp_path) == 1


def test_a_file_that_cannot_be_sent_lets_others_pass_and_is_tried_again(
    store: Any, run_id: str, tmp_path: Path
) -> None:
    journal = Journal(store, run_id, tmp_path)
    journal.file(tmp_path / "late.txt", "notes")  # not there yet
    journal.metrics({"a": 1.0}, 0)
    journal.metrics(
        {f"many/{number}": 1.0 for number in range(1500)}, 1
    )  # more than one request takes
    with pytest.raises(TrackingError, match=r"1 records of run .* are not sent: .*late\.txt"):
        journal.flush(2)
    assert history(store, run_id, "a") == [(0, 1.0)]
    assert history(store, run_id, "many/1499") == [(1, 1.0)]
    assert (
        unsent(tmp_path) == 3
    )  # all behind it would be sent again after a crash, which changes nothing
    (tmp_path / "late.txt").write_text("here")
    journal.flush(30)
    journal.close()
    assert unsent(tmp_path) == 0
    assert [file.path for file in store.client.list_artifacts(run_id, "notes")] == [
        "notes/late.txt"
    ]
