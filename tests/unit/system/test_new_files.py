"""Files that are written beside their place and renamed follow the umask, whoever writes them."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from fedpipe.models.weights_io import save_weights
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.new_files import new_file


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        descriptor, name = new_file(tmp_path, ".new-")
        os.close(descriptor)
        write_atomic(tmp_path / "text", "x")
        save_weights(tmp_path / "weights", {"a": np.zeros(2, np.float32)})
    finally:
        os.umask(before)
    assert Path(name).parent == tmp_path
    assert Path(name).name.startswith(".new-")
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        Path(name).name: mode,
        "text": mode,
        "weights": mode,
    }


def test_two_new_files_are_two(tmp_path: Path) -> None:
    names = set()
    for _ in range(50):
        descriptor, name = new_file(tmp_path, "x")
        os.close(descriptor)
        names.add(name)
    assert len(names) == len(list(tmp_path.iterdir())) == 50
