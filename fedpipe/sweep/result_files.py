"""Results of a sweep: table and picture of its trials on the parent run, and the settings of the
best trial as a params file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fedpipe.config.sweep import SweepConfig
from fedpipe.errors import DataError, RoundError
from fedpipe.project.paths import Project
from fedpipe.runs.noted_groups import noted_groups
from fedpipe.runs.optional_parts import Parts, incomplete_text
from fedpipe.runs.state import RunState, read_state
from fedpipe.status import RunStatus
from fedpipe.sweep.search import Search
from fedpipe.sweep.state import SweepState
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tracking.tags import INCOMPLETE, SWEEP_BEST

if TYPE_CHECKING:
    from fedpipe.tracking.store import Store
    from fedpipe.tracking.sweeps import SweepTrial

FOLDER = "sweep"
TABLE_NAME = "children.csv"
JSON_NAME = "children.json"
PICTURE_NAME = "parallel_coordinates"
BEST_NAME = "best.yaml"


def parent_facts(project: Project, sweep: SweepConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the params and the tags of a sweep's parent run."""
    from fedpipe.tracking.environment import environment_tags
    from fedpipe.tracking.tags import SWEEP_SPACE

    values = sweep.model_dump(mode="json", exclude={"space", "direction"})
    params = {f"sweep.{key}": value for key, value in values.items()} | {
        "sweep.direction": sweep.better
    }
    params |= {
        f"sweep.space.{key}": dimension.model_dump(mode="json", exclude_defaults=True)
        for key, dimension in sweep.space.items()
    }
    return params, {**environment_tags(project.root), SWEEP_SPACE: json.dumps(list(sweep.space))}


def conclude(
    search: Search,
    project: Project,
    store: "Store",
    state: SweepState,
    sweep: SweepConfig,
    preset: Path,
) -> dict[str, str]:
    """Write the best trial's settings to `preset`; log table, pictures and figures to the parent
    run and mark it as finished.

    Returns:
        Why a table, a picture or an upload is missing, by its name; also a tag of the parent run.

    Raises:
        TrackingError: the store cannot be written.
        OSError: the preset cannot be written.
    """
    from fedpipe.figures.parallel_coordinates import parallel_coordinates
    from fedpipe.runs.pictures import log_picture
    from fedpipe.tables.sweep import trials_csv
    from fedpipe.tracking.run import TrackedRun

    trials = trials_of(search, project)
    folder = state.folder / "result"
    rows = [asdict(trial) for trial in trials]
    write_atomic(folder / JSON_NAME, json.dumps(rows, indent=1) + "\n")
    write_atomic(folder / TABLE_NAME, trials_csv(trials, list(sweep.space), sweep.metric))
    run = TrackedRun.attach(store, str(state.parent))
    parts = Parts(store)
    for name in (JSON_NAME, TABLE_NAME):
        parts.attempt(f"upload of {name}", partial(run.log_file, folder / name, FOLDER))

    def log_chart() -> None:
        chart = parallel_coordinates(trials, list(sweep.space), sweep.metric, sweep.better)
        log_picture(run, [chart], f"{FOLDER}/{PICTURE_NAME}.svg", folder)

    parts.attempt(f"picture {PICTURE_NAME}", log_chart)
    counts = {f"sweep/{name}": float(count) for name, count in counts_of(trials).items()}
    best = search.best()
    if best is None:
        reason = next(
            (f"trial {trial.number} {trial.state}: {trial.reason}" for trial in trials),
            "none was drawn",
        )
        raise RoundError(
            f"sweep {sweep.name}: expected a trial that finishes, found none of {len(trials)}: "
            f"{reason}"
        )
    write_preset(_run_of(search, project, best), preset, _header(search, sweep, best))
    write_atomic(folder / BEST_NAME, preset.read_text(encoding="utf-8"))
    parts.attempt(f"upload of {BEST_NAME}", lambda: run.log_file(folder / BEST_NAME, FOLDER))
    run.set_tags({SWEEP_BEST: trials[best_index(trials, best)].run_id})
    with store.guard(f"write the result of sweep {sweep.name}"):
        for key, value in {**counts, "sweep/best": float(search.value(best) or 0.0)}.items():
            store.client.log_metric(run.run_id, key, value, step=0)
    if parts.missing:
        run.set_tags({INCOMPLETE: incomplete_text(parts.missing)})
    else:
        run.remove_tag(INCOMPLETE)
    run.finish()
    return parts.missing


def best_index(trials: "Sequence[SweepTrial]", number: int) -> int:
    """Return the index of the trial with this number."""
    return next(index for index, trial in enumerate(trials) if trial.number == number)


def write_preset(run: RunState, path: Path, header: str) -> None:
    """Write a run's settings as a params file, with a comment that says where they come from."""
    values = run.config.model_dump(mode="json")
    groups = noted_groups(run.folder)
    # So that a run with these settings has the trial's bits.
    if values["runtime"]["groups"] is None and groups is not None:
        values["runtime"]["groups"] = groups
    text = yaml.safe_dump(values, sort_keys=False)
    write_atomic(path, f"# {header}\n{text}")


def trials_of(search: Search, project: Project) -> "list[SweepTrial]":
    """Return a sweep's trials as they stand, by number, from this project's files."""
    from fedpipe.tracking.sweeps import SweepTrial

    trials = []
    for number in search.numbers():
        run = read_state(project.run_dir(folder)) if (folder := search.run_of(number)) else None
        about = ("", "") if run is None else (str(run.values.get("mlflow_run_id", "")), run.name)
        state = search.state(number)
        state = RunStatus.INTERRUPTED if state == "open" else state
        trials.append(
            SweepTrial(
                number,
                *about,
                state,
                search.value(number),
                search.point(number),
                search.reason(number),
            )
        )
    return trials


def incomplete_of(search: Search, project: Project) -> dict[str, dict[str, str]]:
    """Return the missing parts of trials that finished, by the trial's name: a trial's value does
    not depend on them.
    """
    runs = [
        read_state(project.run_dir(folder))
        for number in search.numbers()
        if (folder := search.run_of(number))
    ]
    return {run.name: run.incomplete for run in runs if run is not None and run.incomplete}


def counts_of(trials: "Sequence[SweepTrial]") -> dict[str, int]:
    """Return how many trials have each state."""
    return {
        state: sum(trial.state == state for trial in trials)
        for state in (
            RunStatus.FINISHED,
            RunStatus.PRUNED,
            RunStatus.FAILED,
            RunStatus.INTERRUPTED,
        )
    }


def summary_of(
    search: Search,
    project: Project,
    values: Mapping[str, Any],
    preset: Path,
    sweep: SweepConfig,
    ran: Sequence[int],
    seconds: float,
) -> dict[str, Any]:
    """Return the summary of a sweep, JSON-able. `ran` are the trials that ran in this call, resumed
    ones included.
    """
    from fedpipe.tracking.store import read_store, run_url

    trials = trials_of(search, project)
    best = search.best()
    return {
        "name": sweep.name,
        "run_id": values["mlflow_run_id"],
        "url": run_url(read_store(project.root), values["experiment_id"], values["mlflow_run_id"]),
        "metric": sweep.metric,
        "direction": sweep.better,
        "keys": list(sweep.space),
        "counts": counts_of(trials),
        "children": [asdict(trial) for trial in trials],
        "best": None if best is None else asdict(trials[best_index(trials, best)]),
        "preset": None if best is None else str(preset),
        "ran": list(ran),
        "incomplete": incomplete_of(search, project),
        "incomplete_sweep": dict(values.get("incomplete") or {}),
        "seconds": seconds,
    }


def _run_of(search: Search, project: Project, number: int) -> RunState:
    state = read_state(project.run_dir(str(search.run_of(number))))
    if state is None:
        raise DataError(
            f"{project.run_dir(str(search.run_of(number)))}: expected the run of the best trial, "
            "found none: was it removed?"
        )
    return state


def _header(search: Search, sweep: SweepConfig, best: int) -> str:
    return (
        f"The best of {len(search.numbers())} trials of sweep {sweep.name}: trial {best}, "
        f"{sweep.metric} {search.value(best)}."
    )
