"""The round loop on an algorithm that can be followed by hand: each round adds the number of its clients to one weight."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.base import RoundResult
from fedpipe.engine.checkpoint import Checkpoints
from fedpipe.engine.loop import run_rounds
from fedpipe.errors import RoundError
from fedpipe.types import CohortPlan, RoundReport, Turnout, Weights

PLAN = CohortPlan("fixed", 1, (("a", "b"), ("a",), ("b", "c", "d")))


class Counting:
    info: dict[str, str] = {}  # noqa: RUF012 - the protocol's property

    def initialize(self) -> float:
        return 0.0

    def expect(self, cohort: tuple[str, ...]) -> None:
        self.expected = [*getattr(self, "expected", []), cohort]

    def next(self, state: float, round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        return RoundResult(
            state + len(cohort), {"train/loss": float(round_num)}, examples=10 * len(cohort)
        )

    def weights(self, state: float) -> Weights:
        return {"w": np.array([state], np.float32)}


class Direct:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def call(self, fn: Callable[..., Any], *args: Any, label: str) -> Any:
        self.asked.append(label)
        return fn(*args)

    def take_losses(self) -> tuple[str, ...]:
        return ()


class Keeper:
    def __init__(self) -> None:
        self.reports: list[RoundReport] = []

    def round_done(self, report: RoundReport) -> None:
        self.reports.append(report)


def evaluate(weights: Weights) -> dict[str, float]:
    return {"test/loss": float(weights["w"][0])}


def test_rounds_in_order_from_the_initial_state() -> None:
    keeper, runtime = Keeper(), Direct()
    algorithm = Counting()
    result = run_rounds(algorithm, runtime, PLAN, evaluate, eval_every=1, sinks=[keeper])
    assert algorithm.expected == list(PLAN.cohorts[1:])
    assert runtime.asked == ["the initial state", "round 1", "round 2", "round 3"]
    assert [r.round_num for r in keeper.reports] == [0, 1, 2, 3]
    assert [float(r.weights["w"][0]) for r in keeper.reports] == [0, 2, 3, 6]
    assert [r.examples for r in keeper.reports] == [0, 20, 10, 30]
    assert [r.cohort for r in keeper.reports] == [(), *PLAN.cohorts]
    assert result.final == keeper.reports[3]
    assert len(result.round_seconds) == 3


def test_evaluates_first_every_k_and_last() -> None:
    keeper = Keeper()
    run_rounds(Counting(), Direct(), PLAN, evaluate, eval_every=2, sinks=[keeper])
    assert ["test/loss" in r.metrics for r in keeper.reports] == [True, False, True, True]


def test_a_round_without_reports_is_skipped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    turnouts = (
        Turnout(("a", "b"), (), (), (), 9, 2.0),
        Turnout(("a",), ("c",), (), (), 9, 3.0),
        Turnout(("d",), (), (), (), 9, 1.0),
    )
    plan = CohortPlan("poisson", 1, (("a", "b"), (), ("d",)), turnouts)
    keeper, runtime, algorithm = Keeper(), Direct(), Counting()
    result = run_rounds(algorithm, runtime, plan, evaluate, eval_every=1, sinks=[keeper])
    assert runtime.asked == ["the initial state", "round 1", "round 3"]
    assert algorithm.expected == [("d",)]
    assert [float(r.weights["w"][0]) for r in keeper.reports] == [0, 2, 2, 3]
    skipped = keeper.reports[2]
    assert (skipped.cohort, skipped.examples, skipped.metrics["test/loss"]) == ((), 0, 2.0)
    assert {
        key: skipped.metrics[f"cohort/{key}"]
        for key in ("asked", "dropped", "skipped", "simulated_seconds_total")
    } == {
        "asked": 2.0,
        "dropped": 1.0,
        "skipped": 1.0,
        "simulated_seconds_total": 5.0,
    }
    assert len(result.round_seconds) == 2
    assert (
        "round 2: skipped, the weights stay: 2 clients asked, 1 would report, fewer than cohort.min_reports."
        in caplog.text
    )


def test_stop_ends_the_run_with_a_checkpoint_and_resuming_it_does_nothing(tmp_path: Path) -> None:
    def checkpoints() -> Checkpoints:
        return Checkpoints(tmp_path, {"plan": "x"}, every=5, keep=2)

    for asked in (["the initial state", "round 1", "round 2"], ["the initial state"]):
        keeper, runtime = Keeper(), Direct()
        result = run_rounds(
            Counting(),
            runtime,
            PLAN,
            evaluate,
            1,
            [keeper],
            checkpoints(),
            lambda report: report.round_num == 2,
        )
        assert runtime.asked == asked
        assert (result.final.round_num, float(result.final.weights["w"][0])) == (2, 3.0)


def test_a_sink_that_fails_ends_the_run() -> None:
    class Broken:
        def round_done(self, report: RoundReport) -> None:
            if report.round_num == 2:
                raise OSError("disk full")

    keeper = Keeper()
    with pytest.raises(OSError, match="disk full"):
        run_rounds(Counting(), Direct(), PLAN, evaluate, eval_every=1, sinks=[keeper, Broken()])
    assert [r.round_num for r in keeper.reports] == [0, 1, 2]


def test_weights_that_are_not_finite_end_the_run() -> None:
    class Diverging(Counting):
        def weights(self, state: float) -> Weights:
            return {"w": np.array([np.nan if state == 3 else state], np.float32)}

    with pytest.raises(
        RoundError, match=r"round 2: expected finite server weights, found NaN or infinity in w"
    ):
        run_rounds(Diverging(), Direct(), PLAN, evaluate, eval_every=1, sinks=[])


@pytest.mark.parametrize("broken_at", [1, 2, 3])
def test_a_run_that_goes_on_ends_as_one_without_interruption(
    tmp_path: Path, broken_at: int
) -> None:
    """Counting's state is a number; the sinks see the round of the checkpoint again, and every later one once."""

    class Killed(Keeper):
        def round_done(self, report: RoundReport) -> None:
            if report.round_num == broken_at:
                raise KeyboardInterrupt
            super().round_done(report)

    def checkpoints() -> Checkpoints:
        return Checkpoints(tmp_path, {"plan": "x"}, every=1, keep=2)

    whole, first, second = Keeper(), Killed(), Keeper()
    expected = run_rounds(Counting(), Direct(), PLAN, evaluate, 1, [whole])
    with pytest.raises(KeyboardInterrupt):
        run_rounds(Counting(), Direct(), PLAN, evaluate, 1, [first], checkpoints())
    found = run_rounds(Counting(), Direct(), PLAN, evaluate, 1, [second], checkpoints())
    assert float(found.final.weights["w"][0]) == float(expected.final.weights["w"][0])
    assert [r.round_num for r in first.reports] == list(range(broken_at))
    assert [r.round_num for r in second.reports] == list(range(broken_at - 1, 4))
    assert found.final.metrics == expected.final.metrics
    again, runtime = Keeper(), Direct()
    run_rounds(Counting(), runtime, PLAN, evaluate, 1, [again], checkpoints())
    assert ([r.round_num for r in again.reports], runtime.asked) == ([3], ["the initial state"])


def test_a_metric_that_cannot_be_recorded_ends_the_run_in_its_round_before_anyone_has_it() -> None:
    class Odd(Counting):
        def next(self, state: float, *_: Any) -> RoundResult:
            return RoundResult(state, {"update norm (L2)": 1.0}, examples=1)

    keeper = Keeper()
    with pytest.raises(
        RoundError,
        match=r"round 1, metrics of the algorithm: metric 'update norm \(L2\)': it has '\(' and '\)'\. A name may",
    ):
        run_rounds(Odd(), Direct(), PLAN, evaluate, 1, [keeper])
    assert [report.round_num for report in keeper.reports] == [0]


def test_metrics_of_other_libraries_become_floats() -> None:
    class Wide(Counting):
        def next(self, state: float, *_: Any) -> RoundResult:
            return RoundResult(
                state, {"a": np.float32(0.5), "b": np.array(float("nan"))}, examples=1
            )  # type: ignore[dict-item]

    keeper = Keeper()
    run_rounds(Wide(), Direct(), PLAN, evaluate, 1, [keeper])
    assert {type(value) for report in keeper.reports for value in report.metrics.values()} == {
        float
    }


def test_a_resumed_run_evaluates_no_round_again(tmp_path: Path) -> None:
    def checkpoints() -> Checkpoints:
        return Checkpoints(tmp_path, {}, every=1, keep=2)

    evaluated: list[float] = []

    def noting_evaluate(weights: Weights) -> dict[str, float]:
        evaluated.append(float(weights["w"][0]))
        return evaluate(weights)

    def after_round_2(report: RoundReport) -> bool:
        return report.round_num == 2

    run_rounds(
        Counting(), Direct(), PLAN, noting_evaluate, 1, [Keeper()], checkpoints(), after_round_2
    )
    assert evaluated == [0.0, 2.0, 3.0]
    evaluated.clear()
    keeper = Keeper()
    run_rounds(Counting(), Direct(), PLAN, noting_evaluate, 1, [keeper], checkpoints())
    assert evaluated == [6.0]
    assert [report.metrics["test/loss"] for report in keeper.reports] == [3.0, 6.0]


def test_a_resumed_run_sends_the_whole_report_of_its_last_round_again(tmp_path: Path) -> None:
    def reports(stop_after: int) -> list[RoundReport]:
        keeper = Keeper()
        run_rounds(
            Counting(),
            Direct(),
            PLAN,
            evaluate,
            1,
            [keeper],
            Checkpoints(tmp_path, {"plan": "x"}, every=1, keep=2),
            lambda report: report.round_num == stop_after,
        )
        return keeper.reports

    interrupted = reports(stop_after=2)[-1]
    resumed = reports(stop_after=3)[0]
    assert interrupted.cohort == ("a",)
    assert interrupted.seconds > 0
    assert resumed == interrupted


def test_seconds_of_a_report_are_those_of_its_round() -> None:
    keeper = Keeper()
    result = run_rounds(Counting(), Direct(), PLAN, evaluate, eval_every=1, sinks=[keeper])
    assert tuple(report.seconds for report in keeper.reports[1:]) == result.round_seconds
