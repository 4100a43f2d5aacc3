"""`fedpipe worker`: one port, behind mutual TLS, through which a run on another machine uses a TFF
worker of this one.

    connection --TLS 1.3, certificate of the CA required--+-- ALPN h2: spliced to the TFF worker's
                                                          |   Unix socket (gRPC)
                                                          +-- ALPN http/1.1: control connection

The TFF worker lives in a namespace of its own, as that of a local run does; nothing here listens
without TLS. A worker serves one run at a time: its session begins with a new TFF worker and ends
with the connection that began it.
"""

import contextlib
import logging
import secrets
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

from fedpipe.cluster.session import Session, Who
from fedpipe.cluster.worker_control import Control, same
from fedpipe.config.schema import RuntimeConfig
from fedpipe.engine.local.worker import Worker
from fedpipe.engine.remote.host_facts import facts
from fedpipe.engine.remote.splice import splice
from fedpipe.engine.remote.tls import GRPC, server_context
from fedpipe.errors import ConfigError, EnvironmentProblem, WorkerError
from fedpipe.project.paths import Project

_HANDSHAKE_SECONDS = 10.0
_CONNECTIONS = 64
_LINGER_SECONDS = 1.0
_WAKE_SECONDS = 0.5

logger = logging.getLogger("fedpipe.worker")


class WorkerServer:
    """Serves runs, one at a time.

    Attributes:
        address: host and port that it listens on.
    """

    def __init__(
        self, host: str, port: int, certificates: Path, project: Project, runtime: RuntimeConfig
    ) -> None:
        """Listen; connections are taken by `serve`.

        Args:
            host, port: where; port 0 is any that is free.
            certificates: folder of the worker's.
            project: where data, caches and logs are.
            runtime: `isolation` and `cache_max_bytes` are read.

        Raises:
            EnvironmentProblem: the certificates cannot be used, or the address cannot be listened
                on.
        """
        self._context = server_context(certificates)
        self._project = project
        self._runtime = runtime
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        project.client_cache.mkdir(parents=True, exist_ok=True)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, port), family=family, backlog=_CONNECTIONS)
        except OSError as err:
            raise EnvironmentProblem(
                f"--listen: expected to listen on {host} port {port}, found {err.strerror or err}."
            ) from err
        # The kernel may give a signal to another thread, and then nothing wakes this one but the
        # end of the time.
        self._listener.settimeout(_WAKE_SECONDS)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]

    def serve(self) -> None:
        """Take connections until `close`."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._connected, args=(connection,), daemon=True).start()

    def stop(self) -> None:
        """Have `serve` return; may be called by a signal's handler."""
        with contextlib.suppress(OSError):  # a second signal
            self._listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Listen no more and end the session."""
        self.stop()
        self._listener.close()
        with self._lock:
            session = self._session
        if session is not None:
            self.end(session, "the worker was terminated")

    # --- What a control connection asks ---

    def hello(self) -> dict[str, Any]:
        """Return the facts of this side, and who uses it."""
        session = self._session
        return {
            **facts(),
            "session": f"run {session.who.run} of {session.who.runner}" if session else "",
        }

    def begin(self, who: Who, start_seconds: float) -> Session:
        """Return a new session, with a new TFF worker that is ready. It takes the place of one that
        the same run has lost.

        Raises:
            ConfigError: another run has the worker.
            WorkerError: the TFF worker does not start.
        """
        log = self._project.private / "worker.log"
        before = self._session
        if before is not None and before.who == who:
            self.end(before, "the run begins another session")
        with self._lock:
            if self._session is not None:
                taken = self._session.who
                raise ConfigError(
                    f"expected a worker that is free, this one is used by run {taken.run} of "
                    f"{taken.runner}. Wait for its end, or name another worker."
                )
            worker = Worker(self._runtime.isolation, log, self._project.client_cache)
            token = secrets.token_hex(16)
            most = self._runtime.cache_max_bytes
            session = self._session = Session(token, who, worker, self._project, most)
        try:
            worker.wait_ready(start_seconds)
        except BaseException:
            self.end(session, "the TFF worker did not start")
            raise
        logger.warning("run %s of %s begins.", who.run, who.runner)
        return session

    def end(self, session: Session, why: str) -> None:
        """End a session and its TFF worker, with all connections to it; the worker is free."""
        with self._lock:
            if self._session is not session:
                return
            session.worker.close()
            self._session = None
        logger.warning(
            "the session of run %s of %s has ended: %s.", session.who.run, session.who.runner, why
        )

    def session_of(self, token: str) -> Session:
        """Return the session with this token. Raises WorkerError if it has ended."""
        session = self._session
        if session is None or not same(session.token, token):
            raise WorkerError(
                "expected the token of the current session, found another: that session has ended."
            )
        return session

    # --- Connections ---

    def _connected(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_HANDSHAKE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = connection.getpeername()
            with self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            ) as secure:
                try:
                    secure.do_handshake()
                except OSError as err:
                    logger.warning("%s: refused: %s", peer[0], getattr(err, "reason", None) or err)
                    _linger(secure)
                    return
                if secure.selected_alpn_protocol() == GRPC:
                    self._join(secure)
                else:
                    with contextlib.suppress(OSError):
                        # it asks nothing of its server
                        Control(secure, peer, self)  # type: ignore[arg-type]
        except OSError:
            pass  # the other side is gone
        finally:
            connection.close()
            self._room.release()

    def _join(self, secure: ssl.SSLSocket) -> None:
        """Splice a gRPC connection of the run that has the session to its TFF worker; close any
        other.
        """
        session = self._session
        if (
            session is None
            or secure.getpeercert(binary_form=True) != session.who.certificate
            or not session.worker.target
        ):
            return
        target = session.worker.target
        if target.startswith("unix:"):
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            where: Any = target.removeprefix("unix:")
        else:
            plain, (host, _, port) = (
                socket.socket(socket.AF_INET, socket.SOCK_STREAM),
                target.partition(":"),
            )
            where = (host, int(port))
        with plain:
            plain.connect(where)
            splice(secure, plain)


def _linger(connection: socket.socket) -> None:
    """Let the other side read why it is refused: a connection that is closed with unread bytes is
    reset, and what was said is lost.
    """
    connection.settimeout(_LINGER_SECONDS)
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_SECONDS
        while time.monotonic() < deadline and socket.socket.recv(connection, 1 << 14):
            pass
