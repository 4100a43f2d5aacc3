"""A sweep: trials with different settings, trained in processes beside each other, judged by
validation examples; the best is a preset.

    for each trial, as many at a time as cores and memory allow:
      draw     the search gives it a point of the space; an interrupted trial is resumed first
      run      its process trains, and sends the metric of each round; a trial below the median of
               the finished ones is pruned
      record   its end goes to the search's journal, then to its MLflow run
    conclude   table, picture and the best trial's settings go to the parent run; the settings are
               also written as a params file

The state is on disk before the next step, so that a killed sweep continues where it was; finished
trials are not run again.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from fedpipe.config import Config
from fedpipe.config.sweep import SweepConfig, load_sweep
from fedpipe.config.sweep_trials import SweepBase, check_space, first_trial, read_base
from fedpipe.config.task_metrics import metric_key
from fedpipe.errors import ConfigError, did_you_mean, reason_of
from fedpipe.project.paths import Project
from fedpipe.sweep.result_files import conclude, summary_of
from fedpipe.sweep.state import begin_sweep
from fedpipe.sweep.trials import SweepWatcher, TrialPool, Trials
from fedpipe.system.atomic_files import require_place
from fedpipe.tasks.score import score_of

if TYPE_CHECKING:
    from fedpipe.tracking.store import Store


def load(
    project: Project, path: Path, overrides: Sequence[str] = ()
) -> tuple[SweepConfig, SweepBase, Config]:
    """Return a sweep, the settings under its trials', and what all trials have in common,
    checked before any trial is drawn.

    The last are the settings of a trial: of them only what the space does not search is to be used.

    Args:
        project: where.
        path: of the sweep's file.
        overrides: more overrides; they override the file's.

    Raises:
        ConfigError: see there.
    """
    sweep = load_sweep(path)
    base = read_base(sweep, project.root / sweep.params, path.name, overrides)
    check_space(sweep, base)
    common = first_trial(sweep, base)
    sweep = judged_by_the_task(sweep, common, path.name, project)
    # It belongs to the result, and would follow the machine's cores.
    if common.runtime.set_groups is None:
        groups = max(sweep.cores_per_child, common.runtime.workers)
        base = replace(base, groups=groups)
        common = common.model_copy(
            update={"runtime": common.runtime.model_copy(update={"groups": groups})}
        )
    if common.runtime.remote:  # a worker serves one run at a time
        if (sweep.max_parallel or 1) > 1:
            raise ConfigError(
                f"{path.name}: max_parallel={sweep.max_parallel} is set with runtime.remote, "
                "whose machines serve one run at a time. Set max_parallel: 1, or "
                "runtime.remote=[] in overrides."
            )
        sweep = sweep.model_copy(update={"max_parallel": 1})
    return sweep, base, common


def judged_by_the_task(
    sweep: SweepConfig, common: Config, where: str, project: Project
) -> SweepConfig:
    """Return the sweep with its metric and direction; where none is set those that the task chooses
    by. Raises ConfigError if the task does not have the metric.
    """
    score = score_of(common.task, project.root)
    if "metric" not in sweep.model_fields_set and sweep.metric != score.validation:
        return sweep.model_copy(update={"metric": score.validation, "direction": score.better})
    name = sweep.metric.partition("/")[2]
    if name == score.metric and sweep.better != score.better:
        return sweep.model_copy(update={"direction": score.better})
    known = ["loss", *map(metric_key, common.task.metric_names)]
    if name not in known:
        raise ConfigError(
            f"{where}: metric: expected one of the task's, "
            f"{', '.join(f'validation/{key}' for key in known)}, found '{sweep.metric}'. "
            f"{did_you_mean(name, known)} Add `task.metrics=[{name}]` to overrides."
        )
    return sweep


class SweepOptions(TypedDict, total=False):
    """What may be said of a sweep that is run.

    Attributes:
        resume: refuse to start a new sweep.
        out: file for the best trial's settings; `params/sweep_NAME.yaml` if not given.
        watcher: is told how it goes.
    """

    resume: bool
    out: Path | None
    watcher: SweepWatcher | None


def run_sweep(
    project: Project,
    path: Path,
    overrides: Sequence[str] = (),
    *,
    tags: Mapping[str, str] | None = None,
    pool: TrialPool | None = None,
    **options: Unpack[SweepOptions],
) -> dict[str, Any]:
    """Run a sweep, or the rest of it, and return its summary; JSON-able.

    Args:
        project: where.
        path: of the sweep's file.
        overrides: settings that override those of the file.
        tags: more tags of the parent run.
        pool: where trials run; processes of this one if not given.
        options: see there.

    Raises:
        ConfigError: the sweep is not valid, is running, or was started with other settings; its
            result could not be written.
        EnvironmentProblem: trials were interrupted; the same command resumes them.
        TrackingError, DataError: see there.
    """
    start = time.perf_counter()
    sweep, base, common = load(project, path, overrides)
    preset = options.get("out") or project.root / "params" / f"sweep_{sweep.name}.yaml"
    require_place(preset, "the best trial's settings")
    with begin_sweep(project, sweep, common, options.get("resume", False)) as state:
        trials = Trials(
            project, sweep, base, common, state, watcher=options.get("watcher"), pool=pool
        )
        ran: list[int] = []
        concluded = state.values.get("concluded") == sweep.trial_count and not state.values.get(
            "incomplete"
        )
        if not concluded or not preset.exists():
            trials.open(tags or {})
            with failing_with_its_run(trials.store, str(state.parent)):
                ran = trials.run()
                missing = conclude(trials.search, project, trials.store, state, sweep, preset)
            state.update(concluded=sweep.trial_count, incomplete=missing)
        return summary_of(
            trials.search, project, state.values, preset, sweep, ran, time.perf_counter() - start
        )


@contextmanager
def failing_with_its_run(store: "Store", run_id: str) -> Iterator[None]:
    """Mark the parent run as failed, or as killed, if the block raises."""
    from fedpipe.tracking.run import TrackedRun

    try:
        yield
    except BaseException as err:
        TrackedRun.attach(store, run_id).fail(reason_of(err), killed=not isinstance(err, Exception))
        raise
