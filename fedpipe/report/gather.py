"""Reads the facts of a run from the MLflow store and from the run's files; names what is missing,
with the reason.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fedpipe.errors import FedpipeError
from fedpipe.lineage.queries import lineage_of_run
from fedpipe.models.confusion import Confusion
from fedpipe.report import facts
from fedpipe.report.facts import RunFacts
from fedpipe.runs.files import RunFiles
from fedpipe.status import MlflowStatus
from fedpipe.tables.confusion import read_confusion
from fedpipe.tables.evaluation import read_clients, read_labels
from fedpipe.tables.kinds import KIND_TABLES, KindTables, read_kind_table
from fedpipe.tables.mistakes import Mistake, read_mistakes
from fedpipe.tables.population import read_population
from fedpipe.tables.shown_task import ShownTask
from fedpipe.tracking.participation import CLIENTS_NAME
from fedpipe.tracking.participation import read_clients as read_participation
from fedpipe.tracking.rounds import rounds_of
from fedpipe.tracking.store import run_url
from fedpipe.tracking.sweeps import SweepTrial, SweepView, read_sweep
from fedpipe.tracking.tags import SWEEP_SPACE

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fedpipe.tracking.store import Store

Value = TypeVar("Value")

MISTAKES_NAME = "mistakes.parquet"
POPULATION_NAME = "population.json"
TIMING_NAME = "timing.json"
_LABELS = "tables/labels.csv"
_TRIALS = "sweep/children.json"
_OLD_CONFUSION = "tables/confusion.csv"
"""Where runs of earlier versions have their confusion."""
_FILES = {
    facts.ACCURACIES: "tables/clients.parquet",
    facts.CONFUSION: "tables/confusion_counts.csv",
    facts.MISTAKES: f"tables/{MISTAKES_NAME}",
    facts.POPULATION: f"tables/{POPULATION_NAME}",
    facts.CLIENTS: f"lineage/{CLIENTS_NAME}",
    facts.TIMING: f"tables/{TIMING_NAME}",
}


@dataclass
class _Reader:
    """Reads a run's files; notes why a section is missing."""

    run: "Run"
    files: RunFiles
    missing: dict[str, str] = field(default_factory=dict)

    def read(self, section: str, reader: Callable[[Path], Value], name: str = "") -> Value | None:
        """Return the content of a section's file, or of the file `name`; None if it is missing or
        damaged.
        """
        import pyarrow as pa

        name = name or _FILES[section]
        try:
            path = self.files.find(name)
            if path is not None:
                return reader(path)
            self.missing[section] = _why_missing(self.run.info.status, name)
        except (FedpipeError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as err:
            reason = " ".join(str(err).split())[:300]
            self.missing[section] = f"{name} cannot be read: {type(err).__name__}: {reason}"
        return None

    def damaged(self, section: str) -> bool:
        """Return whether the file of a section is there and cannot be read."""
        return "cannot be read" in self.missing.get(section, "")


def gather(store: "Store", run: "Run", files: RunFiles) -> RunFacts:
    """Return the facts of a run, and why some of them are missing.

    Raises:
        TrackingError: the store does not answer.
    """
    info = run.info
    reader = _Reader(run, files)
    rounds = rounds_of(store, run)
    if not rounds:
        reader.missing[facts.ROUNDS] = (
            f"The run, {info.status.lower()}, has no metrics of any round in {store.label}."
        )
    task = ShownTask.of_params(run.data.params)
    labels: list[str] = []
    if task.has_classes:
        labels = reader.read(facts.CONFUSION, read_labels, _LABELS) or []
    return RunFacts(
        run_id=info.run_id,
        name=str(info.run_name or info.run_id),
        status=info.status,
        start_ms=info.start_time,
        end_ms=info.end_time or None,
        url=run_url(store, info.experiment_id, info.run_id),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
        lineage=lineage_of_run(store, run),
        rounds=rounds,
        accuracies=reader.read(facts.ACCURACIES, read_clients),
        labels=labels,
        confusion=_read_confusion(reader, labels),
        kind_tables=_read_kind_tables(reader, task),
        mistakes=_read_mistakes(reader),
        population=reader.read(facts.POPULATION, read_population),
        clients=reader.read(facts.CLIENTS, read_participation),
        seconds=reader.read(facts.TIMING, _read_seconds),
        sweep=_read_sweep(store, reader),
        missing=reader.missing,
    )


def as_finished(run: RunFacts) -> RunFacts:
    """Return the facts of a run that is about to be marked as finished, as they are then."""
    return replace(run, status=MlflowStatus.FINISHED, end_ms=int(time.time() * 1000))


def _read_confusion(reader: _Reader, labels: list[str]) -> Confusion | None:
    """Return the confusion; of a run of an earlier version from the table that it has."""
    if not labels:
        return None

    def read(path: Path) -> Confusion:
        return read_confusion(path, labels)

    confusion = reader.read(facts.CONFUSION, read)
    if confusion is not None or reader.damaged(facts.CONFUSION):
        return confusion
    reason = reader.missing.pop(facts.CONFUSION)
    confusion = reader.read(facts.CONFUSION, read, _OLD_CONFUSION)
    if confusion is None:
        reader.missing[facts.CONFUSION] = reason
    return confusion


def _read_kind_tables(reader: _Reader, task: ShownTask) -> KindTables | None:
    """Return the tables that the kind of the task has; None if one of them is missing."""
    names = KIND_TABLES[task.kind]
    tables: dict[str, Any] = {}
    for name in names:
        table = reader.read(facts.PREDICTIONS, partial(read_kind_table, name), f"tables/{name}")
        if table is None:
            return None
        tables |= table
    return KindTables(**tables) if names else None


def _read_mistakes(reader: _Reader) -> list[Mistake]:
    """Return the images of mistakes. A run that has the other tables of this version and not these
    had no images to keep: nothing is missing.
    """
    mistakes = reader.read(facts.MISTAKES, read_mistakes)
    if mistakes is not None:
        return mistakes
    has_population = reader.files.find(_FILES[facts.POPULATION]) is not None
    if has_population and not reader.damaged(facts.MISTAKES):
        del reader.missing[facts.MISTAKES]
    return []


def _read_sweep(store: "Store", reader: _Reader) -> SweepView | None:
    """Return the sweep of which the run is the parent. A sweep that is running has not listed its
    trials yet; trials that failed before they had a run are in that list alone.
    """
    if SWEEP_SPACE not in reader.run.data.tags:
        return None
    sweep = read_sweep(store, reader.run.info.run_id)
    if reader.files.find(_TRIALS) is None:
        return sweep
    trials = reader.read(facts.SWEEP, _read_trials, _TRIALS)
    if trials is None:
        return sweep
    return replace(sweep, trials=trials)


def _why_missing(status: str, name: str) -> str:
    if status in (MlflowStatus.RUNNING, MlflowStatus.SCHEDULED):
        return f"The run is still running; {name} is written when it finishes."
    if status != MlflowStatus.FINISHED:
        return (
            f"The run did not finish ({status.lower()}) and left no {name}. `fedpipe resume` "
            "continues runs of this machine."
        )
    return (
        f"Neither the run's folder on this machine nor its MLflow artifacts have {name}: an older "
        "fedpipe made the run, or the file was deleted."
    )


def _read_trials(path: Path) -> tuple[SweepTrial, ...]:
    column = itemgetter("name", "state", "value", "params")
    return tuple(
        SweepTrial(row["number"], row.get("run_id", ""), *column(row))
        for row in json.loads(path.read_text(encoding="utf-8"))
    )


def _read_seconds(path: Path) -> dict[str, float]:
    seconds: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {str(phase): float(value) for phase, value in seconds.items()}
