"""Hides secrets in texts that leave the process through others: log records, tracebacks,
exceptions of other packages.

`watch_outlets` covers the first two for the whole process; `scrubbed` covers exceptions that are
passed on to Prefect, which keeps their text.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from fedpipe.errors import error_chain
from fedpipe.redact import hide

_make_record = logging.getLogRecordFactory()


def watch_outlets() -> None:
    """Hide secrets in every log record of this process, and in the traceback with which it may end.
    A second call changes nothing.
    """
    logging.setLogRecordFactory(_hidden_record)
    sys.excepthook = _hidden_traceback


@contextmanager
def scrubbed() -> Iterator[None]:
    """Hide secrets in the text of whatever exception leaves the block, and of its causes; the
    exception stays the same otherwise.
    """
    try:
        yield
    except BaseException as err:
        scrub(err)
        raise


def scrub(err: BaseException) -> None:
    """Hide secrets in the arguments of an exception and of those that it came from."""
    for cause in error_chain(err):
        cause.args = tuple(
            hide(argument) if isinstance(argument, str) else argument for argument in cause.args
        )
        # OSError shows the first two in place of its arguments, MLflow's errors the third.
        for name in ("strerror", "filename", "message"):
            value = getattr(cause, name, None)
            if isinstance(value, str):
                with suppress(AttributeError):  # computed, from what is hidden by now
                    setattr(cause, name, hide(value))


def _hidden_record(*args: Any, **named: Any) -> logging.LogRecord:
    record = _make_record(*args, **named)
    try:
        message = record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit: logging reports that itself
        return record
    hidden = hide(message)
    if hidden != message:  # else untouched: some formatters read the arguments
        record.msg = hidden
        record.args = ()
    if record.exc_info and record.exc_info[1] is not None:
        whole = "".join(traceback.format_exception(record.exc_info[1]))
        if (hidden := hide(whole)) != whole:
            record.exc_text = hidden.rstrip("\n")
            record.exc_info = None
    return record


def _hidden_traceback(
    kind: type[BaseException], err: BaseException, trace: TracebackType | None
) -> None:
    sys.stderr.write(hide("".join(traceback.format_exception(kind, err, trace))))
