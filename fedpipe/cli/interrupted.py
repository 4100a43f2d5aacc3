"""What Ctrl-C and SIGTERM say: that the command was stopped, and the command that continues its
work.
"""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fedpipe.errors import StoppedError

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class NextStep:
    """The sentence that is printed if the command is stopped now; empty where there is nothing to
    say.
    """

    def __init__(self, text: str) -> None:
        """Start with `text`."""
        self.text = text

    def resume(self, name: str) -> None:
        """Say that a run has begun, in a folder called `name`, and can be resumed."""
        self.text = f"Continue with: fedpipe resume {shlex.quote(name)}"


@contextmanager
def stoppable(text: str) -> Iterator[NextStep]:
    """Turn Ctrl-C or SIGTERM in the block into an error that says how to continue.

    Args:
        text: the next step, as a sentence; the block may change it.

    Raises:
        StoppedError: the command was stopped; exit code 130 or 143.
    """
    step = NextStep(text)
    try:
        yield step
    except KeyboardInterrupt as err:
        raise StoppedError(_message("interrupted", step), INTERRUPTED) from err
    except SystemExit as err:
        if err.code != TERMINATED:
            raise
        raise StoppedError(_message("terminated (SIGTERM)", step), TERMINATED) from err


def again() -> str:
    """Return the command that was typed."""
    return shlex.join(["fedpipe", *sys.argv[1:]])


def _message(happened: str, step: NextStep) -> str:
    if step.text:
        return f"{happened}. {step.text}"
    return happened
