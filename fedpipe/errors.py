"""The tree of errors that fedpipe raises on purpose.

Every message says what was expected, what was found, where, and what to do next. The command line
prints the message on one line and exits with `exit_code`; a traceback is shown with `--debug`
alone. Passwords and tokens are hidden in every message.
"""

import difflib
import re
import signal
from collections.abc import Iterable

from fedpipe.redact import hide

_ERROR_LINE = re.compile(
    r"\s*(?:ERROR|error|fatal|FATAL|CRITICAL|fedpipe):\s|[\w.]*(?:Error|Exception|Timeout)\b:?|unexpected "
    r"error|'[^']+' (?:validation failed|is invalid)"
)


class FedpipeError(Exception):
    """Base of all errors that a user can fix; the command line exits with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        """Take the message; secrets in it are hidden from here on."""
        super().__init__(hide(message))


class ConfigError(FedpipeError):
    """A params file or an override is not valid."""


class DataError(FedpipeError):
    """A source, a shard or a manifest is missing, damaged or does not fit the settings."""


class PlanError(FedpipeError):
    """The cohort plan cannot be drawn, or does not fit the population."""


class ModelError(FedpipeError):
    """A model does not fit its data, or its weights cannot be read."""


class RoundError(FedpipeError):
    """A round could not be completed; the message names the round and the clients."""


class WorkerError(FedpipeError):
    """The TFF worker did not start, died, or did not answer in time."""


class CheckpointError(FedpipeError):
    """A checkpoint cannot be written, or belongs to another run."""


class TrackingError(FedpipeError):
    """The MLflow store cannot be reached or written."""


class StoppedError(FedpipeError):
    """The command was stopped by Ctrl-C or SIGTERM; the message names the command that
    continues.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        """Take the message and the exit code, 130 or 143."""
        super().__init__(message)
        self.exit_code = exit_code


class EnvironmentProblem(FedpipeError):
    """A program, a right or a resource that fedpipe needs is not there."""


def shorten(items: Iterable[object], limit: int = 10) -> str:
    """Return the items joined by commas, cut at `limit` with the count of what was left out.

    >>> shorten(["a", "b", "c"], limit=2)
    'a, b (+1)'
    """
    listed = [str(item) for item in items]
    text = ", ".join(listed[:limit])
    if len(listed) > limit:
        return f"{text} (+{len(listed) - limit})"
    return text


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the question that names the nearest of `names`, as a sentence; empty if none is near.

    >>> did_you_mean("frist", ["first", "second"])
    "Did you mean 'first'?"
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return ""


def program_error(output: str, limit: int = 600) -> str:
    """Return the reason that a program gave for its failure, on one line, without secrets: from its
    last error line on.

    An error line is one that says so (`ERROR:`, `fatal:`, `error:`, `SomeError:`); without one it
    is the last line.

    >>> program_error("Running stage 'a':\\n> false\\nERROR: failed to reproduce 'a': failed to run: false, exited with 1\\n")
    "ERROR: failed to reproduce 'a': failed to run: false, exited with 1"
    """
    lines = [line for line in output.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if _ERROR_LINE.match(line)]
    text = hide(
        " ".join(" ".join(lines[starts[-1] if starts else -1 :]).split())
    )  # hidden before it is cut: half a password is not found
    if len(text) <= limit:
        return text
    return f"{text[:limit]} ..."


def reason_of(err: BaseException) -> str:
    """Return why something did not finish, as a run's tag says it.

    >>> reason_of(ValueError("no"))
    'ValueError: no'
    >>> reason_of(KeyboardInterrupt())
    'interrupted (Ctrl-C)'
    """
    if isinstance(err, KeyboardInterrupt):
        return "interrupted (Ctrl-C)"
    number = getattr(err, "signal", None)  # Prefect's TerminationSignal, which has no text
    if number is not None:
        return f"cancelled, or told to end by {signal.Signals(number).name}"
    return f"{type(err).__name__}: {err}"


def error_chain(err: BaseException) -> list[BaseException]:
    """Return an error and those that it came from."""
    errors: list[BaseException] = []
    cause: BaseException | None = err
    while cause is not None and cause not in errors:
        errors.append(cause)
        cause = cause.__cause__ or cause.__context__
    return errors
