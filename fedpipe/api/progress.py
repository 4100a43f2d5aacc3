"""The progress of a run that Python code started: one line that changes, in a notebook or a
terminal.
"""

import html
import importlib
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from fedpipe.system.lasting_thread import StopRequest
from fedpipe.types import RoundReport

_SECONDS_BETWEEN = 0.1
"""Least time between two changes of the line."""


class ProgressLine:
    """Shows one line: start-up, then each round with its figures. Nothing is shown where nobody
    watches: quiet, or in a log file.
    """

    def __init__(
        self, rounds: int, quiet: bool, stop: StopRequest, metric: str = "accuracy"
    ) -> None:
        """Take the number of rounds and the metric that is shown beside the loss; `stop` ends the
        training at the next round.
        """
        self._metric = metric
        self._rounds = rounds
        self._stop = stop
        self._show = _no_line if quiet else _line_writer()
        self._text = ""
        self._last_shown = 0.0
        self._last_round = time.perf_counter()

    def __enter__(self) -> Self:
        """Show that the run starts."""
        self._set("starting", now=True)
        return self

    def downloads(self, received: int, total: int | None) -> None:
        """Show a download: the bytes that are there, and the bytes of the whole."""
        whole = "" if total is None else f" of {total / 1e6:.1f}"
        self._set(f"download: {received / 1e6:.1f}{whole} MB", now=False)

    def round_done(self, report: RoundReport) -> None:
        """Show a round. Raises KeyboardInterrupt if the training is asked to stop."""
        now = time.perf_counter()
        rate = len(report.cohort) / max(now - self._last_round, 1e-9)
        self._last_round = now
        shown = shown_figures(report.metrics, self._metric)
        figures = [f"{key} {value:.4f}" for key, value in shown.items()]
        if report.round_num:
            figures.append(f"{rate:.0f} clients/s")
        text = "  ".join([f"round {report.round_num}/{self._rounds}", *figures])
        self._set(text, now=report.round_num in (0, self._rounds))
        self._stop.raise_if_set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last line as it stands."""
        self._show(self._text, True)

    def _set(self, text: str, now: bool) -> None:
        self._text = text
        if now or time.monotonic() - self._last_shown >= _SECONDS_BETWEEN:
            self._last_shown = time.monotonic()
            self._show(text, False)


def shown_figures(metrics: Mapping[str, float], metric: str) -> dict[str, float]:
    """Return loss and one more metric of the first split that a round has: test, validation or
    train.

    >>> shown_figures({"train/loss": 1.0, "test/loss": 2.0, "test/auroc": 0.5}, "auroc")
    {'test/loss': 2.0, 'test/auroc': 0.5}
    """
    for split in ("test", "validation", "train"):
        keys = (f"{split}/loss", f"{split}/{metric}")
        figures = {key: metrics[key] for key in keys if key in metrics}
        if figures:
            return figures
    return {}


def in_notebook() -> bool:
    """Return whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _line_writer() -> Any:
    if in_notebook():
        return _NotebookLine()
    if sys.stderr.isatty():
        return _terminal_line
    return _no_line


def _no_line(_text: str, _last: bool) -> None:
    """Show nothing."""


def _terminal_line(text: str, last: bool) -> None:
    sys.stderr.write(f"\r\x1b[K{text}" + "\n" * last)
    sys.stderr.flush()


class _NotebookLine:
    """A line below the notebook's cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, text: str, _last: bool) -> None:
        display: Any = importlib.import_module("IPython.display")

        shown = display.HTML(f"<code>{html.escape(text)}</code>")
        if self._handle is None:
            self._handle = display.display(shown, display_id=True)
        else:
            self._handle.update(shown)
