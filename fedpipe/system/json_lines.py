"""Files of JSON lines that grow while a run goes on, and may end in the middle of a line where it
was killed.
"""

import json
from pathlib import Path
from typing import Any


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file, none if it is not there; cuts off a line that a kill left
    unfinished.
    """
    if not path.exists():
        return []
    body = path.read_bytes()
    whole = body[: body.rfind(b"\n") + 1]
    if whole != body:
        path.write_bytes(whole)
    return [dict(json.loads(line)) for line in whole.splitlines()]
