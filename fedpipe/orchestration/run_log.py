"""The log of a flow run: what each step did, in the place of Prefect's `Finished in state
Completed()`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from fedpipe.redact import hide

_EMPTY = "Finished in state Completed()"


class _NoEmptyLines(logging.Filter):
    """Drops the line that says of a step that it has ended, and nothing else; the step's own line
    says it with its result.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return record.getMessage() != _EMPTY


_FILTER = _NoEmptyLines()


def say_results_only() -> None:
    """Keep Prefect's empty closing lines out of the log of flow runs of this process. A second call
    changes nothing.
    """
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_FILTER)


def say(text: str) -> None:
    """Add a line to the log of the run, or of the step, that this code runs in; outside of one
    there is no log.
    """
    try:
        logger = get_run_logger()
    except MissingContextError:
        return
    logger.info("%s", hide(text))


def figures_line(
    before: Mapping[str, float], after: Mapping[str, float], metric: str = "accuracy"
) -> str:
    """Return a metric and loss before and after as one line, without those that are missing.

    >>> figures_line({"test/accuracy": 0.1}, {"test/accuracy": 0.9, "test/loss": 0.5})
    'test accuracy 0.1000 before, test accuracy 0.9000 after, test loss 0.5000 after'
    """
    return ", ".join(
        f"{key.replace('/', ' ')} {values[key]:.4f} {when}"
        for key in (f"test/{metric}", "test/loss")
        for when, values in (("before", before), ("after", after))
        if key in values
    )


def result_line(summary: Mapping[str, Any], metric: str = "accuracy") -> str:
    """Return the result of a training as one line: a metric and loss before and after, and the best
    round's.

    >>> figures = {"test/accuracy": 0.1, "test/loss": 2.3026}
    >>> result_line({"rounds": 3, "initial": figures, "final": {"test/accuracy": 0.9, "test/loss": 0.5}})
    'result after 3 rounds: test accuracy 0.1000 -> 0.9000, test loss 2.3026 -> 0.5000'
    """
    before = summary["initial"]
    after = summary["final"]
    shown = [
        f"{key.replace('/', ' ')} {before[key]:.4f} -> {after[key]:.4f}"
        for key in (f"test/{metric}", "test/loss")
        if key in after and key in before
    ]
    line = f"result after {summary['rounds']} rounds: {', '.join(shown)}"
    best = summary.get("best")
    key = f"test/{metric}"
    if best and key in best:
        line += f"; best round {summary['best_round']}: test {metric} {best[key]:.4f}"
    if summary.get("incomplete"):
        line += f"; missing: {', '.join(summary['incomplete'])}"
    return line
