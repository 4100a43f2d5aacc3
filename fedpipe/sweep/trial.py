"""Runs one trial of a sweep in its own process: a training from data to recorded model, which
sends its metric after each round.
"""

import json
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from fedpipe.errors import ConfigError, DataError, FedpipeError, ModelError, PlanError, RoundError
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.state import RunState, read_state
from fedpipe.status import RunStatus
from fedpipe.system.json_lines import whole_lines
from fedpipe.system.user_code import describe_error, own_frame
from fedpipe.types import RoundReport

_FOR_GOOD = (RoundError, ModelError, ConfigError, PlanError, DataError)
"""Errors of the settings: the same happens again. After others, such as a store that is away, the
trial can go on.
"""


class Pruned(BaseException):
    """Raised in a trial that is pruned. No `Exception`: nothing continues after it, and its
    MLflow run was ended from outside.
    """


class Line:
    """A `RoundSink` that says the metric of each validated round to the sweep and waits for its
    answer.
    """

    def __init__(self, line: socket.socket, metric: str) -> None:
        """Take the socket and the metric's key."""
        self._socket = line
        self._file = line.makefile("r", encoding="utf-8")
        self._metric = metric

    def round_done(self, report: RoundReport) -> None:
        """Say the round's metric, if it has it. Raises Pruned if the sweep says so, or is gone."""
        if self._metric not in report.metrics:
            return
        try:
            self._socket.sendall(
                json.dumps(
                    {"round": report.round_num, "value": report.metrics[self._metric]}
                ).encode()
                + b"\n"
            )
            answer = self._file.readline()
        except OSError:
            answer = ""
        if not answer:
            raise SystemExit("the sweep is gone")
        why = json.loads(answer)["end"]
        if why is not None:
            raise Pruned(why)


def run_trial(project: Project, folder: Path, line: int) -> None:
    """Run the trial whose state is in `folder`, from its last checkpoint if it has one; say what
    became of it in its state.

    Args:
        project: where.
        folder: of its run.
        line: descriptor of the socket to the sweep.

    Raises:
        FedpipeError: what a step raised.
    """
    state = read_state(folder)
    if state is None:
        raise ConfigError(
            f"{folder}: expected the run of a sweep's trial, found none. `fedpipe sweep` starts "
            "trials."
        )
    with closing(socket.socket(fileno=line)) as end, state.alive():
        sink = Line(end, state.values["metric"])
        try:
            _train(project, state, sink)
        except Pruned as err:
            state.update(status=RunStatus.PRUNED, reason=str(err))
        except FedpipeError as err:
            if isinstance(err, _FOR_GOOD):
                state.update(status=RunStatus.FAILED, reason=" ".join(str(err).split()))
            raise
        except Exception as err:
            if own_frame(err) is not None:  # the user's own code: it fails the same way again
                state.update(status=RunStatus.FAILED, reason=describe_error(err))
            raise


def _train(project: Project, state: RunState, sink: Line) -> None:
    from fedpipe.pipeline.runtime import started_runtime

    run = RunContext.of_state(project, state)
    with started_runtime(run.config.runtime, run.folder) as runtime:
        from fedpipe.pipeline.full_run import mark_finished, plain_steps, run_pipeline

        run = replace(run, sinks=(sink,), runtime=runtime)
        summary = run_pipeline(run, plain_steps(), state.values["tags"])
    values = {}
    if state.values["entry"] == "sweep":
        values["value"] = score(run.folder, summary["best_round"], state.values["metric"])
    mark_finished(run, summary, **values)


def score(folder: Path, best_round: int | None, metric: str) -> float:
    """Return the metric of the round that validation chose; NaN where no round had a validation
    accuracy that is a number.
    """
    rows = whole_lines(folder / "rounds.jsonl")
    return float(
        next(
            (row[metric] for row in rows if row["round"] == best_round and metric in row),
            float("nan"),
        )
    )
