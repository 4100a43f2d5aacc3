"""Which weights of a run can be read, and what is said of the others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.errors import ModelError
from fedpipe.models.weights_io import save_weights
from fedpipe.runs.kept_weights import KeptWeights


class Files:
    """The files of a run, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, artifact: str) -> Path | None:
        path = self.folder / artifact
        return path if path.exists() else None


@pytest.fixture
def kept(tmp_path: Path) -> KeptWeights:
    folder = tmp_path / "weights"
    folder.mkdir()
    rounds = {
        "round_0000.safetensors": 0,
        "round_0005.safetensors": 5,
        "best.safetensors": 7,
        "last.safetensors": 8,
    }
    for name, number in rounds.items():
        save_weights(folder / name, {"w": np.full(2, number, np.float32)})
    entries = {name: {"round": number} for name, number in rounds.items()}
    (folder / "index.json").write_text(json.dumps({"files": entries}))
    files: Any = Files(tmp_path)
    return KeptWeights("run a", files)


@pytest.mark.parametrize(
    ("which", "number"),
    [("initial", 0), ("best", 7), ("final", 8), (0, 0), (5, 5), (7, 7), (8, 8)],
)
def test_names_and_numbers(kept: KeptWeights, which: str | int, number: int) -> None:
    assert kept.round_of(which) == number
    assert kept.load(which)["w"].tolist() == [number, number]
    assert kept.rounds == [0, 5, 7, 8]


@pytest.mark.parametrize("which", [1, -1, "last", "5", True])
def test_others_are_refused_with_those_that_are_kept(kept: KeptWeights, which: str | int) -> None:
    with pytest.raises(ModelError, match=r"which are 0, 5, 7, 8\. `tracking\.save_every=N`"):
        kept.load(which)


def test_a_run_without_weights(tmp_path: Path) -> None:
    files: Any = Files(tmp_path)
    with pytest.raises(ModelError, match="run a: expected its weights"):
        KeptWeights("run a", files)
