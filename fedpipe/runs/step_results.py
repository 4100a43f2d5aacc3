"""What steps hand to each other: references (paths, ids, digests), never data. All are
JSON-able.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TRAINED_NAME = "run.json"
"""File with the `TrainRef` of a finished training."""


@dataclass(frozen=True)
class DataRef:
    """A version of the shards.

    Attributes:
        path: folder of the shards.
        md5: DVC's md5 of that folder.
        how: how they were brought up to date.
        seconds: wall time of that.
    """

    path: str
    md5: str
    how: str
    seconds: float


@dataclass(frozen=True)
class PlanRef:
    """A cohort plan on disk: its file, and the SHA-256 of the file's bytes."""

    path: str
    sha256: str


@dataclass(frozen=True)
class TrainRef:
    """A finished training.

    Attributes:
        run_id: MLflow run.
        run_dir: folder of the run's files.
        initial_weights: file of the weights of round 0.
        final_weights: file of the weights after the last round.
        rounds_table: CSV, one row a round.
        weights_sha256: of the final weights.
        seconds: wall time of the training, starts included.
        round_median_seconds: median wall time of a round, without evaluation.
        rounds: rounds that were trained: fewer than the settings say where validation or a budget
            ended it.
        best_weights: file of the weights that the validation examples chose; None where there are
            none.
        best_round: the round of these.
        privacy: epsilon, delta and what they assume; None without privacy.
        missing: parts that could not be made after the last round, and why.
    """

    run_id: str
    run_dir: str
    initial_weights: str
    final_weights: str
    rounds_table: str
    weights_sha256: str
    seconds: float
    round_median_seconds: float
    rounds: int
    best_weights: str | None
    best_round: int | None
    privacy: dict[str, Any] | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def result_weights(self) -> str:
        """Return the file of the weights that the run's result is: the best where validation chose,
        else the last.
        """
        return self.best_weights or self.final_weights

    @property
    def result_round(self) -> int:
        """Return the round of these weights."""
        if self.best_round is None:
            return self.rounds
        return self.best_round


@dataclass(frozen=True)
class EvalRef:
    """A finished evaluation of the initial, the final and, where validation chose, the best
    weights.

    What is said of each client, each label and each confidence is of the chosen weights: the best,
    or else the final ones.

    Attributes:
        metrics: JSON file with `initial`, `final` and, where validation chose, `best`, each with
            `test/loss` and the task's metrics, such as `test/accuracy`.
        confusion_table: CSV file of the confusion on the central test set, in the form of DVC's
            template.
        confusion_counts: CSV file, how often each label was taken for which.
        labels_table: CSV file, examples and accuracy of each label there.
        reliability_table: CSV file, mean confidence and accuracy of the predictions in each bin of
            confidence there.
        clients_table: Parquet file, a row a client that was evaluated.
        mistakes_table: Parquet file, pictures of the pairs that are confused most often; not there
            where features are no pictures.
        initial: the figures before training.
        final: the figures after.
        best: the figures of the best weights, or None.
        seconds: wall time.
        missing: parts of the evaluation that failed, and why; their files are not there.
        kind_tables: CSV files that the kind of the task has (`tables.kinds`): ranking curves,
            labels, targets. Of tasks without classes the files of confusion, labels and reliability
            above are not there.
        metric: the metric that chooses (`task.choose_by`).
    """

    metrics: str
    confusion_table: str
    confusion_counts: str
    labels_table: str
    reliability_table: str
    clients_table: str
    mistakes_table: str
    initial: dict[str, float]
    final: dict[str, float]
    best: dict[str, float] | None
    seconds: float
    missing: dict[str, str] = field(default_factory=dict)
    kind_tables: tuple[str, ...] = ()
    metric: str = "accuracy"

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the files of figures and tables, without the pictures of mistakes."""
        return (
            self.metrics,
            self.confusion_table,
            self.confusion_counts,
            self.labels_table,
            self.reliability_table,
            self.clients_table,
            *self.kind_tables,
        )


@dataclass(frozen=True)
class RegisteredRef:
    """A registered version of the run's model, and what became of the alias `champion`.

    Attributes:
        name: of the registered model.
        version: its number.
        alias: `champion` or `challenger`: what this version is now.
        champion_before: number of the version that was champion before, None if there was none.
        validation_accuracy: the metric that chooses, of this version, on the run's validation
            examples; of other tasks than the default it need not be an accuracy. None where it was
            no number.
        champion_accuracy: the same of the champion before, on the same examples; None where it was
            not measured.
        min_improvement: `tracking.min_improvement`.
        reason: why, in words.
        metric: key of the metric that chooses.
    """

    name: str
    version: str
    alias: str
    champion_before: str | None
    validation_accuracy: float | None
    champion_accuracy: float | None
    min_improvement: float
    reason: str
    metric: str = "validation/accuracy"


@dataclass(frozen=True)
class RecordRef:
    """A complete MLflow run.

    Attributes:
        run_id: MLflow run.
        url: its page in the MLflow UI.
        open_with: the command that serves that page, where the store is a file.
        model_uri: the final model, for `mlflow.pyfunc.load_model`; None where it could not be
            saved.
        registered: the registered version; None without `tracking.register`.
        incomplete: parts that are missing from the run, and why; `fedpipe record` makes them.
        warnings: what makes the result doubtful, each as `what` and `help`.
    """

    run_id: str
    url: str
    open_with: str
    model_uri: str | None
    registered: RegisteredRef | None = None
    incomplete: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Mapping[str, str], ...] = ()
