"""A study: the same conditions and seeds for each arm, in processes beside each other, and what the
differences say.

    plan      all runs are known and checked before the first starts data      shards that runs
    share are prepared once run       what has finished is not run again; what was interrupted is
    resumed conclude  intervals, tests and figures go to files, and to a parent run in MLflow

A study has no state but its runs and the id of its parent: the same file continues it, and more
seeds, arms or conditions add to what is there.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from fedpipe.config import Config
from fedpipe.errors import ConfigError, EnvironmentProblem, shorten
from fedpipe.project.paths import Project
from fedpipe.runs.noted_groups import note_groups
from fedpipe.runs.state import RunState, begin, read_state
from fedpipe.study.plan import Plan, PlannedRun, plan
from fedpipe.study.records import StudyRecord
from fedpipe.study.result_files import write_results
from fedpipe.study.results import FinishedRun, conclude
from fedpipe.sweep.sweep import failing_with_its_run
from fedpipe.sweep.trial_processes import Ended, Pool, Round, how_it_ended, most_trials
from fedpipe.system.locks import held

logger = logging.getLogger(__name__)


class StudyWatcher(Protocol):
    """Is told of the progress of a study."""

    def begun(self, name: str, runs: int, finished: int) -> None:
        """The study has so many runs, of which so many are finished already."""

    def run_started(self, number: int, name: str, rounds: int) -> None:
        """A run's process runs."""

    def run_round(self, number: int, round_num: int, value: float) -> None:
        """A run has evaluated a round."""

    def run_ended(self, number: int) -> None:
        """A run has finished."""


@dataclass(frozen=True)
class Estimate:
    """What a study will cost.

    Attributes:
        runs: number of all runs.
        finished: of those that need not be run.
        seconds: wall time of the others, from the median of finished ones; None before any has
            finished.
        disk_bytes: of the others' folders; None likewise.
    """

    runs: int
    finished: int
    seconds: float | None
    disk_bytes: int | None


def estimate(project: Project, path: Path, overrides: Sequence[str] = ()) -> Estimate:
    """Return what the study in a file will cost; nothing is run. Raises ConfigError as `plan`."""
    from fedpipe.system.folder_size import size_of

    planned = plan(project, path, overrides)
    states = [state for run in planned.runs if (state := _finished(project, run)) is not None]
    left = len(planned.runs) - len(states)
    if not states:
        return Estimate(len(planned.runs), 0, None, None)
    seconds = median(state.values["summary"]["seconds"]["total"] for state in states)
    size = median(size_of(state.folder) for state in states)
    parallel = _most(planned)
    return Estimate(len(planned.runs), len(states), left * seconds / parallel, int(left * size))


def run_study(
    project: Project,
    path: Path,
    overrides: Sequence[str] = (),
    watcher: StudyWatcher | None = None,
) -> dict[str, Any]:
    """Run what a study lacks, and return its result; JSON-able.

    Args:
        project: where.
        path: of the study's file.
        overrides: settings that override those of the file.
        watcher: is told how it goes.

    Raises:
        ConfigError: the file is not valid, the study is running, or its data have changed.
        EnvironmentProblem: runs failed or were interrupted; the same command resumes them.
        TrackingError, DataError: see there.
    """
    start = time.perf_counter()
    planned = plan(project, path, overrides)
    folder = project.private / "studies" / str(planned.study.name)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / "lock", f"study {planned.study.name}", "or choose another name"):
        versions = _prepare_data(project, planned)
        record = StudyRecord.open(project, planned, folder)
        with failing_with_its_run(record.store, record.run_id):
            runs = _Runs(project, planned, record, versions, watcher)
            finished = runs.run()
            result = conclude(planned, finished)
            files = write_results(result, folder / "result")
            record.conclude(result, files)
    return result.to_json() | {
        "seconds": time.perf_counter() - start,
        "runs_started": len(runs.started),
        "runs_repeated": len(runs.started & runs.finished_before),
        "url": record.url,
        "files": {name: str(file) for name, file in files.items()},
    }


def _prepare_data(project: Project, planned: Plan) -> dict[str, str]:
    """Make the shards of each of the study's data settings; return their md5 by these settings."""
    from fedpipe.runs.shards import ensure_shards

    versions: dict[str, str] = {}
    for run in planned.runs:
        key = _key(run.config)
        if key not in versions:
            versions[key] = ensure_shards(run.config, project).md5
    return versions


def _key(config: Config) -> str:
    """Return the settings that the shards of a run are made by."""
    return json.dumps([config.data.model_dump(mode="json"), config.task.kind], sort_keys=True)


def _finished(project: Project, run: PlannedRun) -> RunState | None:
    state = read_state(project.run_dir(run.name))
    if state is not None and state.finished:
        return state
    return None


def _most(planned: Plan) -> int:
    study = planned.study
    return most_trials(study.cores_per_run, study.memory_per_run_mb, study.max_parallel)


class _Runs:
    """The runs that this process starts.

    Attributes:
        started: names of those that it started or resumed.
        finished_before: names of those that were finished before it started any.
    """

    def __init__(
        self,
        project: Project,
        planned: Plan,
        record: StudyRecord,
        versions: Mapping[str, str],
        watcher: StudyWatcher | None,
    ) -> None:
        self._project = project
        self._plan = planned
        self._record = record
        self._versions = versions
        self._watcher = watcher
        self._failed: dict[str, str] = {}
        self.started: set[str] = set()
        self.finished_before: set[str] = set()
        self._retried: set[int] = set()

    def run(self) -> list[FinishedRun]:
        """Run all that is not finished; return all runs. Raises EnvironmentProblem if some are
        not."""
        runs = self._plan.runs
        waiting = [n for n, run in enumerate(runs) if self._checked_state(run) is None]
        self.finished_before = {r.name for r in runs} - {runs[n].name for n in waiting}
        self._tell(
            lambda to: to.begun(str(self._plan.study.name), len(runs), len(runs) - len(waiting))
        )
        study = self._plan.study
        pool = Pool(self._project, _most(self._plan), study.cores_per_run, study.memory_per_run_mb)
        with pool:
            while waiting or pool.running:
                while waiting and pool.has_room() and not self._failed:
                    self._start(waiting.pop(0), pool)
                if not pool.running:
                    break
                for event in pool.events():
                    if isinstance(event, Round):
                        self._round(event, pool)
                    elif self._is_to_be_resumed(event):
                        waiting.insert(0, event.number)
        if self._failed:
            reasons = "; ".join(f"{name}: {why}" for name, why in list(self._failed.items())[:3])
            raise EnvironmentProblem(
                f"study {study.name}: expected runs {shorten(self._failed, 3)} to finish, found "
                f"{reasons}. When that is put right, the same command goes on."
            )
        return [self._result(run) for run in runs]

    def _checked_state(self, run: PlannedRun) -> RunState | None:
        """Return the state of a finished run. Raises ConfigError if it was trained on other
        data."""
        state = _finished(self._project, run)
        version = self._versions[_key(run.config)]
        if state is not None and state.values["summary"]["data_md5"] != version:
            raise ConfigError(
                f"study {self._plan.study.name}: the data have changed since the run {run.name}: "
                f"{state.values['summary']['data_md5']} then, {version} now. Give the "
                "study another name."
            )
        return state

    def _start(self, number: int, pool: Pool) -> None:
        run = self._plan.runs[number]
        state = read_state(self._project.run_dir(run.name))
        if state is None:
            tags = self._record.tags_of(run)
            state = begin(
                self._project,
                run.name,
                run.config,
                "study",
                metric=self._plan.metric,
                tags=tags,
                study=self._plan.study.name,
            )
            if run.config.runtime.set_groups is not None:
                note_groups(state.folder, run.config.runtime.set_groups)
        pool.start(number, state.folder)
        self.started.add(run.name)
        self._tell(lambda to: to.run_started(number, run.name, run.config.rounds))

    def _round(self, event: Round, pool: Pool) -> None:
        self._tell(lambda to: to.run_round(event.number, event.round_num, event.value))
        pool.answer(event.number, None)

    def _is_to_be_resumed(self, event: Ended) -> bool:
        run = self._plan.runs[event.number]
        state = read_state(self._project.run_dir(run.name))
        if state is None:
            self._failed[run.name] = "its files were removed"
        elif state.finished:
            self._tell(lambda to: to.run_ended(event.number))
        elif event.code > 128 and event.number not in self._retried:
            self._retried.add(event.number)
            logger.warning(
                "%s: %s; it is resumed", run.name, how_it_ended(state.folder, event.code)
            )
            return True
        else:
            self._failed[run.name] = how_it_ended(state.folder, event.code)
        return False

    def _result(self, run: PlannedRun) -> FinishedRun:
        state = self._checked_state(run)
        if state is None:
            raise EnvironmentProblem(f"study: the files of the run {run.name} were removed.")
        return FinishedRun.read(run, state, self._plan.metric)

    def _tell(self, event: Callable[[StudyWatcher], None]) -> None:
        if self._watcher is not None:
            event(self._watcher)
