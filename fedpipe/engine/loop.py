"""The one round loop. Every algorithm runs through it; a `RoundSink` takes the report of each
round.

    round 0   initialize -> evaluate -> report -> save
    round r   next(state, r, cohort of r) -> check -> evaluate, every k rounds and at the last
              -> report -> save
              a round whose cohort is empty is skipped: the state stays, and is reported and saved;
              an algorithm whose `takes_empty_cohorts` is true is asked for such a round too

A resumed run starts from its last checkpoint: it sends the report of that round again, because a
crash may have kept it from the sinks, and continues with the next round. A sink skips a report that
it has.

It imports neither TFF nor a store: the algorithm brings the computations, the runtime runs them,
sinks take the reports.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from fedpipe.algorithms.base import Algorithm, RoundResult
from fedpipe.engine.checkpoint import Checkpoint, Checkpoints
from fedpipe.engine.server_state import restore
from fedpipe.errors import RoundError
from fedpipe.metric_names import checked_metrics
from fedpipe.types import CohortPlan, RoundReport, RoundSink, Weights

logger = logging.getLogger("fedpipe.engine")

Evaluate = Callable[[Weights], dict[str, float]]
"""Takes the server's weights, returns metrics such as `test/loss` and `test/accuracy`."""


class Caller(Protocol):
    """The methods of a runtime that the loop calls."""

    def call(self, fn: Callable[..., Any], *args: Any, label: str) -> Any:
        """Return fn(*args), computed on the TFF worker; `label` names the work in errors."""

    def take_losses(self) -> tuple[str, ...]:
        """Return the machines that were lost since it was last asked, `host:port: why`."""


@dataclass(frozen=True)
class LoopResult:
    """The last report, and the wall seconds of each round that was run here, without its
    evaluation.
    """

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
    stop: Callable[[RoundReport], bool] | None = None,
) -> LoopResult:
    """Run all rounds of the plan that are not done yet, or up to where `stop` says so, and return
    the last report.

    Args:
        algorithm: the algorithm, bound to its model and population.
        runtime: runs the algorithm's computations.
        plan: the cohort of every round.
        evaluate: evaluates the server's weights at round 0, each `eval_every` rounds, and the last.
        eval_every: rounds between evaluations, at least 1.
        sinks: take each report, in order; the first that raises ends the run.
        checkpoints: the run's; the run resumes from the newest.
        stop: asked after each report, once the sinks have it, whether this round is the last; a
            function of the reports so far.

    Raises:
        RoundError: a round made weights that are not finite or metrics that cannot be recorded, or
            the algorithm could not complete it.
        WorkerError: the worker was lost more often than the runtime may replace it.
        CheckpointError: a checkpoint could not be written, or is not this run's.
    """
    state = runtime.call(algorithm.initialize, label="the initial state")
    checkpoint = checkpoints.latest() if checkpoints else None
    if checkpoint is not None:
        state = restore(state, checkpoint.leaves)
        report = _report_of(checkpoint, plan, algorithm.weights(state))
    else:
        weights = algorithm.weights(state)
        report = RoundReport(0, (), (), evaluate(weights), examples=0, seconds=0.0, weights=weights)
    _send(report, sinks)
    if checkpoints and checkpoint is None:
        checkpoints.save(state, report, last=False)
    seconds: list[float] = []
    if stop is not None and stop(report):
        return LoopResult(report, ())
    with checkpoints or nullcontext():  # what is being saved when a round is given up is saved
        for round_num in range(report.round_num + 1, len(plan) + 1):
            if round_num < len(plan) and plan.cohort(round_num + 1):
                algorithm.expect(plan.cohort(round_num + 1))
            result, took = _run_round(algorithm, runtime, plan, state, round_num)
            if took is not None:
                seconds.append(took)
            state = result.state
            weights = algorithm.weights(state)
            _refuse_not_finite(weights, round_num)
            metrics = plan.metrics(round_num, took is None) | _metrics_of(result, round_num)
            if round_num % eval_every == 0 or round_num == len(plan):
                metrics |= evaluate(weights)
            report = RoundReport(
                round_num,
                plan.cohort(round_num),
                result.failed,
                metrics,
                result.examples,
                took or 0.0,
                weights,
                lost=runtime.take_losses(),
            )
            _send(report, sinks)
            is_last = round_num == len(plan) or (stop is not None and stop(report))
            if checkpoints:
                checkpoints.save(state, report, last=is_last)
            if is_last:
                break
    return LoopResult(report, tuple(seconds))


def _run_round(
    algorithm: Algorithm, runtime: Caller, plan: CohortPlan, state: Any, round_num: int
) -> tuple[RoundResult, float | None]:
    """Return the result of a round and its wall seconds; None where it is skipped because nobody
    reports.
    """
    cohort = plan.cohort(round_num)
    if not cohort and not getattr(algorithm, "takes_empty_cohorts", False):
        _warn_skipped(plan, round_num)
        return RoundResult(state, {}, examples=0), None
    start = time.perf_counter()
    result: RoundResult = runtime.call(
        algorithm.next, state, round_num, cohort, label=f"round {round_num}"
    )
    return result, time.perf_counter() - start


def _warn_skipped(plan: CohortPlan, round_num: int) -> None:
    if plan.turnouts:
        turnout = plan.turnouts[round_num - 1]
        logger.warning(
            "round %d: skipped, the weights stay: %d clients asked, %d would report, fewer than "
            "cohort.min_reports.",
            *(round_num, turnout.asked, len(turnout.reported)),
        )


def _report_of(checkpoint: Checkpoint, plan: CohortPlan, weights: Weights) -> RoundReport:
    number = checkpoint.round_num
    cohort = plan.cohort(number) if number else ()
    return replace(checkpoint.report, cohort=cohort, weights=weights)


def _send(report: RoundReport, sinks: Sequence[RoundSink]) -> None:
    for sink in sinks:
        sink.round_done(report)


def _metrics_of(result: RoundResult, round_num: int) -> dict[str, float]:
    try:
        return checked_metrics(result.metrics, f"round {round_num}, metrics of the algorithm")
    except ValueError as err:
        raise RoundError(str(err)) from err


def _refuse_not_finite(weights: Weights, round_num: int) -> None:
    broken = [name for name, value in weights.items() if not np.isfinite(value).all()]
    if broken:
        raise RoundError(
            f"round {round_num}: expected finite server weights, found NaN or infinity in "
            f"{', '.join(broken)}. Lower client.learning_rate or server.learning_rate."
        )
