"""Bytes through TLS and out again, both ways at once, more than any buffer holds."""

import socket
import threading
from pathlib import Path

import pytest

from fedpipe.cluster.certificates import make_certificates
from fedpipe.engine.remote.splice import splice
from fedpipe.engine.remote.tls import client_context, server_context


@pytest.fixture
def ends(
    tmp_path: Path,
) -> "tuple[socket.socket, socket.socket, threading.Thread, list[tuple[int, int]]]":
    """Return the client's end of a TLS connection, the plain end that it is joined with, and the thread that joins them."""
    make_certificates(tmp_path / "certs", [], days=1)
    listener = socket.create_server(("127.0.0.1", 0))
    near, far = socket.socketpair()
    counts: list[tuple[int, int]] = []

    def serve() -> None:
        raw, _ = listener.accept()
        with server_context(tmp_path / "certs").wrap_socket(raw, server_side=True) as secure, far:
            counts.append(splice(secure, far))
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = client_context(tmp_path / "certs").wrap_socket(
        socket.create_connection(listener.getsockname()), server_hostname="127.0.0.1"
    )
    client.settimeout(20)
    near.settimeout(20)
    return client, near, thread, counts


def test_both_ways_at_once_nothing_is_lost_or_turned_round(
    ends: tuple[socket.socket, socket.socket, threading.Thread, list],
) -> None:
    client, near, thread, counts = ends
    up, down = bytes(range(256)) * 12_000, bytes(range(255, -1, -1)) * 12_000  # 3 MB each

    def read(end: socket.socket, size: int) -> bytes:
        body = bytearray()
        while len(body) < size:
            body += end.recv(1 << 16)
        return bytes(body)

    back: list[bytes] = []
    answer = threading.Thread(target=lambda: (near.sendall(down), back.append(read(near, len(up)))))
    answer.start()
    arrived: list[bytes] = []
    # TLS is read and written by one thread here too: half of it is sent before anything is read.
    client.sendall(up[:1_000_000])
    arrived.append(read(client, len(down)))
    client.sendall(up[1_000_000:])
    answer.join(20)
    assert arrived == [down]
    assert back == [up]
    client.close()
    thread.join(20)
    assert counts == [(len(up), len(down))]
    near.close()


def test_the_end_of_one_side_is_the_end_of_the_other(
    ends: tuple[socket.socket, socket.socket, threading.Thread, list],
) -> None:
    client, near, thread, _ = ends
    near.sendall(b"last words")
    near.close()
    assert client.recv(100) == b"last words"
    assert client.recv(100) == b""
    thread.join(20)
    client.close()
