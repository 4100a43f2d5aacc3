"""The limit of open files of this process: raised at the start as far as the system allows, and
named where it was the cause.
"""

import errno
import os
import resource

from fedpipe.errors import error_chain

_ENOUGH = 65_536
_TEXTS = ("too many open files", "[errno 24]")
_NO_TEXT = "unable to open database file"
"""What SQLite says where it cannot open a file, whatever the reason."""


def raise_open_files_limit() -> None:
    """Raise the soft limit of open files to the hard one, or to 65,536 if that is less; what this
    process starts inherits it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def open_files_problem(err: BaseException) -> str | None:
    """Return what to tell the user if the limit of open files is behind `err`; None if it is
    not.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if not any(_is_cause(cause, limit) for cause in error_chain(err)):
        return None
    return (
        f"too many open files: this process and what it starts may have {limit} open at a time "
        "each. Raise the limit (`ulimit -n 4096`; in a container `--ulimit nofile=4096`) and "
        "repeat the command; a run that had begun continues with `fedpipe resume`."
    )


def _is_cause(err: BaseException, limit: int) -> bool:
    if isinstance(err, OSError) and err.errno in (errno.EMFILE, errno.ENFILE):
        return True
    text = str(err).lower()
    return any(phrase in text for phrase in _TEXTS) or (
        _NO_TEXT in text and _open_files() > limit - 10
    )


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError as err:
        if err.errno == errno.EMFILE:
            return 10**9
        return 0
