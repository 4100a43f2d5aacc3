"""A home directory for users who have none, as in containers that run with an arbitrary user id and
no entry in the password file.

Prefect, DVC and others ask for `~` when they are imported, and fail or write to a folder called `~`
without one.
"""

import os
import pwd
import tempfile
from pathlib import Path


def ensure_home(private: Path | None) -> None:
    """Set `HOME`, and `USER`, in the environment of this process where the system knows neither a
    home nor a name.

    Args:
        private: the project's folder for fedpipe's own files, in which a home is made; None makes
            one among the temporary files.
    """
    known = _in_password_file()
    if not os.environ.get("HOME"):
        os.environ.pop("HOME", None)  # an empty one hides that of the password file
        if not known:
            os.environ["HOME"] = str(_make_home(private))
    if not known and not any(
        os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")
    ):
        os.environ["USER"] = f"uid-{os.getuid()}"


def _in_password_file() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _make_home(private: Path | None) -> Path:
    if private is not None:
        folder = private.absolute() / "home"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
        except OSError:
            pass  # the project cannot be written, which what writes there says
    return Path(tempfile.mkdtemp(prefix="fedpipe-home-"))
