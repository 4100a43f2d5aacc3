"""The README's picture is there, is small, and is the one binary file in git. `docs/pictures/compare_runs.py` makes it."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICTURE = "docs/pictures/compare_runs.png"


def test_the_picture_is_a_small_png() -> None:
    data = (ROOT / PICTURE).read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.rstrip().endswith(b"IEND\xaeB`\x82")
    assert len(data) < 300_000


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows which files are tracked")
def test_it_is_the_only_binary_file_in_git() -> None:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    # git's own rule: a file with a zero byte near its start is binary.
    assert [name for name in files if b"\0" in (ROOT / name).read_bytes()[:8000]] == [PICTURE]
