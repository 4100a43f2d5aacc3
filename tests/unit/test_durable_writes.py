"""A file is synced before it gets its name, and where it must outlive a power cut its folder is synced after."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedpipe.config import Config
from fedpipe.data.download import publish
from fedpipe.data.replace_folder import replaced_folder
from fedpipe.engine.checkpoint import Checkpoints
from fedpipe.inference.export import export
from fedpipe.models import exports
from fedpipe.models.saved import SavedClassifier
from fedpipe.models.weights_io import save_weights
from fedpipe.pipeline.privacy import noise_key_of
from fedpipe.project.paths import Project
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tracking.participation import ClientRound, write_clients
from fedpipe.types import RoundReport

Event = tuple[str, int, int | None]


def identity(path: Path) -> tuple[int, int | None]:
    """Return the inode of a file or folder and, of a file, its size in bytes."""
    status = path.stat()
    return status.st_ino, status.st_size if path.is_file() else None


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Every `fsync` and every rename of this process, in order: its kind, the inode and, of a file, its size at that moment."""
    noted: list[Event] = []

    def noting_sync(sync: Callable[[int], None]) -> Callable[[int], None]:
        def noted_sync(descriptor: int) -> None:
            noted.append(("fsync", *identity(Path(f"/proc/self/fd/{descriptor}"))))
            sync(descriptor)

        return noted_sync

    def noting_rename(
        rename: Callable[[str | Path, str | Path], None],
    ) -> Callable[[str | Path, str | Path], None]:
        def noted_rename(source: str | Path, target: str | Path) -> None:
            noted.append(("rename", *identity(Path(source))))
            rename(source, target)

        return noted_rename

    monkeypatch.setattr(os, "fsync", noting_sync(os.fsync))
    monkeypatch.setattr(os, "replace", noting_rename(os.replace))
    monkeypatch.setattr(os, "rename", noting_rename(os.rename))
    return noted


def write_text(folder: Path) -> Path:
    write_atomic(folder / "state.json", "{}\n")
    return folder / "state.json"


def write_weights(folder: Path) -> Path:
    save_weights(folder / "weights.safetensors", {"kernel": np.zeros(3, np.float32)})
    return folder / "weights.safetensors"


def write_checkpoint(folder: Path) -> Path:
    report = RoundReport(0, (), (), {}, examples=0, seconds=0.0, weights={})
    Checkpoints(folder, {}, every=1, keep=1).save(
        {"kernel": np.zeros(3, np.float32)}, report, last=True
    )
    return next(folder.glob("round_*.safetensors"))


def write_noise_key(folder: Path) -> Path:
    privacy = {"mechanism": "gaussian", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}
    noise_key_of(
        Config.model_validate({"cohort": {"strategy": "poisson"}, "privacy": privacy}), folder
    )
    return next(folder.iterdir())


def write_participation(folder: Path) -> Path:
    write_clients(folder / "clients.parquet", [ClientRound(1, "c1", "reported", 20)])
    return folder / "clients.parquet"


@pytest.mark.parametrize("write", [write_text, write_weights, write_participation])
def test_a_file_is_synced_whole_before_it_is_renamed(
    write: Callable[[Path], Path], tmp_path: Path, events: list[Event]
) -> None:
    written = identity(write(tmp_path))
    assert events == [("fsync", *written), ("rename", *written)]


@pytest.mark.parametrize("write", [write_checkpoint, write_noise_key])
def test_what_a_resumed_run_needs_is_synced_with_its_name(
    write: Callable[[Path], Path], tmp_path: Path, events: list[Event]
) -> None:
    written = identity(write(tmp_path))
    assert events == [("fsync", *written), ("rename", *written), ("fsync", *identity(tmp_path))]


def test_a_download_and_its_checksum_are_synced_with_their_names(
    tmp_path: Path, events: list[Event]
) -> None:
    part, target = tmp_path / "digits.part", tmp_path / "digits"
    part.write_bytes(b"digits")
    publish(part, target, hashlib.sha256(b"digits").hexdigest())
    note = identity(tmp_path / "digits.sha256")
    downloaded = identity(target)
    assert events == [
        ("fsync", *downloaded),
        ("rename", *downloaded),
        ("fsync", *note),
        ("fsync", *identity(tmp_path)),
    ]


@pytest.mark.parametrize("exists", [False, True])
def test_the_files_of_a_folder_are_synced_before_it_takes_its_place(
    exists: bool, tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "shards"
    if exists:
        out.mkdir()
        # The kernel's exchange of two names is no `os.rename`; without it the folder is renamed as any other is.
        monkeypatch.setattr("fedpipe.data.replace_folder._exchange", lambda *_: False)
    with replaced_folder(out) as new:
        (new / "a").write_text("a")
        (new / "b").write_text("b")
    folder = identity(out)
    files = [("fsync", *identity(out / name)) for name in ("a", "b")]
    moves = [event for event in events if event[0] == "rename" and event[1] == folder[0]]
    assert moves == [("rename", *folder)]
    at = events.index(moves[0])
    assert events[:3] == [*files, ("fsync", *folder)]
    assert at >= 3
    assert events[at + 1 :] == [("fsync", *identity(tmp_path))]


@pytest.mark.parametrize("form", ["savedmodel", "tflite"])
def test_an_exported_model_is_synced_whole_before_it_is_renamed(
    form: str, tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_model: object, path: Path, _kind: str) -> None:
        if form == "tflite":
            path.write_text("graph")
            return
        (path / "variables").mkdir(parents=True)
        (path / "graph").write_text("graph")
        (path / "variables" / "all").write_text("numbers")

    version = SimpleNamespace(
        saved_model=None,
        label="digits/1",
        version=None,
        facts=SimpleNamespace(tokens=None, steps=None, kind="classification"),
    )
    monkeypatch.setattr("fedpipe.tracking.store.read_store", lambda _: None)
    monkeypatch.setattr("fedpipe.tracking.fetch.fetch_model", lambda *_: version)
    monkeypatch.setattr(SavedClassifier, "load", lambda *_: None)
    monkeypatch.setattr(exports, "examples_for", lambda *_: np.zeros(3))
    monkeypatch.setattr(exports, "largest_difference", lambda *_: 0.0)
    monkeypatch.setattr(exports, f"write_{form}", write)
    monkeypatch.setattr(exports, f"read_{form}", lambda _: None)

    out = tmp_path / "model"
    exported = export(Project(tmp_path), "digits/1", form, out)

    contents = [
        identity(out / name) for name in ("graph", "variables", "variables/all") if out.is_dir()
    ]
    assert exported.size_bytes == (12 if out.is_dir() else 5)
    assert events == [
        *(("fsync", *content) for content in contents),
        ("fsync", *identity(out)),
        ("rename", *identity(out)),
        ("fsync", *identity(tmp_path)),
    ]
