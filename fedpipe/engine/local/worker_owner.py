"""Owns one TFF worker, so that the worker ends with its run, however that run ends.

Run by `worker.py` as `python -I -S worker_owner.py PARENT_PID ISOLATION SOCKET BINARY
[ARGUMENT...]`. It imports the standard library alone, without asyncio and subprocess, because a run
waits for these imports (40 ms, 11 MB; 120 ms and 20 MB with them).

A process of its own, because nothing inside the run survives a SIGKILL of the run, and because
Linux's "signal me when my parent dies" looks at the *thread* that made the child: wrong under a
pool of threads, right here, where the main thread makes the worker and stays. It ends the worker
when the run's process is gone, when stdin reaches its end, or on a signal; and it reports on
stdout, one line each: `started PID isolated`, or `started PID open PORT REASON`, then `ready`, then
`ended CODE`; or `refused REASON` and nothing else. Its stderr is the worker's log.

With isolation the worker lives in a network namespace that holds nothing but its own loopback. The
one way in is SOCKET, a Unix socket in the caller's 0700 directory, whose bytes this process carries
to the worker's port for the same user alone.
"""

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import threading
from typing import NoReturn

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP_AND_RUNNING = 0x41
ISOLATED_PORT = 10000  # any: nobody else lives in the namespace
READY_POLL_MS = 5
PARENT_POLL_MS = 500  # where the kernel has no pidfd
CHUNK_BYTES = 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


def say(line: str) -> None:
    """Report one line to the run."""
    with contextlib.suppress(
        BrokenPipeError
    ):  # the run is gone; `watch` sees that as well and ends the worker
        os.write(1, f"{line}\n".encode())


def isolate() -> None:
    """Move this process into a network namespace of its own. Raises OSError where the kernel does
    not allow it.

    A process with the right to do so takes the network namespace alone, so that it keeps its rights
    over files; any other takes a user namespace with it, in which it stays the same user.
    """
    uid = os.geteuid()
    gid = os.getegid()
    if libc.unshare(CLONE_NEWNET) != 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP_AND_RUNNING))


def why_not_isolated() -> str:
    """Return why `isolate` fails here, or nothing. Tried in a child: a step that fails half-way
    cannot be taken back.
    """
    child = os.fork()
    if child == 0:
        try:
            isolate()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0:
        return os.strerror(code)
    if code < 0:
        return f"signal {-code}"
    return ""


def reserve_port() -> socket.socket:
    """Return a socket that holds a free port and never listens on it.

    The worker shares the port (gRPC sets SO_REUSEPORT), the kernel gives it to nobody else. Without
    the reservation two runs could be given the same port and their calls would be spread over both
    workers.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # as wide as the worker's own bind, so that it is refused to others
    holder.bind(("0.0.0.0", 0))  # noqa: S104
    return holder


def start_worker(command: list[str]) -> int:
    """Start the worker with the log as its output and return its pid; the kernel kills it if this
    process is killed.
    """
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == supervisor:  # else it was killed before the line above
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            # no shell is wanted; Python's other descriptors close on exec
            os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def open_parent(parent: int) -> int | None:
    """Return a descriptor that becomes readable when the process `parent` is gone, or None where
    there are none.
    """
    try:
        return os.pidfd_open(parent)
    except (AttributeError, OSError):
        return None


def answers(port: int) -> bool:
    """Return whether the worker listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes from `source` to `sink` until either ends, then end both."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with contextlib.suppress(OSError):  # one side is gone: the same end as an orderly one
        while count := source.recv_into(buffer):
            sink.sendall(buffer[:count])
    for end in (source, sink):
        with contextlib.suppress(OSError):  # closed already
            end.shutdown(socket.SHUT_RDWR)


def forward(near: socket.socket, port: int) -> None:
    """Join one connection of the run with the worker's port; of any other user's process, close
    it.
    """
    uid = struct.unpack("3i", near.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    with near, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as far:
        if uid != os.geteuid() or far.connect_ex(("127.0.0.1", port)) != 0:
            return
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=pump, args=(far, near), daemon=True)
        back.start()
        pump(near, far)
        back.join()


def watch(
    parent: int, worker: int, port: int, listener: socket.socket | None, wakeup: int
) -> int | None:
    """Serve until the run or the worker ends. Returns the worker's exit code (-N for signal N), or
    None if it still runs.
    """
    parent_fd = open_parent(parent)
    poll = select.poll()
    for fd in (0, wakeup, parent_fd, listener.fileno() if listener else None):
        if fd is not None:
            poll.register(fd, select.POLLIN)
    idle = None if parent_fd is not None else PARENT_POLL_MS
    ready = False
    while os.getppid() == parent:
        events = {fd for fd, _ in poll.poll(idle if ready else READY_POLL_MS)}
        if events & {0, parent_fd}:
            return None
        if wakeup in events:
            received = os.read(wakeup, 64)
            if any(number != signal.SIGCHLD for number in received):
                return None
            pid, status = os.waitpid(worker, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        if listener and listener.fileno() in events:
            threading.Thread(target=forward, args=(listener.accept()[0], port), daemon=True).start()
        if not ready and answers(port):
            ready = True
            say("ready")
    return None


def catch_signals() -> int:
    """Turn every signal that ends a process, and the worker's end, into bytes; return the
    descriptor they are read from.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return read_end


def main(parent: int, isolation: str, path: str, command: list[str]) -> NoReturn:
    """Isolate as asked, start the worker, watch, end it. Exits 0 when it was terminated, 70 when
    the worker ended by itself.
    """
    reason = "isolation is off" if isolation == "off" else why_not_isolated()
    if isolation == "required" and reason:
        say(f"refused {reason}")
        os._exit(77)
    wakeup = catch_signals()
    listener = None
    holder = None
    port = ISOLATED_PORT
    if reason:
        holder = reserve_port()
        port = holder.getsockname()[1]
    else:
        isolate()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen()
    worker = start_worker([*command, f"--port={port}"])
    say(f"started {worker} " + (f"open {port} {reason}" if reason else "isolated"))
    code = None
    try:
        code = watch(parent, worker, port, listener, wakeup)
    finally:
        if code is None:
            os.kill(worker, signal.SIGKILL)  # it keeps nothing, so there is nothing to wait for
            os.waitpid(worker, 0)
        if listener:
            with contextlib.suppress(OSError):  # the run removed them first
                os.unlink(path)
                os.rmdir(os.path.dirname(path))
    if code is not None:
        say(f"ended {code}")
    os._exit(0 if code is None else 70)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
