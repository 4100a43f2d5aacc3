"""The machine fails: the disk is full, the home directory is read-only, there is no network; a client's cached data are damaged."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common import BenchmarkError
from benchmarks.faults_cases.clone import LIMIT_SECONDS, Clone, Outcome

SMALL_DISK_MB = 64
_LOOPBACK_ALONE = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""


class NotHere(Exception):
    """The fault cannot be made with the rights that this process has."""


@contextmanager
def mounted(where: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs while the block runs. Raises NotHere where that is not allowed."""
    where.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"no right to mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=False)


def disk_full(clone: Clone) -> Outcome:
    """The disk of the runs' files is full in the middle of a run; `fedpipe resume` when there is room."""
    name, runs = "disk full", clone.project / ".fedpipe" / "runs"
    with mounted(runs, f"size={SMALL_DISK_MB}m"):
        filler = runs / "filler"
        with clone.running() as process:
            clone.wait_for(process, 5)
            _fill(filler)
            code = process.wait(LIMIT_SECONDS)
            said = clone.said
        filler.unlink()
        if code != 2 or "Traceback" in said:
            where = max(said.find("Traceback") - 300, 0)
            return Outcome(name, False, note=f"expected exit code 2 and no traceback, found {code}: {said[where : where + 3000]}")
        return clone.judge(name, clone.resume(), said.strip().splitlines()[-1][-300:])


def read_only_home(clone: Clone, folder: Path) -> Outcome:
    """The home directory cannot be written."""
    with mounted(folder, "ro"):
        return _undisturbed(clone, "home read-only", (), HOME=str(folder), XDG_CACHE_HOME="", XDG_CONFIG_HOME="")


def no_network(clone: Clone) -> Outcome:
    """There is no network but the machine's own loopback."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        raise NotHere("no right to make a network namespace")
    return _undisturbed(clone, "no network", ("unshare", "-n", sys.executable, "-c", _LOOPBACK_ALONE))


def damaged_client_file(clone: Clone) -> Outcome:
    """All cached client files have a changed byte: they are known by their check and made again."""
    files = [path for path in clone.project.glob(".fedpipe/**/*") if path.is_file() and len(path.name) == 64]
    if not files:
        raise BenchmarkError("expected cached client files below .fedpipe, found none")
    for path in files:
        body = bytearray(path.read_bytes())
        body[0] ^= 0xFF
        path.write_bytes(body)
        os.utime(path, (1, 1))  # older than the run, as what a power cut spoils is
    return _undisturbed(clone, "damaged client files", (), note=f"{len(files)} files")


def _undisturbed(clone: Clone, name: str, wrapper: tuple[str, ...], note: str = "", **environment: str) -> Outcome:
    with clone.running(wrapper=wrapper, **environment) as process:
        code = process.wait(LIMIT_SECONDS)
    if code:
        return Outcome(name, False, note=f"the run ended with {code}: {clone.said[-800:]}")
    return clone.judge(name, clone.answered, note)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return  # full
