"""Gathers what a report says of a run: from the MLflow store, and from the run's files wherever
they are. What is not there is named.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fedpipe.errors import FedpipeError
from fedpipe.figures.mistakes import read_mistakes
from fedpipe.lineage.queries import lineage_of_run
from fedpipe.report import facts
from fedpipe.report.facts import ClientAccuracy, RunFacts, Sweep
from fedpipe.runs.files import RunFiles
from fedpipe.tables.evaluation import read_client_rows
from fedpipe.tables.population import read_population
from fedpipe.tables.tables import read_confusion, read_labels
from fedpipe.tracking.participation import CLIENTS_NAME, read_clients
from fedpipe.tracking.rounds import rounds_of
from fedpipe.tracking.store import run_url
from fedpipe.tracking.sweeps import SPACE, read_sweep

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fedpipe.tracking.store import Store

Value = TypeVar("Value")

MISTAKES_NAME = "mistakes.parquet"
POPULATION_NAME = "population.json"
TIMING_NAME = "timing.json"
_OLD_CONFUSION = "tables/confusion.csv"
"""Where runs of earlier versions have their confusion."""
_TABLES = {
    facts.ACCURACIES: "tables/clients.parquet",
    facts.CONFUSION: "tables/confusion_counts.csv",
    facts.MISTAKES: f"tables/{MISTAKES_NAME}",
    facts.POPULATION: f"tables/{POPULATION_NAME}",
    facts.CLIENTS: f"lineage/{CLIENTS_NAME}",
    facts.TIMING: f"tables/{TIMING_NAME}",
}


def gather(store: "Store", run: "Run", files: RunFiles) -> RunFacts:
    """Return what is known of a run; of what is not, why.

    Raises:
        TrackingError: the store does not answer.
    """
    import pyarrow as pa

    info = run.info
    missing = dict[str, str]()

    def read(part: str, reader: Callable[[Path], Value], name: str = "") -> Value | None:
        name = name or _TABLES[part]
        try:
            path = files.find(name)
            if path is not None:
                return reader(path)
            missing[part] = _why_not(run, name)
        except (FedpipeError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as err:
            missing[part] = (
                f"{name} cannot be read: {type(err).__name__}: {' '.join(str(err).split())[:300]}"
            )
        return None

    rounds = rounds_of(store, run)
    sweep = None
    if SPACE in run.data.tags:
        view = read_sweep(store, info.run_id)
        # One that is going on has not listed its children yet; children that failed before they had
        # a run are in that list alone.
        listed = (
            read(facts.SWEEP, _trials, "sweep/children.json")
            if files.find("sweep/children.json") is not None
            else None
        )
        sweep = Sweep(
            view.metric,
            view.direction,
            view.keys,
            listed if listed is not None else [asdict(one) for one in view.trials],
        )
    if not rounds:
        missing[facts.ROUNDS] = (
            f"The run, {info.status.lower()}, has no metrics of any round in {store.label}."
        )
    labels = read(facts.CONFUSION, read_labels, "tables/labels.csv") or []
    confusion = read(facts.CONFUSION, lambda path: read_confusion(path, labels)) if labels else None
    if confusion is None and labels and "cannot be read" not in missing[facts.CONFUSION]:
        why = missing.pop(facts.CONFUSION)
        confusion = read(facts.CONFUSION, lambda path: read_confusion(path, labels), _OLD_CONFUSION)
        if confusion is None:
            missing[facts.CONFUSION] = why
    mistakes = read(facts.MISTAKES, read_mistakes)
    if (
        mistakes is None
        and files.find(_TABLES[facts.POPULATION]) is not None
        and "cannot" not in missing[facts.MISTAKES]
    ):
        del missing[
            facts.MISTAKES
        ]  # it has the tables of this version, and so had no pictures to keep
    return RunFacts(
        run_id=info.run_id,
        name=str(info.run_name or info.run_id),
        status=info.status,
        start_ms=int(info.start_time),
        end_ms=int(info.end_time) if info.end_time else None,
        url=run_url(store, info.experiment_id, info.run_id),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
        chain=lineage_of_run(store, run).to_json(),
        rounds=rounds,
        accuracies=read(facts.ACCURACIES, _accuracies),
        labels=labels,
        confusion=confusion,
        mistakes=mistakes or (),
        population=read(facts.POPULATION, read_population),
        clients=read(facts.CLIENTS, read_clients),
        seconds=read(facts.TIMING, _seconds),
        sweep=sweep,
        missing=missing,
    )


def as_finished(found: RunFacts) -> RunFacts:
    """Return the facts of a run that is about to be marked as finished, as they are then."""
    return replace(found, status="FINISHED", end_ms=int(time.time() * 1000))


def _why_not(run: "Run", name: str) -> str:
    status = run.info.status
    if status in ("RUNNING", "SCHEDULED"):
        return f"The run is still going on; {name} is made at its end."
    if status != "FINISHED":
        return (
            f"The run did not come to its end ({status.lower()}) and left no {name}. `fedpipe "
            "resume` goes on with runs of this machine."
        )
    return (
        f"Neither the run's folder on this machine nor its MLflow artifacts have {name}: it was "
        "made by an older fedpipe, or deleted."
    )


def _accuracies(path: Path) -> list[ClientAccuracy]:
    return [
        ClientAccuracy(
            row["client_id"], row["held_out"], row["predictions"], row["accuracy"], row.get("gain")
        )
        for row in read_client_rows(path)
    ]


def _trials(path: Path) -> list[dict[str, Any]]:
    names = ("number", "name", "state", "value", "params")
    return [
        {name: child[name] for name in names}
        for child in json.loads(path.read_text(encoding="utf-8"))
    ]


def _seconds(path: Path) -> dict[str, float]:
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {str(name): float(value) for name, value in body.items()}
