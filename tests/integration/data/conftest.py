"""A web server that can break off, lie about lengths, refuse for a while, or forget its versions."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Site:
    """What the server does. `requests` holds the Range header of each request, None where there was none."""

    def __init__(self, body: bytes) -> None:
        self.body, self.etag, self.ranges = body, '"v1"', True
        self.break_after: list[
            int
        ] = []  # bytes after which the next requests' connections are broken, one each
        self.statuses: list[int] = []  # answers of the next requests
        self.said_length: int | None = None
        self.requests: list[str | None] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append(wanted)
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        start = 0
        if wanted and self.ranges and handler.headers.get("If-Range") == self.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            handler.send_response(206)
            handler.send_header(
                "Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            )
        else:
            handler.send_response(200)
        part = self.body[start:]
        handler.send_header("Content-Length", str(self.said_length or len(part)))
        handler.send_header("ETag", self.etag)
        handler.end_headers()
        handler.wfile.write(part[: self.break_after.pop(0)] if self.break_after else part)
        handler.wfile.flush()
        handler.close_connection = True


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], Site]]:
    """Return a function that serves a body from 127.0.0.1."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda body: stack.enter_context(serving(Site(body)))
