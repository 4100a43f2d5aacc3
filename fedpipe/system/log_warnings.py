"""Shows the warnings of all loggers on stderr, once each, without what nobody who runs fedpipe can
change.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_OF_TFF = (
    # Secure sums: assertions that are not among a graph's dependencies. Of others, perhaps a user's
    # own, TensorFlow is heard.
    "Object was never used (type <class "
    "'tensorflow.python.framework.ops.Operation'>):\n<tf.Operation 'assert_less_equal",
    "This code path can temporarily allocate extra memory",  # compression: packing of bits
    "<function Predictor._trace",  # each run of a process traces its own model
)


def warnings_handler(debug: bool = False) -> logging.Handler:
    """Return a handler of warnings for the root logger. A library that finds none there would
    install one that shows everything.

    Prefect logs an exception of a flow with its traceback; the error says it already, so that is
    for `debug` alone. So are what TensorFlow says of how TFF's aggregators are written, dozens of
    lines, which nobody who runs them can change.
    """
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    if not debug:
        handler.addFilter(
            lambda record: (
                not (
                    record.name.startswith("prefect")
                    or any(text in str(record.msg) for text in _OF_TFF)
                )
            )
        )
    handler.setFormatter(
        (logging.Formatter if debug else _WithoutTraceback)("%(levelname)s %(name)s: %(message)s")
    )
    return handler


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Show warnings during the block, unless the program has set up logging itself."""
    # tqdm's, in every notebook without its widgets; no run draws its bars.
    warnings.filterwarnings("ignore", message="IProgress not found")
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler = warnings_handler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _WithoutTraceback(logging.Formatter):
    """Leaves out the traceback of a log record: the message says what went wrong, `--debug` shows
    where.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's message on one line."""
        plain = copy.copy(record)
        plain.exc_info = plain.exc_text = plain.stack_info = None
        return super().format(plain)
