"""Small file systems that a test fills or that cannot be written."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Disk:
    """A file system of its own, mounted at `path`."""

    def __init__(self, path: Path, options: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no right to mount a file system here: {done.stderr.strip()}")

    def fill(self) -> None:
        """Leave no byte."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            for size in (1 << 16, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.path / "filler").unlink()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Disk]]:
    """Return a function that mounts a tmpfs with options such as `size=64k` or `ro`; skips the test where that is not allowed."""
    mounted: list[Disk] = []

    def make(options: str, name: str = "disk") -> Disk:
        mounted.append(Disk(tmp_path / name, options))
        return mounted[-1]

    yield make
    for disk in mounted:
        subprocess.run(["umount", "--lazy", str(disk.path)], check=True)
