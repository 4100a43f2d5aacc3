"""One machine of a run: its control connection, its heartbeat, its gRPC channel.

A machine is lost when its heartbeat stays away, its connection breaks, or someone says so (`drop`):
all calls that wait for it then fail at once. `connect` begins anew, with a new TFF worker on the
other side.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.engine.remote.control import Control, WorkerRefusedError, WorkerUnreachableError
from fedpipe.engine.remote.host_facts import differences, facts, other_vectors
from fedpipe.engine.remote.tls import channel_credentials, client_context
from fedpipe.errors import WorkerError

if TYPE_CHECKING:
    from fedpipe.engine.remote.machine_guard import MachineGuard

BEAT_SECONDS = 1.0
SILENCE_SECONDS = 10.0
"""A heartbeat that is not answered within this time is the end of a machine; a worker lets go of a
run after as long a silence.
"""
HELLO_SECONDS = 10.0

logger = logging.getLogger("fedpipe.engine")


@dataclass(frozen=True)
class RemoteRun:
    """Facts of a run that machines are told.

    Attributes:
        name: of the run, shown to who asks a worker what it does.
        certificates: folder of the runner's.
        data_md5: of the shards, which every machine has to have; None where examples are sent by
            value.
        start_seconds: limit of a TFF worker's start there.
        data_seconds: limit of bringing data there, once a session and of a share's clients.
        instance: this process's run alone: a worker that has not yet seen the end of its last
            session lets it in again.
    """

    name: str
    certificates: Path
    data_md5: str | None
    start_seconds: float
    data_seconds: float
    instance: str = field(default_factory=lambda: secrets.token_hex(16))


class Machine:
    """The run's side of one `fedpipe worker`.

    Attributes:
        address: `host:port`, as the settings have it.
        reason: why it takes no part now; empty while it does.
        cores: how many shares it computes at once.
        vectors: CPU flags that one of the two sides alone has.
        guard: watches the calls to it, while it takes part.
        when_lost: told the reason when the machine is dropped, in whatever thread that is.
        opening: held while an executor is opened there.
    """

    def __init__(self, address: str, run: RemoteRun) -> None:
        """Take the address; nothing is connected."""
        self.address = address
        self.reason = "not connected yet"
        self.cores = 1
        self.vectors: list[str] = []
        self.guard: MachineGuard | None = None
        self.when_lost: Callable[[str], None] | None = None
        self.opening = threading.Lock()
        self._run = run
        self._session = ""
        self._beats: Control | None = None
        self._channel: Any = None
        self._lock = threading.Lock()
        self._brought: set[str] = set()

    @property
    def here(self) -> bool:
        """Return whether it takes part."""
        return not self.reason

    def connect(self) -> None:
        """Compare both sides, begin a session, have the data brought and verified there, open the
        channel.

        Raises:
            WorkerUnreachableError: it does not answer.
            WorkerRefusedError: it is another run's, or versions, data or certificates differ; the
                message has both sides.
        """
        from fedpipe.engine.local.context import open_secure_channel
        from fedpipe.engine.remote.machine_guard import MachineGuard

        context = client_context(self._run.certificates)
        run = self._run
        hello = Control(self.address, context, HELLO_SECONDS)
        try:
            theirs = hello.ask("GET", "/hello")
            mine = facts()
        finally:
            hello.close()
        if different := differences(mine, theirs):
            raise WorkerRefusedError(
                f"runtime.remote: {self.address}: expected the same versions, found "
                f"{'; '.join(different)}. Install the same lock."
            )
        beats = Control(self.address, context, run.start_seconds + SILENCE_SECONDS)
        try:
            me = f"{socket.gethostname()}, process {os.getpid()}"
            request = {
                "run": run.name,
                "runner": me,
                "instance": run.instance,
                "start_seconds": run.start_seconds,
            }
            session = str(beats.ask("POST", "/session", request)["session"])
            beats.limit(SILENCE_SECONDS)
            self._begin(beats, session)
            if run.data_md5 is not None:
                self._ask_long("/data", {"md5": run.data_md5})
        except BaseException:
            self.drop("its connection was given up")
            beats.close()
            raise
        with self._lock:
            self.cores = max(1, int(theirs["cores"]))
            self.vectors = other_vectors(mine, theirs)
            self._channel = open_secure_channel(self.address, channel_credentials(run.certificates))
            self.guard = MachineGuard(self, self._channel)
            if self._session != session:  # its heartbeat stopped meanwhile
                self._channel.close()
                raise WorkerUnreachableError(self.reason)
            self.reason = ""

    def bring(self, names: Iterable[str]) -> None:
        """Have the resident files called `names` made there; returns when they are. Raises as
        `connect`.
        """
        missing = [name for name in names if name not in self._brought]
        if missing:
            self._ask_long("/clients", {"names": missing})
            self._brought.update(missing)

    def forget(self, names: Iterable[str]) -> None:
        """Have resident files asked for again when they are next needed."""
        self._brought.difference_update(names)

    def drop(self, reason: str) -> None:
        """End the session: calls that wait for the machine fail. The first reason stays."""
        with self._lock:
            beats = self._beats
            channel = self._channel
            session = self._session
            self._beats = self._channel = self.guard = None
            self._session = ""
            self._brought = set()
            if session:
                self.reason = reason
        if channel is not None:
            channel.close()
        if beats is not None:
            beats.close()
        if session and self.when_lost is not None:
            self.when_lost(reason)

    def _begin(self, beats: Control, session: str) -> None:
        with self._lock:
            self._beats = beats
            self._session = session
            self.reason = "not ready yet"
        threading.Thread(
            target=self._beat,
            args=(beats, session),
            name=f"fedpipe-beat-{self.address}",
            daemon=True,
        ).start()

    def _beat(self, beats: Control, session: str) -> None:
        start = time.monotonic()
        while self._session == session:
            start = time.monotonic()
            try:
                answer = beats.ask("POST", "/beat", session=session)
            except (WorkerUnreachableError, WorkerError) as err:
                if self._session == session:
                    silent = time.monotonic() - start
                    self.drop(f"no heartbeat for {silent:.1f} s: {err}")
                return
            if answer.get("worker"):
                if self._session == session:
                    self.drop(f"its TFF worker ended {answer['worker']}")
                return
            time.sleep(BEAT_SECONDS)

    def _ask_long(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask on a connection of its own, which does not hold up the heartbeat."""
        session = self._session
        if not session:
            raise WorkerUnreachableError(self.reason)
        control = Control(
            self.address, client_context(self._run.certificates), self._run.data_seconds
        )
        try:
            return control.ask("POST", path, body, session)
        finally:
            control.close()
