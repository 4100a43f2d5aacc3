"""`requirements.txt`, for people without uv, is what the lock says."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    shutil.which("uv") is None,
    reason="the export is uv's; without uv there is no lock to compare with",
)
def test_export_matches_the_lock() -> None:
    command = [
        "uv",
        "export",
        "--locked",
        "--no-hashes",
        "--no-dev",
        "--no-emit-project",
        "--no-header",
        "--offline",
    ]
    exported = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert (ROOT / "requirements.txt").read_text() == exported, (
        f"run: {' '.join(command[:-1])} -o requirements.txt"
    )
