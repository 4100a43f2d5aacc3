"""New files under names of their own whose mode follows the user's umask: those of `tempfile` are
0600 whatever it says.
"""

import contextlib
import os
import secrets
from pathlib import Path


def new_file(folder: Path, prefix: str, mode: int = 0o666) -> tuple[int, str]:
    """Create an empty file `prefix...` in `folder`; return its descriptor, open for writing, and
    its path, as `tempfile.mkstemp` does. Its permissions are `mode` less the umask.
    """
    while True:
        path = folder / f"{prefix}{secrets.token_hex(8)}"
        with contextlib.suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            return os.open(path, flags, mode), str(path)
