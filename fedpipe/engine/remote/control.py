"""The run's side of a worker's control connection: JSON over HTTP/1.1 over TLS
(`cluster.worker_server` has the other side).

GET  /hello     what is compared before anything else (`engine.remote.host_facts`)
POST /session   the worker is this run's from now on, with a new TFF worker, for as long as this
                connection stays open
POST /beat      on the same connection, every second or two: both sides know that the other is there
POST /data      the worker brings the data of an md5 and verifies them
POST /clients   the worker makes the resident files of some clients
"""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from fedpipe.config.remote import split_address
from fedpipe.errors import FedpipeError, WorkerError
from fedpipe.redact import hide

SESSION = "X-Fedpipe-Session"


class WorkerUnreachableError(Exception):
    """The worker does not answer, or the connection broke: it may answer later. The text says why,
    without its address.
    """


class WorkerRefusedError(WorkerError):
    """The worker answered and does not take part; asking again does not help."""


class Control:
    """One connection to a worker."""

    def __init__(self, address: str, context: ssl.SSLContext, timeout_seconds: float) -> None:
        """Connect when the first request is made; every answer has to begin within the timeout."""
        host, port = split_address(address)
        self._address = address
        self._http = http.client.HTTPSConnection(
            host, port, timeout=timeout_seconds, context=context
        )

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, session: str = ""
    ) -> dict[str, Any]:
        """Return the worker's answer.

        Raises:
            WorkerUnreachableError: no answer came.
            WorkerRefusedError: the worker refuses, or TLS does; the message names the worker and
                its answer.
        """
        headers = {"Content-Type": "application/json"} | ({SESSION: session} if session else {})
        try:
            self._http.request(method, path, json.dumps(body or {}), headers)
            answer = self._http.getresponse()
            text = answer.read()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as err:
            raise WorkerUnreachableError("the connection broke") from err
        except ssl.SSLError as err:
            raise WorkerRefusedError(
                f"runtime.remote: {self._address}: expected a worker with a certificate of the "
                f"same CA: {_explained(err)}"
            ) from err
        except (OSError, http.client.HTTPException) as err:
            raise WorkerUnreachableError(_reason(err)) from err
        try:
            content = json.loads(text)
        except ValueError as err:
            raise WorkerRefusedError(
                f"runtime.remote: {self._address}: expected a fedpipe worker, it answers "
                f"{text[:100]!r}."
            ) from err
        if not isinstance(content, dict):
            raise WorkerRefusedError(f"runtime.remote: {self._address}: {content}")
        if answer.status != http.HTTPStatus.OK:
            raise WorkerRefusedError(
                f"runtime.remote: {self._address}: {content.get('error', content)}"
            )
        return content

    def limit(self, timeout_seconds: float) -> None:
        """Set another limit, for this connection's further answers."""
        if self._http.sock is not None:
            self._http.sock.settimeout(timeout_seconds)

    def close(self) -> None:
        """Close the connection; a request in another thread fails. A session that was begun on it
        ends.
        """
        raw = self._http.sock
        if raw is not None:
            with contextlib.suppress(OSError):  # it is closed already
                raw.shutdown(socket.SHUT_RDWR)
        self._http.close()


def _reason(err: BaseException) -> str:
    if isinstance(err, TimeoutError):
        return "it did not answer in time"
    if isinstance(err, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(err, socket.gaierror):
        return "no such host"
    text = (
        err.strerror
        if isinstance(err, OSError) and err.strerror
        else str(err) or type(err).__name__
    )
    return hide(" ".join(text.split()))[:200]


def _explained(err: ssl.SSLError) -> str:
    """Return what TLS says, in words, and what to do."""
    text = f"{err.reason or ''} {err}".lower().replace("_", " ")
    if isinstance(err, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not taken here ({err.verify_message}). Make all certificates "
            "with one `fedpipe worker certs --hosts ...`."
        )
    for words, meaning in (
        ("certificate required", "it got no certificate from here"),
        ("alert unknown ca", "it does not know the CA of the certificate here"),
        ("decrypt error", "it does not know the CA of the certificate here"),
        ("certificate expired", "the certificate of this machine has expired"),
        ("wrong version number", "it does not speak TLS"),
        ("protocol version", "it does not speak TLS 1.3"),
    ):
        if words in text:
            return (
                f"{meaning} ({err.reason or err}). Copy runtime.certs anew from where `fedpipe "
                "worker certs` was run."
            )
    return f"{err.reason or err}."


def refusal(err: FedpipeError) -> dict[str, str]:
    """Return an error as the answer of a worker."""
    return {"error": " ".join(str(err).split())}
