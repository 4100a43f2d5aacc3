"""From the finished runs of a study to cells, comparisons, curves and ranks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from fedpipe.errors import ConfigError
from fedpipe.runs.state import RunState
from fedpipe.study.plan import Plan, PlannedRun
from fedpipe.study.statistics import (
    ALPHA,
    Difference,
    Summary,
    corrected,
    difference,
    mean_ranks,
    summarize,
)
from fedpipe.system.json_lines import whole_lines

Condition = dict[str, Any]
_BYTES = ("traffic/up_bytes", "traffic/down_bytes")


@dataclass(frozen=True)
class FinishedRun:
    """A run of a study.

    Attributes:
        planned: what it is.
        run_id: its MLflow run.
        score: the metric, of the round that validation chose, else of the last.
        rows: metrics of each round by key, with `round`.
        weights_sha256: of the final weights.
        commit: of the code.
        round_seconds: median wall time of a round, without its evaluation.
    """

    planned: PlannedRun
    run_id: str
    score: float
    rows: tuple[dict[str, float], ...]
    weights_sha256: str
    round_seconds: float
    commit: str = "none"

    @classmethod
    def read(cls, planned: PlannedRun, state: RunState, metric: str) -> Self:
        """Return the run whose files are in the folder of `state`.

        Raises:
            ConfigError: it does not have the metric, or has no number there.
        """
        summary = state.values["summary"]
        rows = tuple(whole_lines(state.folder / "rounds.jsonl"))
        chosen = dict(rows[-1]) | (summary["best"] or summary["final"])
        if summary["best_round"] is not None:
            chosen |= next((r for r in rows if r["round"] == summary["best_round"]), {})
            chosen |= summary["best"] or {}
        score = chosen.get(metric, math.nan)
        if not math.isfinite(score):
            known = sorted(key for key in chosen if key.startswith(metric.partition("/")[0]))
            raise ConfigError(
                f"metric={metric}: expected a number in run {state.name}, found {score}. It has "
                f"{', '.join(known) or 'none of that split'}."
            )
        return cls(
            planned,
            summary["run_id"],
            score,
            rows,
            summary["weights_sha256"],
            summary["seconds"]["round_median"],
            summary["git_commit"],
        )

    def reached(
        self, metric: str, target: float, higher_is_better: bool
    ) -> tuple[int, float, float] | None:
        """Return the first round whose metric reaches a target, and the bytes and seconds until
        then; None if no round does.
        """
        sent = 0.0
        for row in self.rows:
            sent += sum(row.get(key, 0.0) for key in _BYTES)
            value = row.get(metric, math.nan)
            if value >= target if higher_is_better else value <= target:
                return int(row["round"]), sent, row["round"] * self.round_seconds
        return None


@dataclass(frozen=True)
class Cell:
    """An arm in a condition.

    Attributes:
        scores: one for each seed, in the order of the study's seeds.
        rounds_to_target, bytes_to_target, seconds_to_target: medians over the seeds that reach the
            target; None where none does, or there is none.
        reached: how many seeds reach it.
    """

    arm: str
    condition: Condition
    summary: Summary
    scores: tuple[float, ...]
    reached: int | None = None
    rounds_to_target: float | None = None
    bytes_to_target: float | None = None
    seconds_to_target: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two arms in a condition: a minus b."""

    a: str
    b: str
    condition: Condition
    difference: Difference
    p_corrected: float
    higher_is_better: bool

    @property
    def significant(self) -> bool:
        """Return whether the corrected p-value is below 5 %."""
        return self.p_corrected < ALPHA

    @property
    def verdict(self) -> str:
        """Return what was shown, in words."""
        if not self.significant:
            return "no difference shown"
        a_is_better = (self.difference.mean > 0) == self.higher_is_better
        return f"{self.a if a_is_better else self.b} is better"


@dataclass(frozen=True)
class StudyResult:
    """What a study found; all sequences in the order of its file."""

    name: str
    metric: str
    higher_is_better: bool
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...]
    ranks: dict[str, float]
    friedman_p: float | None
    curves: dict[str, dict[str, tuple[tuple[float, float, float], ...]]]
    runs_finished: int
    target: float | None
    commits: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Return what is to be known of the result: that no difference can be shown whatever the
        scores are, or that runs are of other code than others; empty if there is nothing.

        The smallest p-value of an exact permutation test of n pairs is 2 / 2**n.
        """
        tests = len(self.comparisons)
        smallest = 2.0 ** (1 - len(self.seeds))
        mixed = ""
        if len(self.commits) > 1:
            mixed = (
                f"The runs are of {len(self.commits)} commits, "
                f"{', '.join(c[:12] for c in self.commits)}: a "
                "difference may be one of the code. Give the study another name to run all again."
            )
        if not tests or smallest * tests < ALPHA:
            return mixed
        needed = next(n for n in range(3, 64) if 2.0 ** (1 - n) * tests < ALPHA)
        return (
            f"With {len(self.seeds)} seeds and {tests} tests no difference can be shown, however "
            f"large: the smallest "
            f"corrected p-value is {min(1.0, smallest * tests):.3f}. Set seeds to {needed} or "
            f"more. {mixed}"
        ).strip()

    def to_json(self) -> dict[str, Any]:
        """Return the result as `fedpipe study --json` prints it."""
        return {
            "name": self.name,
            "metric": self.metric,
            "runs_finished": self.runs_finished,
            "seeds": list(self.seeds),
            "cells": [
                {
                    "arm": cell.arm,
                    "condition": cell.condition,
                    **asdict(cell.summary),
                    "scores": list(cell.scores),
                }
                | (
                    {
                        "reached": cell.reached,
                        "rounds_to_target": cell.rounds_to_target,
                        "bytes_to_target": cell.bytes_to_target,
                        "seconds_to_target": cell.seconds_to_target,
                    }
                    if self.target is not None
                    else {}
                )
                for cell in self.cells
            ],
            "comparisons": [
                {
                    "a": pair.a,
                    "b": pair.b,
                    "condition": pair.condition,
                    "difference": pair.difference.mean,
                    "ci95": pair.difference.ci95,
                    "p": pair.difference.p,
                    "p_corrected": pair.p_corrected,
                    "significant": pair.significant,
                    "verdict": pair.verdict,
                    "effect_size": pair.difference.effect_size,
                    "detectable": pair.difference.detectable,
                    "test": pair.difference.test,
                }
                for pair in self.comparisons
            ],
            "ranks": self.ranks,
            "friedman_p": self.friedman_p,
            "note": self.note,
        }


def conclude(planned: Plan, runs: Sequence[FinishedRun]) -> StudyResult:
    """Return what the runs of a study say."""
    study = planned.study
    higher = planned.higher_is_better
    by_cell: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in runs:
        by_cell.setdefault((run.planned.arm, condition_text(run.planned.condition)), []).append(run)
    cells = [
        _cell(arm, condition, by_cell[arm, condition_text(condition)], planned, higher)
        for condition in planned.conditions
        for arm in study.arms
    ]
    comparisons = _comparisons(
        planned, {(c.arm, condition_text(c.condition)): c for c in cells}, higher
    )
    scores = np.array([cell.summary.mean for cell in cells]).reshape(-1, len(study.arms))
    ranks, p = mean_ranks(scores, higher)
    curves: dict[str, dict[str, tuple[tuple[float, float, float], ...]]] = {}
    for condition in planned.conditions:
        text = condition_text(condition)
        curves[text] = {arm: _curve(by_cell[arm, text], planned.metric) for arm in study.arms}
    return StudyResult(
        str(study.name),
        planned.metric,
        higher,
        tuple(study.seed_list),
        tuple(cells),
        tuple(comparisons),
        dict(zip(study.arms, ranks, strict=True)),
        p,
        curves,
        len(runs),
        study.target,
        tuple(sorted({run.commit for run in runs})),
    )


def condition_text(condition: Mapping[str, Any]) -> str:
    """Return a condition in a line; empty if a study has none.

    >>> condition_text({"data.alpha": 0.1, "cohort.size": 5})
    'data.alpha=0.1, cohort.size=5'
    """
    return ", ".join(f"{key}={value}" for key, value in condition.items())


def _cell(
    arm: str, condition: Condition, runs: Sequence[FinishedRun], planned: Plan, higher: bool
) -> Cell:
    scores = tuple(run.score for run in runs)
    target = planned.study.target
    if target is None:
        return Cell(arm, condition, summarize(scores), scores)
    reached = [
        stop for run in runs if (stop := run.reached(planned.metric, target, higher)) is not None
    ]
    medians: list[float | None] = [None] * 3
    if reached:
        medians = [float(value) for value in np.median(np.array(reached), axis=0)]
    return Cell(arm, condition, summarize(scores), scores, len(reached), *medians)


def _comparisons(
    planned: Plan, cells: Mapping[tuple[str, str], Cell], higher: bool
) -> list[Comparison]:
    tested = []
    for condition in planned.conditions:
        text = condition_text(condition)
        for a, b in planned.study.pairs():
            tested.append(
                (a, b, condition, difference(cells[a, text].scores, cells[b, text].scores))
            )
    p_values = corrected([row[-1].p for row in tested])
    return [Comparison(*row, p, higher) for row, p in zip(tested, p_values, strict=True)]


def _curve(runs: Sequence[FinishedRun], metric: str) -> tuple[tuple[float, float, float], ...]:
    """Return (round, mean, half of the interval's width) of the rounds that all seeds have."""
    by_round: dict[int, list[float]] = {}
    for run in runs:
        for row in run.rows:
            if metric in row:
                by_round.setdefault(int(row["round"]), []).append(row[metric])
    points = []
    for number, values in sorted(by_round.items()):
        if len(values) == len(runs):
            summary = summarize(values)
            half = summary.ci95[1] - summary.mean if summary.ci95 else 0.0
            points.append((float(number), summary.mean, half))
    return tuple(points)
