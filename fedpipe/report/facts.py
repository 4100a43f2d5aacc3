"""What a report is told of a run. Values alone: where they come from is the business of
`report/gather.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedpipe.figures.mistakes import Mistake
from fedpipe.models.confusion import Confusion
from fedpipe.tables.population import PopulationTable
from fedpipe.tables.tables import Row
from fedpipe.tracking.participation import ClientRound

ROUNDS = "learning curves"
ACCURACIES = "accuracy of each client"
CONFUSION = "confusion"
MISTAKES = "pictures of mistakes"
POPULATION = "population"
CLIENTS = "participation"
TIMING = "timing"
SWEEP = "sweep"
"""Names of the parts that may be missing."""


@dataclass(frozen=True)
class ClientAccuracy:
    """What the model is worth to one client, on its own test examples."""

    client_id: str
    held_out: bool
    predictions: int
    accuracy: float
    gain: float | None


@dataclass(frozen=True)
class Sweep:
    """The children of a sweep, whose parent run this is.

    Attributes:
        metric: what they were judged by.
        direction: `maximize` or `minimize`.
        keys: the settings that were searched.
        children: each with `number`, `name`, `run_id`, `state`, `value` (None where it has none)
            and `params` by key.
    """

    metric: str
    direction: str
    keys: tuple[str, ...]
    children: Sequence[Mapping[str, Any]]

    @property
    def best(self) -> Mapping[str, Any] | None:
        """Return the best finished child, the first of equals; None if none has a value."""
        judged = [
            child
            for child in self.children
            if child["state"] == "finished" and child["value"] is not None
        ]
        sign = -1.0 if self.direction == "maximize" else 1.0
        return min(judged, key=lambda child: (sign * child["value"], child["number"]), default=None)


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Attributes:
        run_id: its MLflow run.
        name: its name.
        status: MLflow's.
        start_ms, end_ms: milliseconds since 1970; no end while it is going on.
        url: its page in the MLflow UI.
        params, tags, metrics: MLflow's; of metrics the last values.
        chain: as `lineage.queries.RunLineage.to_json` gives it.
        rounds: a row a round.
        accuracies: a row a client; None if not known, as all below.
        labels: names of the classes.
        confusion: counts on the central test set.
        mistakes: examples of the worst pairs; empty where there are no pictures to show.
        population: the clients and their labels.
        clients: a row for each client and round.
        seconds: wall time by phase.
        missing: why a part is not known, by its name.
        sweep: the children, where the run is the parent of a sweep and has no rounds of its own.
    """

    run_id: str
    name: str
    status: str
    start_ms: int
    end_ms: int | None
    url: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    chain: Mapping[str, Any]
    rounds: Sequence[Row] = ()
    accuracies: Sequence[ClientAccuracy] | None = None
    labels: Sequence[str] = ()
    confusion: Confusion | None = None
    mistakes: Sequence[Mistake] = ()
    population: PopulationTable | None = None
    clients: Sequence[ClientRound] | None = None
    seconds: Mapping[str, float] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    sweep: Sweep | None = None

    @property
    def chosen(self) -> str:
        """Return which weights the results are of: `best` where validation chose, else `final`."""
        if "best/test/accuracy" in self.metrics:
            return "best"
        return "final"

    def result(self, key: str) -> float | None:
        """Return a figure of the chosen weights, such as `test/accuracy`; None if the run has
        none.
        """
        return self.metrics.get(f"{self.chosen}/{key}")

    def before(self, key: str) -> float | None:
        """Return a figure before training."""
        if self.rounds and self.rounds[0]["round"] == 0:
            return self.rounds[0].get(key)
        return None

    def why_missing(self, part: str) -> str:
        """Return why a part is not there."""
        return self.missing.get(part, "The run recorded none.")

    @property
    def missing_parts(self) -> dict[str, str]:
        """Return why parts of the report are missing, by their names."""
        if self.sweep is not None:
            if SWEEP in self.missing:
                return {SWEEP: self.missing[SWEEP]}
            return {}
        parts = {
            ROUNDS: self.rounds,
            ACCURACIES: self.accuracies,
            CONFUSION: self.confusion is not None,
            POPULATION: self.population,
            CLIENTS: self.clients,
            TIMING: self.seconds,
        }
        found = {part: self.why_missing(part) for part, value in parts.items() if not value}
        return found | ({MISTAKES: self.missing[MISTAKES]} if MISTAKES in self.missing else {})


def differing(runs: Sequence[RunFacts]) -> list[tuple[str, list[str | None]]]:
    """Return the settings in which runs differ, with each run's value; None where a run does not
    have the setting.

    A setting that nothing reads because another is off differs all the same: it was set.
    """
    keys = sorted({key for run in runs for key in run.params})
    rows = [(key, [run.params.get(key) for run in runs]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
