"""Base address of links to runs: of the tracking server, of a running `fedpipe ui`, or where one
would listen.
"""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedpipe.redact import hide
from fedpipe.system.host import in_address
from fedpipe.tracking.reach import is_server

UI_HOST = "127.0.0.1"
UI_PORT = 5000
_PORTS_TRIED = 20
_CONNECT_SECONDS = 0.5
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - what a user may have chosen; nothing is bound here


@dataclass(frozen=True)
class UiAddress:
    """Where the pages of a store's runs are.

    Attributes:
        url: base of a link, without a slash at its end.
        command: the command that starts the pages there; None where they are served already.
    """

    url: str
    command: str | None


def ui_address(project: Path, uri: str) -> UiAddress:
    """Return the address of the pages of a project's store.

    Args:
        project: folder of the project.
        uri: tracking URI of the store.
    """
    if is_server(uri):
        return UiAddress(hide(uri).rstrip("/"), None)
    running = _running_ui(project, uri)
    if running is not None:
        return UiAddress(running, None)
    port = free_ui_port()
    option = "" if port == UI_PORT else f" --port {port}"
    return UiAddress(f"http://{UI_HOST}:{port}", f"uv run fedpipe ui{option}")


def free_ui_port() -> int:
    """Return the first free port of 127.0.0.1 from 5000 upwards; 5000 if there is none."""
    for port in range(UI_PORT, UI_PORT + _PORTS_TRIED):
        if not _listens(UI_HOST, port):
            return port
    return UI_PORT


def note_ui(project: Path, uri: str, host: str, port: int) -> None:
    """Note that this process becomes the UI of a store, so that later links lead there."""
    path = _note_path(project)
    path.parent.mkdir(parents=True, exist_ok=True)
    note = {
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "store": hide(uri),
        "host": host,
        "port": port,
    }
    path.write_text(json.dumps(note) + "\n", encoding="utf-8")


def _running_ui(project: Path, uri: str) -> str | None:
    """Return the base address of the UI that was noted; None if its process does not listen."""
    try:
        note: dict[str, Any] = dict(json.loads(_note_path(project).read_text(encoding="utf-8")))
        pid = int(note["pid"])
        host = str(note["host"])
        port = int(note["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host in _ANY_ADDRESS:
        host = UI_HOST
    started = note.get("started")
    is_same_process = started is not None and started == _started(pid)
    if note.get("store") != hide(uri) or not is_same_process or not _listens(host, port):
        return None
    return f"http://{in_address(host)}:{port}"


def _note_path(project: Path) -> Path:
    return project / ".fedpipe" / "ui.json"


def _started(pid: int) -> str | None:
    """Return the start time of a process in ticks since boot; None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False
