"""Hosts that are network namespaces of this machine, joined by a bridge: addresses of their own, links to cut, slow, listen to.

Needs root and iproute2. A lab's namespaces are named after this process and removed with it.
"""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.lib.common import BenchmarkError

RUNNER = "run"
_CLONE_NEWNET = 0x40000000
_ETH_P_ALL = 0x0003
_SLOW = (
    ("netem", "delay", "100ms", "rate", "4mbit"),
    ("tbf", "rate", "4mbit", "burst", "32kbit", "latency", "2s"),
)
"""What makes a link slow: the first that the kernel knows."""


class NotHere(Exception):
    """Namespaces cannot be made here; the text says why."""


class Lab:
    """Some hosts: `run`, `w1`, `w2`, ...; the n-th has the address 10.99.N.(n+1), N from this process's id."""

    def __init__(self, workers: int) -> None:
        """Take how many hosts there are beside the runner's. Nothing is made yet."""
        self.hosts = [RUNNER, *(f"w{number + 1}" for number in range(workers))]
        self._net = f"10.99.{os.getpid() % 250}"
        self._prefix = f"fp{os.getpid()}"
        self._exit = ExitStack()

    def address(self, host: str) -> str:
        """Return the host's address."""
        return f"{self._net}.{self.hosts.index(host) + 1}"

    def namespace(self, host: str) -> str:
        """Return the name of the host's namespace."""
        return f"{self._prefix}-{host}"

    def inside(self, host: str, *command: str) -> list[str]:
        """Return the command that runs `command` on a host."""
        return ["ip", "netns", "exec", self.namespace(host), *command]

    def __enter__(self) -> Self:
        """Make the hosts. Raises NotHere."""
        if shutil.which("ip") is None or os.geteuid() != 0:
            raise NotHere("iproute2 and the rights of root are needed")
        try:
            self._make_namespace("switch")
            self._ip("switch", "link", "add", "bridge", "type", "bridge")
            self._ip("switch", "link", "set", "bridge", "up")
            for host in self.hosts:
                self._make_namespace(host)
                self._ip(
                    "switch",
                    "link",
                    "add",
                    host,
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "eth0",
                    "netns",
                    self.namespace(host),
                )
                self._ip("switch", "link", "set", host, "master", "bridge", "up")
                self._ip(host, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
                self._ip(host, "link", "set", "eth0", "up")
                self._ip(host, "link", "set", "lo", "up")
        except BenchmarkError as err:
            self._exit.close()
            raise NotHere(str(err)) from err
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the hosts; whatever still runs there goes on without a network."""
        self._exit.close()

    def set_link(self, host: str, up: bool) -> None:
        """Plug a host's cable in or out, at the switch."""
        self._ip("switch", "link", "set", host, "up" if up else "down")

    def slow(self, host: str) -> str:
        """Make a host's link slow, and return by what."""
        for how in _SLOW:
            command = [
                "tc",
                "-n",
                self.namespace(host),
                "qdisc",
                "replace",
                "dev",
                "eth0",
                "root",
                *how,
            ]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return " ".join(how)
        raise NotHere("tc knows neither netem nor tbf")

    def normal(self, host: str) -> None:
        """Make a host's link as fast as it was."""
        subprocess.run(
            ["tc", "-n", self.namespace(host), "qdisc", "del", "dev", "eth0", "root"],
            capture_output=True,
            check=False,
        )

    def traffic_bytes(self, host: str) -> dict[str, int]:
        """Return the bytes that a host has sent and received so far, on its link, with all headers."""
        found = json.loads(self._ip(host, "-json", "-statistics", "link", "show", "dev", "eth0"))[
            0
        ]["stats64"]
        return {"sent": int(found["tx"]["bytes"]), "received": int(found["rx"]["bytes"])}

    @contextmanager
    def listening(self, host: str) -> Iterator[list[bytes]]:
        """Listen at the switch to all that a host's cable carries; the frames are in the list when the block has ended."""
        found: list[socket.socket] = []

        def open_there() -> (
            None
        ):  # a thread of its own, which moves to the switch's namespace and ends there
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.namespace('switch')}", "rb") as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    return
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            tap.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 1 << 27)
            tap.bind((host, 0))
            found.append(tap)

        opener = threading.Thread(target=open_there)
        opener.start()
        opener.join()
        if not found:
            raise NotHere("a raw socket in another namespace is not allowed")
        frames: list[bytes] = []
        ended = threading.Event()

        def read() -> None:
            found[0].settimeout(0.2)
            while True:
                try:
                    frames.append(found[0].recv(1 << 17))
                except TimeoutError:
                    if ended.is_set():
                        return

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield frames
        finally:
            ended.set()
            reader.join()
            found[0].close()

    def _make_namespace(self, host: str) -> None:
        _run("ip", "netns", "add", self.namespace(host))
        self._exit.callback(
            lambda: subprocess.run(
                ["ip", "netns", "del", self.namespace(host)], capture_output=True, check=False
            )
        )

    def _ip(self, host: str, *arguments: str) -> str:
        return _run("ip", "-n", self.namespace(host), *arguments)


def payload(frames: Sequence[bytes]) -> bytes:
    """Return what the TCP segments in Ethernet frames carry, one after the other as they came, a stream for each direction of a connection.

    A value that is cut in two by a frame's end is whole again here.
    """
    streams: dict[bytes, bytearray] = {}
    for frame in frames:
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:  # IPv4, TCP
            continue
        start = 14 + 4 * (frame[14] & 15)
        total = 14 + int.from_bytes(frame[16:18], "big")
        data = frame[
            start + 4 * (frame[start + 12] >> 4) : total if total > 14 else None
        ]  # 0: larger than it can say
        streams.setdefault(frame[26:34] + frame[start : start + 4], bytearray()).extend(data)
    return b"|".join(bytes(stream) for stream in streams.values())


class Process:
    """A program on a host that answers in lines of JSON, or says one line when it is ready; its errors go to a file."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path) -> None:
        """Start it in `folder`."""
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return its process id: `ip netns exec` has become the program."""
        return self._process.pid

    def line(self) -> str:
        """Return the next line that it says. Raises BenchmarkError if it ends."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe, for mypy
        said = self._process.stdout.readline().decode()
        if not said:
            raise BenchmarkError(
                f"it ended; the end of {self.log}: {self.log.read_text(errors='replace')[-2000:]}"
            )
        return said.strip()

    def ask(self, request: Any) -> Any:
        """Send a line and return the answer."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe, for mypy
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return json.loads(self.line())

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _run(*command: str) -> str:
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        time.sleep(0.1)
    raise BenchmarkError(f"{' '.join(command)}: {done.stderr.strip()}")
