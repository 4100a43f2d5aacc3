"""A sweep in MLflow: a parent run, and its trials nested under it.

The parent has the sweep's settings as params (`sweep.search`, ...), the tag `fedpipe.sweep` with
its name, and at the end `sweep/` among its artifacts: the table of trials and the picture. A
trial is a run as any other, with the tags `mlflow.parentRunId`, `fedpipe.sweep`,
`fedpipe.sweep_child` (its number) and, once it has ended, `fedpipe.sweep_state` and the metric
`sweep/value`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fedpipe.errors import TrackingError
from fedpipe.redact import hide
from fedpipe.status import MlflowStatus, RunStatus
from fedpipe.tracking.lookup import find_run, pages
from fedpipe.tracking.mlflow_limits import MAX_PARAM, batches, fit
from fedpipe.tracking.run import run_with_key
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import (
    PARENT,
    SWEEP,
    SWEEP_SPACE,
    TRIAL_ABSENT,
    TRIAL_NUMBER,
    TRIAL_REASON,
    TRIAL_STATE,
)

METRIC = "sweep.metric"
DIRECTION = "sweep.direction"
VALUE = "sweep/value"


@dataclass(frozen=True)
class SweepTrial:
    """One trial of a sweep.

    Attributes:
        number: from 0, in the order in which they were drawn.
        run_id: its MLflow run, empty if it failed before it had one.
        name: of that run.
        state: `finished`, `pruned`, `failed`, `running`, or `interrupted`: it can be resumed.
        value: the sweep's metric at the round that validation chose; None where it is not finished.
        params: its values of the settings that are searched, by dotted key; without those that do
            not apply to it.
        reason: why it was pruned or failed; empty otherwise.
    """

    number: int
    run_id: str
    name: str
    state: str
    value: float | None
    params: dict[str, Any]
    reason: str = ""


@dataclass(frozen=True)
class SweepView:
    """A sweep as MLflow has it: its parent run, what trials are judged by, and the trials by
    number.
    """

    name: str
    run_id: str
    metric: str
    direction: str
    keys: tuple[str, ...]
    trials: tuple[SweepTrial, ...]

    @property
    def best(self) -> SweepTrial | None:
        """Return the best finished trial, the first of equals."""
        return best_trial(self.trials, self.direction)


def best_trial(
    trials: "tuple[SweepTrial, ...] | list[SweepTrial]", direction: str
) -> SweepTrial | None:
    """Return the trial with the best value, the first of equals; None if none is finished."""
    sign = 1 if direction == "maximize" else -1
    finished = [
        (sign * trial.value, -trial.number, trial)
        for trial in trials
        if trial.state == RunStatus.FINISHED and trial.value is not None
    ]
    if finished:
        return max(finished, key=lambda ranked: ranked[:2])[2]
    return None


def start_parent(
    store: Store,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    key: str,
    kind: str = SWEEP,
) -> str:
    """Return the id of the parent run with this key (hexadecimal), which is created if it does not
    exist.

    `kind`: tag that has the name: `fedpipe.sweep` or `fedpipe.study`.

    Raises:
        TrackingError: the store cannot be written.
    """
    from mlflow.entities import Param, RunTag

    with store.guard(f"create the run '{name}'"):
        run_id = run_with_key(store, name, key, reuse=True, tags={kind: name})
        known = store.client.get_run(run_id).data.params  # which cannot be changed
        for batch in batches(
            Param(k, fit(hide(str(value)), MAX_PARAM))
            for k, value in params.items()
            if k not in known
        ):
            store.client.log_batch(run_id, params=batch)
        for tag_batch in batches(RunTag(k, hide(value)) for k, value in tags.items()):
            store.client.log_batch(run_id, tags=tag_batch)
        store.client.update_run(run_id, status=MlflowStatus.RUNNING)
    return run_id


def reopen_sweep(store: Store, run_id: str) -> None:
    """Mark the parent run as running. Raises TrackingError if it does not exist any more."""
    with store.guard(f"resume the sweep's run {run_id}"):
        store.client.update_run(run_id, status=MlflowStatus.RUNNING)


def trial_tags(
    parent: str, sweep: str, number: int, absent: Collection[str] = ()
) -> dict[str, str]:
    """Return the tags of a trial's run; `absent` are searched settings that do not apply to it."""
    tags = {PARENT: parent, SWEEP: sweep, TRIAL_NUMBER: str(number)}
    return tags | ({TRIAL_ABSENT: json.dumps(sorted(absent))} if absent else {})


def note_trial(store: Store, run_id: str, state: str, value: float | None, reason: str) -> None:
    """Write the final state of a trial to its run. A second time changes nothing."""
    with store.guard(f"write the end of trial {run_id}"):
        store.client.set_tag(run_id, TRIAL_STATE, state)
        if reason:
            store.client.set_tag(run_id, TRIAL_REASON, fit(hide(reason), MAX_PARAM))
        if value is not None and VALUE not in store.client.get_run(run_id).data.metrics:
            store.client.log_metric(run_id, VALUE, value, step=0)


def read_sweep(store: Store, name: str) -> SweepView:
    """Return the current state of a sweep by the id or the name of its parent run.

    Trials that failed before they had a run, because their settings do not go together, are in
    the artifact `sweep/children.json` alone.

    Raises:
        TrackingError: there is no such run, or it is no sweep's.
    """
    parent = find_run(store, name)
    tags = parent.data.tags
    if SWEEP_SPACE not in tags:
        raise TrackingError(
            f"run {name}: expected the parent run of a sweep, found a run without the tag "
            f"{SWEEP_SPACE}. See docs/sweeps.md."
        )
    keys = tuple(json.loads(tags[SWEEP_SPACE]))
    with store.guard(f"list the trials of {name}"):
        text = f"tags.`{PARENT}` = '{parent.info.run_id}'"
        runs = list(
            pages(
                lambda token: store.client.search_runs(
                    [parent.info.experiment_id], text, page_token=token
                )
            )
        )
    trials = [_trial(run, keys) for run in runs if TRIAL_NUMBER in run.data.tags]
    params = parent.data.params
    ordered = tuple(sorted(trials, key=lambda trial: trial.number))
    return SweepView(
        name=tags[SWEEP],
        run_id=parent.info.run_id,
        metric=params[METRIC],
        direction=params[DIRECTION],
        keys=keys,
        trials=ordered,
    )


def _trial(run: Any, keys: tuple[str, ...]) -> SweepTrial:
    tags = run.data.tags
    is_running = run.info.status == MlflowStatus.RUNNING
    state = tags.get(TRIAL_STATE) or (RunStatus.RUNNING if is_running else RunStatus.INTERRUPTED)
    value = run.data.metrics.get(VALUE)
    absent = json.loads(tags.get(TRIAL_ABSENT, "[]"))
    params = {key: _typed(run.data.params.get(key)) for key in keys if key not in absent}
    return SweepTrial(
        number=int(tags[TRIAL_NUMBER]),
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        state=state,
        value=value,
        params=params,
        reason=tags.get(TRIAL_REASON, ""),
    )


def _typed(text: str | None) -> Any:
    """Return the value of a param, which MLflow stores as text."""
    named = {"None": None, "True": True, "False": False, None: None}
    if text in named:
        return named[text]
    for kind in (int, float):
        try:
            return kind(str(text))
        except ValueError:
            continue
    return text
