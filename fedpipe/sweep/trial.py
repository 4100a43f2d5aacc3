"""What one child of a sweep does in its own process: a training from data to recorded model, that
says its metric after each round.
"""

import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

from fedpipe.errors import ConfigError, DataError, FedpipeError, ModelError, PlanError, RoundError
from fedpipe.project.paths import Project
from fedpipe.runs.state import FINISHED, RunState, read_state, running
from fedpipe.system.json_lines import whole_lines
from fedpipe.system.user_code import describe_error, own_frame
from fedpipe.types import RoundReport

PRUNED = "pruned"
FAILED = "failed"
_FOR_GOOD = (RoundError, ModelError, ConfigError, PlanError, DataError)
"""Errors of the settings: the same happens again. After others, such as a store that is away, the
child can go on.
"""


class Pruned(BaseException):
    """The sweep wants no more of this child. No `Exception`: nobody is to go on after it, and its
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


def run_child(project: Project, folder: Path, line: int) -> None:
    """Run the child whose state is in `folder`, from its last checkpoint if it has one; say what
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
            f"{folder}: expected the run of a sweep's child, found none. `fedpipe sweep` starts "
            "children."
        )
    with closing(socket.socket(fileno=line)) as end, running(state):
        sink = Line(end, state.values["metric"])
        try:
            state.update(status=FINISHED, **_train(project, state, sink))
        except Pruned as err:
            state.update(status=PRUNED, reason=str(err))
        except FedpipeError as err:
            if isinstance(err, _FOR_GOOD):
                state.update(status=FAILED, reason=" ".join(str(err).split()))
            raise
        except Exception as err:
            if own_frame(err) is not None:  # the user's own code: it fails the same way again
                state.update(status=FAILED, reason=describe_error(err))
            raise


def _train(project: Project, state: RunState, sink: Line) -> dict[str, Any]:
    from fedpipe.pipeline.runtime import early_runtime

    config = state.config
    with early_runtime(config.runtime, state.folder / "worker.log"):
        from fedpipe.pipeline.evaluate import evaluate
        from fedpipe.pipeline.record import failing_with_its_run, record
        from fedpipe.pipeline.sample_clients import sample_clients
        from fedpipe.pipeline.train import train
        from fedpipe.runs.shards import load_data
        from fedpipe.runs.summary import summarize

        data = load_data(config, project)
        plan = sample_clients(config, data, state.folder)
        trained = train(config, data, plan, project, state.name, state.values["tags"], [sink])
        with failing_with_its_run(config, trained, project):
            evaluated = evaluate(config, data, trained, state.folder, project)
            recorded = record(config, data, trained, evaluated, project)
    value = score(state.folder, trained.best_round, state.values["metric"])
    summary = summarize(project, data, trained, evaluated, recorded, None, trained.seconds)
    return {"summary": summary, "value": value, "incomplete": summary["incomplete"]}


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
