"""The one round loop. Every algorithm runs through it; whoever wants to know of rounds is a `RoundSink`.

    round 0   initialize -> evaluate -> report -> save
    round r   next(state, r, cohort of r) -> check -> evaluate, every k rounds and at the last -> report -> save

A run that goes on starts from its last checkpoint: it sends that round's report again, since it is not known whether the sinks had
it, and goes on with the next round. A sink passes over what it has.

It imports neither TFF nor a store: the algorithm brings the computations, the runtime runs them, sinks take the reports.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fedpipe.algorithms.base import Algorithm
from fedpipe.engine.checkpoint import Checkpoint, Checkpoints, restore
from fedpipe.errors import RoundError
from fedpipe.types import CohortPlan, RoundReport, RoundSink, Weights

Evaluate = Callable[[Weights], dict[str, float]]
"""Takes the server's weights, returns metrics such as `test/loss` and `test/accuracy`."""


class Caller(Protocol):
    """What the loop asks of a runtime."""

    def call(self, fn: Callable[..., Any], *args: Any, what: str) -> Any:
        """Return fn(*args), computed on the TFF worker; `what` names the work in errors."""


@dataclass(frozen=True)
class LoopResult:
    """The last report, and the wall seconds of each round that was run here, without its evaluation."""

    final: RoundReport
    round_seconds: tuple[float, ...]


def run_rounds(
    algorithm: Algorithm,
    runtime: Caller,
    plan: CohortPlan,
    evaluate: Evaluate,
    eval_every: int,
    sinks: Sequence[RoundSink],
    checkpoints: Checkpoints | None = None,
) -> LoopResult:
    """Run all rounds of the plan that are not done yet and return the last report.

    Args:
        algorithm: the algorithm, bound to its model and population.
        runtime: runs the algorithm's computations.
        plan: the cohort of every round.
        evaluate: evaluates the server's weights at round 0, each `eval_every` rounds, and the last.
        eval_every: rounds between evaluations, at least 1.
        sinks: take each report, in order; the first that raises ends the run.
        checkpoints: the run's; the newest is where it goes on.

    Raises:
        RoundError: a round made weights that are not finite, or the algorithm could not complete it.
        WorkerError: the worker was lost more often than the runtime may replace it.
        CheckpointError: a checkpoint could not be written, or is not this run's.
    """
    state = runtime.call(algorithm.initialize, what="the initial state")
    found = checkpoints.latest() if checkpoints else None
    if found is not None:
        state = restore(state, found.leaves)
        report = _report_of(found, plan, algorithm.weights(state))
    else:
        weights = algorithm.weights(state)
        report = RoundReport(0, (), (), evaluate(weights), examples=0, seconds=0.0, weights=weights)
    _send(report, sinks)
    if checkpoints and found is None:
        checkpoints.save(state, report, last=False)
    seconds = []
    with checkpoints or nullcontext():  # what is being saved when a round is given up is saved
        for round_num in range(report.round_num + 1, len(plan) + 1):
            cohort = plan.cohort(round_num)
            if round_num < len(plan):
                algorithm.expect(plan.cohort(round_num + 1))
            start = time.perf_counter()
            result = runtime.call(algorithm.next, state, round_num, cohort, what=f"round {round_num}")
            seconds.append(time.perf_counter() - start)
            state = result.state
            weights = algorithm.weights(state)
            _refuse_not_finite(weights, round_num)
            metrics = dict(result.metrics)
            if round_num % eval_every == 0 or round_num == len(plan):
                metrics |= evaluate(weights)
            report = RoundReport(round_num, cohort, result.failed, metrics, result.examples, seconds[-1], weights)
            _send(report, sinks)
            if checkpoints:
                checkpoints.save(state, report, last=round_num == len(plan))
    return LoopResult(report, tuple(seconds))


def _report_of(checkpoint: Checkpoint, plan: CohortPlan, weights: Weights) -> RoundReport:
    kept, number = checkpoint.report, checkpoint.round_num
    cohort = plan.cohort(number) if number else ()
    return RoundReport(number, cohort, tuple(kept["failed"]), kept["metrics"], kept["examples"], kept["seconds"], weights)


def _send(report: RoundReport, sinks: Sequence[RoundSink]) -> None:
    for sink in sinks:
        sink.round_done(report)


def _refuse_not_finite(weights: Weights, round_num: int) -> None:
    broken = [name for name, value in weights.items() if not np.isfinite(value).all()]
    if broken:
        raise RoundError(
            f"round {round_num}: expected finite server weights, found NaN or infinity in {', '.join(broken)}. "
            "Lower client.learning_rate or server.learning_rate."
        )
