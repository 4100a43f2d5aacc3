"""The machine fails: the clock jumps, the home directory is read-only, there is no network; a client's cached data are damaged."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lib.common import BenchmarkError
from tests.e2e.faults.clone import LIMIT_SECONDS, Clone, Outcome

DAY_SECONDS = 86_400
JUMPS = {4: DAY_SECONDS, 10: -3 * DAY_SECONDS, 16: 0}
"""Round -> seconds by which the wall clock is off from then on: a day ahead, two days back, right again."""
_LOOPBACK_ALONE = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""


class NotHere(Exception):
    """The fault cannot be made with the rights or the programs that are here."""


@contextmanager
def mounted(where: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs while the block runs. Raises NotHere where that is not allowed."""
    where.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotHere(f"no right to mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=False)


def clock_jumps(clone: Clone, folder: Path) -> Outcome:
    """The wall clock of the run and all it starts jumps forth and back; the TFF worker's is left alone."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotHere("no C compiler")
    folder.mkdir(parents=True, exist_ok=True)
    library, seconds = folder / "clock.so", folder / "seconds"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True
    )
    seconds.write_bytes(struct.pack("q", 0))
    holds = [f"done@{rounds}" for rounds in JUMPS]
    with clone.running(holds=holds, LD_PRELOAD=str(library), CLOCK_SECONDS=str(seconds)) as process:
        for point, moved in zip(holds, JUMPS.values(), strict=True):
            clone.hold(process, point)
            with seconds.open("r+b") as file:  # in place: the run has this file mapped
                file.write(struct.pack("q", moved))
            clone.release(point)
        code = process.wait(LIMIT_SECONDS)
    if code:
        return Outcome("clock jumps", False, note=f"the run ended with {code}: {clone.said[-800:]}")
    return clone.judge("clock jumps", clone.answered, "a day ahead, three days back, right again")


def read_only_home(clone: Clone, folder: Path) -> Outcome:
    """The home directory cannot be written."""
    with mounted(folder, "ro"):
        return _undisturbed(
            clone, "home read-only", (), HOME=str(folder), XDG_CACHE_HOME="", XDG_CONFIG_HOME=""
        )


def no_network(clone: Clone) -> Outcome:
    """There is no network but the machine's own loopback."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        raise NotHere("no right to make a network namespace")
    return _undisturbed(
        clone, "no network", ("unshare", "-n", sys.executable, "-c", _LOOPBACK_ALONE)
    )


def damaged_client_file(clone: Clone) -> Outcome:
    """All cached client files have a changed byte: they are known by their check and made again."""
    files = [
        path
        for path in clone.project.glob(".fedpipe/cache/clients/*/*")
        if path.is_file() and len(path.name) == 64
    ]
    if not files:
        raise BenchmarkError("expected cached client files below .fedpipe, found none")
    for path in files:
        body = bytearray(path.read_bytes())
        body[0] ^= 0xFF
        path.write_bytes(body)
        os.utime(path, (1, 1))  # older than the run, as what a power cut spoils is
    return _undisturbed(clone, "damaged client files", (), note=f"{len(files)} files")


def _undisturbed(
    clone: Clone, name: str, wrapper: tuple[str, ...], note: str = "", **environment: str
) -> Outcome:
    with clone.running(wrapper=wrapper, **environment) as process:
        code = process.wait(LIMIT_SECONDS)
    if code:
        return Outcome(name, False, note=f"the run ended with {code}: {clone.said[-800:]}")
    return clone.judge(name, clone.answered, note)
