"""Joins a TLS connection with a plain one, byte for byte, until either ends.

In one thread, because an OpenSSL connection must not be read and written by two at once.
"""

import select
import socket
import ssl

CHUNK_BYTES = 1 << 18
_WAKE_MS = 1000


def splice(secure: ssl.SSLSocket, plain: socket.socket) -> tuple[int, int]:
    """Carry bytes both ways until one side is at its end or broken; return how many came in through
    TLS and went out. Closes neither.

    A side that does not take what it is sent is waited for, and meanwhile not read from: what is
    held here stays bounded.
    """
    secure.setblocking(False)
    plain.setblocking(False)
    room_in = memoryview(bytearray(CHUNK_BYTES))
    room_out = memoryview(bytearray(CHUNK_BYTES))
    inward = room_in[:0]
    outward = room_out[:0]
    total_in = total_out = 0
    poll = select.poll()
    while True:
        # what TLS itself waits for: a read may have to write and the reverse
        wants = 0
        moved = False
        try:
            if not inward:
                try:
                    count = secure.recv_into(room_in)
                    if not count:
                        return total_in, total_out
                    inward = room_in[:count]
                    moved = True
                except ssl.SSLWantReadError:
                    wants |= select.POLLIN
                except ssl.SSLWantWriteError:
                    wants |= select.POLLOUT
            if inward:
                try:
                    count = plain.send(inward)
                    inward = inward[count:]
                    moved = True
                    total_in = total_in + count
                except BlockingIOError:
                    pass
            if not outward:
                try:
                    count = plain.recv_into(room_out)
                    if not count:
                        return total_in, total_out
                    outward = room_out[:count]
                    moved = True
                except BlockingIOError:
                    pass
            if outward:
                try:
                    count = secure.send(outward)
                    outward = outward[count:]
                    moved = True
                    total_out = total_out + count
                except ssl.SSLWantWriteError:
                    wants |= select.POLLOUT
                except ssl.SSLWantReadError:
                    wants |= select.POLLIN
        except OSError:  # broken: the same end as an orderly one
            return total_in, total_out
        if not moved:
            poll.register(secure, wants)
            poll.register(
                plain, (0 if outward else select.POLLIN) | (select.POLLOUT if inward else 0)
            )
            poll.poll(_WAKE_MS)
