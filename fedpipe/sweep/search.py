"""Search of a sweep: draws the point of the next trial, and prunes trials. An Optuna study in a
journal of its own.

Only this module imports Optuna. One process at a time uses the study: the holder of the sweep's
lock. Each draw has a seed of its own, made of the sweep's seed and the trial's number, so that a
sweep that is resumed after a kill draws what it would have drawn.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.config.sweep import SweepConfig
from fedpipe.config.sweep_space import (
    Dimension,
    Point,
    Value,
    applies,
    grid_points,
    grid_values,
    number_of,
    walk,
)
from fedpipe.seeding import derive_seed
from fedpipe.status import RunStatus
from fedpipe.system.json_lines import repaired_lines

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

RUN = "run"
REASON = "reason"
VOID = "void"
"""Attributes of a trial: its run's folder, why it failed, and whether it was drawn and never
begun.
"""


class Search:
    """The trials of a sweep so far, by number from 0, and the next one's point."""

    def __init__(self, sweep: SweepConfig, journal: Path) -> None:
        """Open the study in the file `journal`, or make it; a line that a kill cut short is cut
        off.
        """
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        class Held(JournalFileOpenLock):  # Optuna's own outlives a kill by half a minute
            def acquire(self) -> bool:
                return True

            def release(self) -> None:
                return None

        optuna.logging.disable_default_handler()
        optuna.logging.enable_propagation()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._sweep = sweep
        self._distributions = {
            key: _distribution(key, dimension, sweep.search == "grid")
            for key, dimension in sweep.space.items()
        }
        repaired_lines(journal)
        pruner: Any = optuna.pruners.NopPruner()
        if sweep.pruning is not None:
            pruner = optuna.pruners.MedianPruner(
                n_startup_trials=sweep.pruning.after_children,
                n_warmup_steps=sweep.pruning.after_rounds,
                interval_steps=sweep.pruning.every_rounds,
            )
        self._study: Study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal), lock_obj=Held(str(journal)))),
            study_name=str(sweep.name),
            direction=sweep.better,
            pruner=pruner,
            sampler=_sampler(sweep, 0),
            load_if_exists=True,
        )
        for trial in self._trials():  # drawn, and the process died before all of it was written
            if not trial.state.is_finished() and not self._is_complete(trial.params):
                self._study._storage.set_trial_user_attr(trial._trial_id, VOID, True)
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def numbers(self) -> list[int]:
        """Return the numbers of all trials, in order."""
        return [trial.number for trial in self._trials()]

    def open(self) -> list[int]:
        """Return the numbers of the unfinished trials."""
        return [trial.number for trial in self._trials() if not trial.state.is_finished()]

    def draw(self) -> int | None:
        """Return the number of a new trial, None if the sweep has all of its trials."""
        if len(self._trials()) >= self._sweep.trial_count:
            return None
        self._study.sampler = _sampler(self._sweep, len(self._study.get_trials(deepcopy=False)))
        fixed = self._next_of_grid() if self._sweep.search == "grid" else None
        trial = self._study.ask(fixed_distributions=fixed)
        if fixed is None:
            walk(self._sweep.space, lambda key: trial._suggest(key, self._distributions[key]))
        return trial.number

    def point(self, number: int) -> Point:
        """Return a trial's values of the settings that apply to it, in the order of the space."""
        params = self._of(number).params
        return {key: params[key] for key in self._sweep.space if key in params}

    def _next_of_grid(self) -> "dict[str, BaseDistribution]":
        """Have the first combination that no trial has drawn next, and return its settings with all
        their values.
        """
        from optuna.samplers import PartialFixedSampler

        drawn = [self.point(number) for number in self.numbers()]
        point = next(point for point in grid_points(self._sweep.space) if point not in drawn)
        self._study.sampler = PartialFixedSampler(point, self._study.sampler)
        return {key: self._distributions[key] for key in point}

    def _is_complete(self, params: Mapping[str, Value]) -> bool:
        """Return whether a trial's values are all drawn."""
        return all(
            key in params
            for key, dimension in self._sweep.space.items()
            if applies(dimension, params)
        )

    def run_of(self, number: int) -> str | None:
        """Return the name of the folder of a trial's run, None if it has none yet."""
        return self._of(number).user_attrs.get(RUN)

    def reason(self, number: int) -> str:
        """Return why a trial was pruned or failed."""
        return str(self._of(number).user_attrs.get(REASON, ""))

    def state(self, number: int) -> str:
        """Return `finished`, `pruned`, `failed` or `open`."""
        return {
            "COMPLETE": RunStatus.FINISHED,
            "PRUNED": RunStatus.PRUNED,
            "FAIL": RunStatus.FAILED,
        }.get(self._of(number).state.name, "open")

    def value(self, number: int) -> float | None:
        """Return the metric of a finished trial."""
        trial = self._of(number)
        if trial.state.name == "COMPLETE":
            return trial.value
        return None

    def note_run(self, number: int, folder: str) -> None:
        """Note, on disk before this returns, which run is the trial's."""
        self._study._storage.set_trial_user_attr(self._of(number)._trial_id, RUN, folder)

    def report(self, number: int, round_num: int, value: float) -> str | None:
        """Take the metric of a trial's round; return why the trial should end, None if it should go
        on.
        """
        import optuna

        # A resumed trial sends its last round again.
        if round_num in self._of(number).intermediate_values:
            return None
        trial = optuna.trial.Trial(self._study, self._of(number)._trial_id)
        trial.report(value, round_num)
        if not trial.should_prune():
            return None
        return (
            f"round {round_num}: {self._sweep.metric} {value:.4f} is worse than the median of the "
            "finished trials there"
        )

    def finish(self, number: int, value: float) -> None:
        """End a trial with its metric; one that is no number is a failure."""
        if math.isfinite(value):
            self._study.tell(number, value)
        else:
            self.fail(number, f"{self._sweep.metric} is {value}")

    def prune(self, number: int, reason: str) -> None:
        """End a trial that was stopped early."""
        self._end(number, "PRUNED", reason)

    def fail(self, number: int, reason: str) -> None:
        """End a trial that failed."""
        self._end(number, "FAIL", reason)

    def best(self) -> int | None:
        """Return the number of the best finished trial, the first of equals; None if none is
        finished.
        """
        finished = [
            (number, value)
            for number in self.numbers()
            if (value := self.value(number)) is not None
        ]
        if not finished:
            return None
        if self._sweep.better == "minimize":
            return min(finished, key=lambda trial: (trial[1], trial[0]))[0]
        return max(finished, key=lambda trial: (trial[1], -trial[0]))[0]

    def _end(self, number: int, state: str, reason: str) -> None:
        import optuna

        self._study._storage.set_trial_user_attr(self._of(number)._trial_id, REASON, reason)
        self._study.tell(number, state=optuna.trial.TrialState[state])

    def _trials(self) -> "Sequence[FrozenTrial]":
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if VOID not in trial.user_attrs
        ]

    def _of(self, number: int) -> "FrozenTrial":
        return self._study.get_trials(deepcopy=False)[number]


def _distribution(key: str, dimension: Dimension, grid: bool) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if grid or dimension.choices is not None or dimension.min is None or dimension.max is None:
        return CategoricalDistribution(grid_values(key, dimension))
    if number_of(key) is int:
        return IntDistribution(int(dimension.min), int(dimension.max), log=dimension.log)
    return FloatDistribution(dimension.min, dimension.max, log=dimension.log)


def _sampler(sweep: SweepConfig, number: int) -> "BaseSampler":
    """Return the sampler of one trial's draw."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = derive_seed(sweep.seed, "sweep", number) % 2**32
    if sweep.search in ("grid", "random"):
        return RandomSampler(seed=seed)
    # Trials that are still running count as bad ones: two at a time would else be drawn side by
    # side.
    return TPESampler(seed=seed, constant_liar=True)
