"""Files of JSON lines that grow during a run; a killed run may leave the last line unfinished."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def json_line(value: Mapping[str, Any]) -> bytes:
    """Return a value as one line."""
    return json.dumps(value).encode() + b"\n"


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add a line to a file."""
    with path.open("ab") as file:
        file.write(json_line(value))


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, without the last one where it is unfinished; none if there is no
    file.

    Raises:
        ValueError: a whole line is not JSON.
    """
    if not path.exists():
        return []
    return [dict(json.loads(line)) for line in _whole(path.read_bytes()).splitlines()]


def repaired_lines(path: Path) -> list[dict[str, Any]]:
    """Return what `whole_lines` does, and cut off a line that a kill left unfinished. Not for a
    file that another process is writing.
    """
    if path.exists():
        body = path.read_bytes()
        if _whole(body) != body:
            path.write_bytes(_whole(body))
    return whole_lines(path)


def _whole(body: bytes) -> bytes:
    return body[: body.rfind(b"\n") + 1]
