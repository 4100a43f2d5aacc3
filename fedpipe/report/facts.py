"""Facts of a run, which a report shows. Values alone: `gather.py` reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from fedpipe.lineage.queries import RunLineage
from fedpipe.models.confusion import Confusion
from fedpipe.tables.evaluation import ClientValues
from fedpipe.tables.kinds import KIND_TABLES, KindTables
from fedpipe.tables.mistakes import Mistake
from fedpipe.tables.population import PopulationTable
from fedpipe.tables.rounds import Row
from fedpipe.tables.shown_task import ShownTask, metric_words
from fedpipe.tracking.participation import ClientRound
from fedpipe.tracking.sweeps import SweepView

ROUNDS = "learning curves"
ACCURACIES = "accuracy of each client"
CONFUSION = "confusion"
PREDICTIONS = "predictions"
MISTAKES = "pictures of mistakes"
POPULATION = "population"
CLIENTS = "participation"
TIMING = "timing"
SWEEP = "sweep"
"""Names of the sections that may be missing."""


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Attributes:
        run_id: id of its MLflow run.
        name: name of its MLflow run.
        status: MLflow's status.
        start_ms: start, in milliseconds since 1970.
        end_ms: end, in milliseconds since 1970; None while the run is running.
        url: its page in the MLflow UI.
        params: MLflow's params.
        tags: MLflow's tags.
        metrics: the last values of MLflow's metrics.
        lineage: where it comes from, and its model versions.
        rounds: one row per round.
        accuracies: the metric that chooses, of each client; None if not known, as all below.
        labels: names of the classes.
        confusion: counts on the central test set; None of tasks without classes.
        kind_tables: what the kind of the task says of its predictions; None of classes.
        mistakes: examples of the worst pairs; empty where there are no images to show.
        population: the clients and their labels.
        clients: one row per client and round.
        seconds: wall time by phase.
        missing: why a section is missing, by its name.
        sweep: the sweep, where the run is its parent and has no rounds of its own.
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
    lineage: RunLineage
    rounds: Sequence[Row] = ()
    accuracies: ClientValues | None = None
    labels: Sequence[str] = ()
    confusion: Confusion | None = None
    kind_tables: KindTables | None = None
    mistakes: Sequence[Mistake] = ()
    population: PopulationTable | None = None
    clients: Sequence[ClientRound] | None = None
    seconds: Mapping[str, float] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    sweep: SweepView | None = None

    @property
    def chosen(self) -> str:
        """Return which weights the results are of: `best` where validation chose, else `final`."""
        if any(key.startswith("best/test/") for key in self.metrics):
            return "best"
        return "final"

    @cached_property
    def task(self) -> ShownTask:
        """Return the task, by the run's params."""
        return ShownTask.of_params(self.params)

    @property
    def worst_words(self) -> str:
        """Return what the clients for which the model is worst have, such as `lowest accuracy`."""
        if self.accuracies is None:
            return "lowest accuracy"
        extreme = "lowest" if self.accuracies.higher_is_better else "highest"
        return f"{extreme} {metric_words(self.accuracies.metric)}"

    @property
    def has_kind_tables(self) -> bool:
        """Return whether the kind of the task has tables of its own."""
        return bool(KIND_TABLES[self.task.kind])

    @property
    def seconds_taken(self) -> float | None:
        """Return the seconds from start to end of the MLflow run; None while it is running."""
        if self.end_ms is None:
            return None
        return (self.end_ms - self.start_ms) / 1000

    def result(self, key: str) -> float | None:
        """Return a metric of the chosen weights, such as `test/accuracy`; None if the run has
        none.
        """
        return self.metrics.get(f"{self.chosen}/{key}")

    def before(self, key: str) -> float | None:
        """Return a metric before training; None if the run has none."""
        if self.rounds and self.rounds[0]["round"] == 0:
            return self.rounds[0].get(key)
        return None

    def why_missing(self, section: str) -> str:
        """Return why a section is missing."""
        return self.missing.get(section, "The run recorded none.")

    @property
    def missing_sections(self) -> dict[str, str]:
        """Return why sections of the report are missing, by their names."""
        is_known = {
            ROUNDS: bool(self.rounds),
            ACCURACIES: self.accuracies is not None and bool(self.accuracies.clients),
            CONFUSION: self.confusion is not None or not self.task.has_classes,
            PREDICTIONS: self.kind_tables is not None or not self.has_kind_tables,
            POPULATION: self.population is not None,
            CLIENTS: bool(self.clients),
            TIMING: bool(self.seconds),
            MISTAKES: MISTAKES not in self.missing,
        }
        if self.sweep is not None:
            is_known = {SWEEP: SWEEP not in self.missing}
        return {name: self.why_missing(name) for name, known in is_known.items() if not known}


def differing(runs: Sequence[RunFacts]) -> list[tuple[str, list[str | None]]]:
    """Return the settings in which runs differ, with each run's value; None where a run does not
    have the setting.

    A setting that nothing reads because another is off differs all the same: it was set.
    """
    return [(key, values) for key, values in settings(runs) if len(set(values)) > 1]


def settings(runs: Sequence[RunFacts]) -> list[tuple[str, list[str | None]]]:
    """Return the settings in alphabetical order, with each run's value."""
    return sorted(side_by_side([run.params for run in runs]))


def side_by_side(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str | None]]]:
    """Return each key with its value in every column, in the order in which keys occur first.

    >>> side_by_side([{"b": "1"}, {"b": "2", "a": "3"}])
    [('b', ['1', '2']), ('a', [None, '3'])]
    """

    def values(key: str) -> list[str | None]:
        return [column.get(key) for column in columns]

    return [(key, values(key)) for key in dict.fromkeys(chain.from_iterable(columns))]
