"""Why does a run stay? Because something needs it, or because it was not asked for."""

import fnmatch
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.errors import shorten
from fedpipe.maintenance.cleaning_plan import RunFiles, Selection
from fedpipe.status import ENDED, RunStatus

if TYPE_CHECKING:
    from fedpipe.tracking.removal import StoredRun

_WILDCARDS = frozenset("*?[")


def judge(
    runs: Sequence[RunFiles],
    stored: "dict[str, StoredRun]",
    selection: Selection,
    unfinished_sweeps: set[str],
    *,
    has_store: bool,
) -> list[RunFiles]:
    """Say of each run whether it goes, or why it stays."""
    judged: list[RunFiles] = []
    kept_for_keep = 0
    for run in runs:
        reason = _why_needed(
            run, stored, selection, unfinished_sweeps, has_store
        ) or _why_not_selected(run, selection)
        if not reason and kept_for_keep < selection.keep:
            kept_for_keep += 1
            reason = "the newest" if selection.keep == 1 else f"one of the {selection.keep} newest"
        if not reason and run.folder is None and not selection.records:
            reason = "has no folder here; --records removes its files in MLflow"
        judged.append(replace(run, remove=not reason, reason=reason))
    return judged


def _why_needed(
    run: RunFiles,
    stored: "dict[str, StoredRun]",
    selection: Selection,
    unfinished_sweeps: set[str],
    has_store: bool,
) -> str:
    """Return why a run must stay whatever is selected, empty if it need not."""
    from fedpipe.tracking.journal import unsent

    record = stored.get(run.run_id)
    if run.status == RunStatus.RUNNING:
        return RunStatus.RUNNING
    if run.models:
        return f"registered as {shorten(run.models, 3)}"
    if run.sweep in unfinished_sweeps:
        return f"its sweep {run.sweep} is not finished"
    whole_sweep = run.sweep and run.sweep in selection.names
    if record is not None and not whole_sweep:
        if record.is_sweep:
            return "a sweep; --name with its exact name removes it and its runs"
        if any(sweep.sweep_best == run.run_id and not sweep.deleted for sweep in stored.values()):
            return f"the best of sweep {run.sweep}"
    exactly_named = any(
        name in (run.name, run.run_id) and not _WILDCARDS & set(name) for name in selection.names
    )
    if (
        run.status == RunStatus.INTERRUPTED
        and not exactly_named
        and RunStatus.INTERRUPTED not in selection.statuses
    ):
        return "interrupted; `fedpipe resume` can continue it, --status interrupted removes it"
    if run.folder is not None and run.status in ENDED and not exactly_named:
        if run.run_id and record is None:
            if has_store:
                return "the MLflow store does not have it"
            return "there is no MLflow store that has it"
        if run.run_id and unsent(Path(run.folder)):
            return "MLflow does not have all of its records; `fedpipe sync` sends them"
        return run.pending
    return ""


def _why_not_selected(run: RunFiles, selection: Selection) -> str:
    if selection.statuses and run.status not in selection.statuses:
        return f"is {run.status}"
    if selection.names and not is_named(run, selection.names):
        return "has another name"
    if (
        selection.older_than_seconds is not None
        and time.time() - run.ended < selection.older_than_seconds
    ):
        return "is younger"
    return ""


def is_named(run: RunFiles, patterns: Sequence[str]) -> bool:
    """Return whether a run's name or id, or the name of its sweep, fits one of the patterns."""
    return any(
        fnmatch.fnmatchcase(name, pattern) or name == pattern
        for pattern in patterns
        for name in (run.name, run.run_id, run.sweep)
        if name
    )
