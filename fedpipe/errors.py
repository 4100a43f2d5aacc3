"""The tree of errors that fedpipe raises on purpose.

Every message says what was expected, what was found, where, and what to do next. The command line prints the message on
one line and exits with `exit_code`; a traceback is shown with `--debug` alone. Passwords and tokens are hidden in every message.
"""

import signal
from collections.abc import Iterable

from fedpipe.redact import hide


class FedpipeError(Exception):
    """Base of all errors that a user can mend; the command line exits with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        """Take the message; whoever reads it, secrets in it are hidden from here on."""
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
    """The command was stopped by Ctrl-C or SIGTERM; the message names the command that continues."""

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
    return f"{text} (+{len(listed) - limit})" if len(listed) > limit else text


def reason_of(err: BaseException) -> str:
    """Return why something did not come to its end, as a run's tag says it.

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
