"""No space left, on real small file systems: one clear error, what was there stays as it was, and it goes on when there is room."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.engine.checkpoint import Checkpoints
from fedpipe.errors import CheckpointError, DataError, TrackingError
from fedpipe.tracking.journal import Journal, read_records
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store
from fedpipe.types import RoundReport

STATE = {"weights": np.ones(1000, np.float32)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "filler"}


def report(round_num: int) -> RoundReport:
    return RoundReport(round_num, ("a",), (), {"test/accuracy": 0.5}, 10, 0.1, {})


def test_a_checkpoint(mount: Any) -> None:
    disk = mount("size=256k")
    checkpoints = Checkpoints(disk.path / "run", {"plan": "p"}, every=1, keep=3)
    checkpoints.save(STATE, report(1), last=True)
    before = contents(disk.path / "run")
    disk.fill()
    checkpoints.save(STATE, report(2), last=False)
    with pytest.raises(
        CheckpointError,
        match=r"expected to write the checkpoint of round 2, found .*No space left.*Make room, then",
    ):
        checkpoints.flush()
    assert contents(disk.path / "run") == before
    disk.make_room()
    again = Checkpoints(disk.path / "run", {"plan": "p"}, every=1, keep=3)
    found = again.latest()
    assert found is not None
    assert found.round_num == 1
    again.save(STATE, report(2), last=True)
    assert len(contents(disk.path / "run")) == 2


def test_the_journal(mount: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    disk = mount("size=64k")
    store = open_store(tmp_path, "full")
    run_id = TrackedRun.start(
        store, name="r", params={}, tags={}, data=DataRecord("d", "p", "m", "s")
    ).run_id
    journal = Journal(store, run_id, disk.path)
    journal.metrics({"a": 1.0}, 0)
    disk.fill()
    step, said = 1, ""
    while not said and step < 1000:  # the file's last page has room for some
        try:
            journal.metrics({"a": 1.0}, step)
        except TrackingError as err:
            said = str(err)
        step += 1
    assert (
        "journal.jsonl: expected to write a record, found No space left on device. Make room"
        in said
    )
    written = len(read_records(journal.path))
    assert journal.path.read_bytes().endswith(b"\n")
    disk.make_room()
    journal.metrics({"a": 2.0}, written)
    journal.flush(30)
    journal.close()
    assert [record["step"] for record in read_records(journal.path)] == list(range(written + 1))
    assert len(store.client.get_metric_history(run_id, "a")) == written + 1


def test_an_artifact(mount: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    disk = mount("size=128k", "mlartifacts")  # where a project has them
    store = open_store(tmp_path, "full")
    run_id = TrackedRun.start(
        store, name="r", params={}, tags={}, data=DataRecord("d", "p", "m", "s")
    ).run_id
    disk.fill()
    (tmp_path / "weights.bin").write_bytes(bytes(100_000))
    journal = Journal(store, run_id, tmp_path / "run")
    journal.metrics({"a": 1.0}, 0)
    journal.file(tmp_path / "weights.bin", "weights")
    journal.metrics({"a": 1.0}, 1)
    with pytest.raises(
        TrackingError,
        match=r"1 records of run .* are not sent: .*No space left.*kept in .*journal\.jsonl.*`fedpipe sync`",
    ):
        journal.flush(1)
    disk.make_room()
    journal.flush(30)
    journal.close()
    (sent,) = store.client.list_artifacts(run_id, "weights")
    assert sent.file_size == 100_000
    assert len(store.client.get_metric_history(run_id, "a")) == 2


def test_shards(mount: Any) -> None:
    disk = mount("size=16m")  # what is being read is laid down there as well, 4 MB
    out = _shards(disk.path / "shards", clients=5)
    before = contents(out)
    disk.fill()
    with pytest.raises(DataError, match=r"expected to write shards there, found .*No space left"):
        _shards(out, clients=6)
    assert contents(out) == before
    assert {path.name for path in disk.path.iterdir()} == {"shards", "filler"}
    disk.make_room()
    assert len(Population.open(_shards(out, clients=6)).participating()) == 6


def _shards(out: Path, clients: int = 5) -> Path:
    prepare_shards(DataConfig(clients=clients), out, out.parent)
    return out


def test_the_command_line_says_what_is_full(mount: Any, project: Path) -> None:
    disk = mount("size=64k", "project/.fedpipe")
    disk.fill()
    done = subprocess.run(
        [sys.executable, "-m", "fedpipe", "run"],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"fedpipe: {disk.path}/runs/")
    assert last.endswith(
        ": No space left on device. Free some disk space, then run `fedpipe resume`."
    )
    assert "Traceback" not in done.stderr
