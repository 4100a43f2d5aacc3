"""The worker's side of a control connection: HTTP/1.1 on a connection that TLS has authenticated.

The protocol is in `engine.remote.control`. A connection that begins a session holds it. When the
connection ends, or is silent for too long, the session ends and the worker is free for another run.
"""

import hmac
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from fedpipe.cluster.session import Session, Who
from fedpipe.engine.remote.control import SESSION, refusal
from fedpipe.engine.remote.machine import SILENCE_SECONDS
from fedpipe.errors import EnvironmentProblem, FedpipeError
from fedpipe.redact import hide

MOST_BYTES = 1 << 24
logger = logging.getLogger("fedpipe.worker")


class SessionOwner(Protocol):
    """The server that owns the worker's session."""

    def hello(self) -> dict[str, Any]:
        """Return the facts of this side, and who uses it."""

    def begin(self, who: Who, start_seconds: float) -> Session:
        """Begin a session; its TFF worker is ready on return."""

    def end(self, session: Session, why: str) -> None:
        """End a session and its TFF worker."""

    def session_of(self, token: str) -> Session:
        """Return the session with this token."""


class Control(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    timeout = SILENCE_SECONDS
    server_version = "fedpipe"
    sys_version = ""
    server: SessionOwner  # type: ignore[assignment]  # it asks nothing of it
    held: Session | None = None

    def do_GET(self) -> None:
        """Answer `/hello`."""
        self._answer({"/hello": lambda _: self.server.hello()})

    def do_POST(self) -> None:
        """Answer the others."""
        self._answer(
            {
                "/session": self._session,
                "/beat": self._beat,
                "/data": self._data,
                "/clients": self._clients,
            }
        )

    def finish(self) -> None:
        """End the session that the connection held."""
        if self.held is not None:
            self.server.end(self.held, "its connection ended")
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of single requests."""

    def _session(self, body: dict[str, Any]) -> dict[str, Any]:
        who = Who(
            str(body["run"]),
            str(body["runner"]),
            str(body["instance"]),
            self.connection.getpeercert(binary_form=True) or b"",
        )
        self.held = self.server.begin(who, float(body["start_seconds"]))
        return {"session": self.held.token}

    def _beat(self, _: dict[str, Any]) -> dict[str, Any]:
        worker = self._current().worker
        return {
            "worker": "" if worker.alive() else worker.how_it_ended(),
            "memory_mb": worker.memory_mb(),
        }

    def _data(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"path": str(self._current().bring(str(body["md5"])).path)}

    def _clients(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"made": self._current().data().make(map(str, body["names"]))}

    def _current(self) -> "Session":
        return self.server.session_of(self.headers.get(SESSION, ""))

    def _answer(self, answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
        try:
            size = int(self.headers.get("Content-Length") or 0)
            if not 0 <= size <= MOST_BYTES:
                self._send(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    {"error": f"expected at most {MOST_BYTES} bytes, found {size}"},
                )
                self.close_connection = True
                return
            text = self.rfile.read(size)
            if self.path not in answers:
                self._send(
                    HTTPStatus.NOT_FOUND,
                    {"error": f"no such request: {self.command} {self.path[:100]}"},
                )
                return
            body = json.loads(text or b"{}")
            try:
                answer = answers[self.path](body if isinstance(body, dict) else {})
            # this machine's own, such as a full disk; the connection's are not met here
            except OSError as err:
                raise EnvironmentProblem(
                    f"{self.path}: expected a machine that can do it, found {err}."
                ) from err
            self._send(HTTPStatus.OK, answer)
        except FedpipeError as err:
            logger.warning("%s %s: %s", self.command, self.path, err)
            self._send(HTTPStatus.CONFLICT, refusal(err))
        except (KeyError, TypeError, ValueError) as err:
            self._send(
                HTTPStatus.BAD_REQUEST,
                {"error": hide(f"not understood: {type(err).__name__}: {err}")},
            )

    def _send(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def same(left: str, right: str) -> bool:
    """Return whether two tokens are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left.encode(), right.encode())
