"""Runs the trials of a sweep: draws and starts them, reads their rounds, and records how each
ends.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from fedpipe.config import Config
from fedpipe.config.sweep import SweepConfig
from fedpipe.config.sweep_trials import SweepBase, trial_config
from fedpipe.errors import ConfigError, EnvironmentProblem, shorten
from fedpipe.project.paths import Project
from fedpipe.runs.noted_groups import note_groups
from fedpipe.runs.state import RunState, begin, read_state
from fedpipe.status import RunStatus
from fedpipe.sweep.search import Search
from fedpipe.sweep.state import SweepState
from fedpipe.sweep.trial_processes import Ended, Pool, Round, how_it_ended, most_trials

logger = logging.getLogger(__name__)


class SweepWatcher(Protocol):
    """Is told of the progress of a sweep."""

    def begun(self, name: str, trials: int, ended: int) -> None:
        """The sweep has so many trials, of which so many have an end already."""

    def trial_started(self, number: int, point: Mapping[str, Any], rounds: int) -> None:
        """A trial's process runs."""

    def trial_round(self, number: int, round_num: int, value: float) -> None:
        """A trial has validated a round."""

    def trial_ended(self, number: int, state: str, value: float | None) -> None:
        """A trial has an end: `finished`, `pruned`, `failed`; or is `interrupted`."""


class TrialPool(Protocol):
    """Where trials run: `trial_processes.Pool`, processes of this one, or what stands for it on a
    cluster. Ends them with its block.
    """

    @property
    def running(self) -> int:
        """Return how many trials are running."""

    def __enter__(self) -> "TrialPool":
        """Return the pool."""

    def __exit__(self, *error: Any) -> None:
        """End the trials that still run."""

    def has_room(self) -> bool:
        """Return whether another trial may start."""

    def start(self, number: int, folder: Path) -> None:
        """Start the trial whose run is in `folder`."""

    def events(self) -> Iterator[Round | Ended]:
        """Yield what happened within the next moment. A `Round` is to be answered."""

    def answer(self, number: int, why_not: str | None) -> None:
        """Tell a trial to continue, or to stop and why."""


class Trials:
    """The trials of the sweep that this process runs."""

    def __init__(
        self,
        project: Project,
        sweep: SweepConfig,
        base: SweepBase,
        common: Config,
        state: SweepState,
        watcher: SweepWatcher | None,
        pool: "TrialPool | None" = None,
    ) -> None:
        self._project = project
        self._sweep = sweep
        self._base = base
        self._common = common
        self._state = state
        self._watcher = watcher
        self._pool = pool
        self.search = Search(sweep, state.journal)
        self._retried: set[int] = set()
        self._left: dict[int, str] = {}

    def open(self, tags: Mapping[str, str]) -> None:
        """Bring the data up to date once for all trials, and open the parent run."""
        from fedpipe.runs.shards import ensure_shards
        from fedpipe.sweep.result_files import parent_facts
        from fedpipe.tracking.store import open_store
        from fedpipe.tracking.sweeps import reopen_sweep, start_parent

        self.store = open_store(self._project.root, self._common.tracking.experiment)
        ensure_shards(self._common, self._project)
        if self._state.parent is None:
            params, known = parent_facts(self._project, self._sweep)
            run_id = start_parent(
                self.store,
                str(self._sweep.name),
                params,
                {**known, **tags},
                self._state.values["key"],
            )
            self._state.update(mlflow_run_id=run_id, experiment_id=self.store.experiment_id)
        else:
            reopen_sweep(self.store, self._state.parent)

    def run(self) -> list[int]:
        """Run all trials that have no end; return their numbers. Raises EnvironmentProblem if
        some have none then.
        """
        search = self.search
        sweep = self._sweep
        queue = search.open()
        ran = []
        for number in search.numbers():  # ended, and the process died before the run was told
            if number not in queue and number not in self._told:
                self._note(number)
        self._tell("begun", str(sweep.name), sweep.trial_count, len(search.numbers()) - len(queue))
        with self._pool or self._processes() as pool:
            while True:
                # What stopped one trial, such as a full disk, would stop the next.
                while pool.has_room() and not self._left:
                    drawn = queue.pop(0) if queue else search.draw()
                    if drawn is None:
                        break
                    if self._start(drawn, pool) and drawn not in ran:
                        ran.append(drawn)
                if not pool.running:
                    break
                for event in pool.events():
                    if isinstance(event, Round):
                        self._round(event, pool)
                    elif self._ended(event):
                        queue.append(event.number)
        if self._left:
            reasons = "; ".join(
                f"{self._name(number)}: {why}" for number, why in list(self._left.items())[:3]
            )
            raise EnvironmentProblem(
                f"sweep {sweep.name}: expected trials {shorten(self._left)} to finish, found "
                f"{reasons}. When that is fixed, the same command resumes them."
            )
        return ran

    def _processes(self) -> Pool:
        sweep = self._sweep
        most = most_trials(sweep.cores_per_child, sweep.memory_per_child_mb, sweep.max_parallel)
        return Pool(self._project, most, sweep.cores_per_child, sweep.memory_per_child_mb)

    def _start(self, number: int, pool: "TrialPool") -> bool:
        """Start or resume a trial; return whether that was needed."""
        point = self.search.point(number)
        state = self._run_of(number)
        if state is None:
            try:
                config = trial_config(self._base, point)
            except ConfigError as err:
                self.search.fail(number, str(err))
                self._end(number)
                return False
            from fedpipe.tracking.sweeps import trial_tags

            tags = trial_tags(
                str(self._state.parent),
                str(self._sweep.name),
                number,
                set(self._sweep.space) - set(point),
            )
            asked = {"metric": self._sweep.metric, "tags": tags, "sweep": self._sweep.name}
            state = begin(self._project, self._name(number), config, "sweep", **asked)
            # Of an algorithm that alone knows whether it computes in groups.
            if self._base.groups is not None:
                note_groups(state.folder, self._base.groups)
            self.search.note_run(number, state.folder.name)
        if state.has_ended:  # and this process's predecessor did not hear of it
            self._settle(number, state, 0)
            return False
        pool.start(number, state.folder)
        self._tell("trial_started", number, point, state.config.rounds)
        return True

    def _round(self, event: Round, pool: "TrialPool") -> None:
        why = self.search.report(event.number, event.round_num, event.value)
        self._tell("trial_round", event.number, event.round_num, event.value)
        pool.answer(event.number, why)

    def _ended(self, event: Ended) -> bool:
        """Record how a trial ended; return whether it is to be resumed."""
        state = self._run_of(event.number)
        if state is None:
            raise EnvironmentProblem(
                f"sweep {self._sweep.name}: the run of trial {event.number} is gone: were its "
                "files removed?"
            )
        if event.code > 128 and event.number not in self._retried and not state.has_ended:
            self._retried.add(event.number)
            logger.warning(
                "%s: %s; it is resumed from its checkpoint",
                state.name,
                how_it_ended(state.folder, event.code),
            )
            return True
        self._settle(event.number, state, event.code)
        return False

    def _settle(self, number: int, state: RunState, code: int) -> None:
        match state.values["status"]:
            case RunStatus.FINISHED:
                self.search.finish(number, float(state.values["value"]))
            case RunStatus.PRUNED:
                self.search.prune(number, state.values["reason"])
            case RunStatus.FAILED:
                self.search.fail(number, state.values["reason"])
            case _:
                self._left[number] = how_it_ended(state.folder, code)
                self._tell("trial_ended", number, RunStatus.INTERRUPTED, None)
                return
        self._end(number)

    def _end(self, number: int) -> None:
        self._note(number)
        self._tell("trial_ended", number, self.search.state(number), self.search.value(number))

    def _note(self, number: int) -> None:
        """Write a trial's end to its MLflow run, and that this is done."""
        from fedpipe.tracking.sweeps import note_trial

        state = self._run_of(number)
        run_id = state.values.get("mlflow_run_id") if state else None
        if run_id:
            note_trial(
                self.store,
                run_id,
                self.search.state(number),
                self.search.value(number),
                self.search.reason(number),
            )
        self._state.update(told=sorted({*self._told, number}))

    @property
    def _told(self) -> list[int]:
        return list(self._state.values.get("told", []))

    def _run_of(self, number: int) -> RunState | None:
        folder = self.search.run_of(number)
        if folder:
            return read_state(self._project.run_dir(folder))
        return None

    def _name(self, number: int) -> str:
        return f"{self._sweep.name}-{number:03d}"

    def _tell(self, event: str, *about: Any) -> None:
        if self._watcher is not None:
            getattr(self._watcher, event)(*about)
