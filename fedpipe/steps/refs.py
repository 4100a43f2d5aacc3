"""What steps hand to each other: references (paths, ids, digests), never data. All are JSON-able."""

from dataclasses import dataclass
from typing import Any


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
    """A cohort plan on disk, and the folder of the run that it was made for."""

    path: str
    sha256: str
    run_dir: str


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
        rounds: how many rounds were run; fewer than `rounds` of the settings where a budget ended the training.
        privacy: epsilon, delta and what they assume; `None` without privacy.
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
    privacy: dict[str, Any] | None = None


@dataclass(frozen=True)
class EvalRef:
    """A finished evaluation of the initial and the final weights on the central test set.

    Attributes:
        metrics: JSON file with `initial` and `final`, each with `test/loss` and `test/accuracy`.
        confusion_table: CSV file of the final weights' confusion, in the form of DVC's template.
        confusion: the final weights' counts; row = label, column = prediction.
        initial: the figures before training.
        final: the figures after.
        seconds: wall time.
    """

    metrics: str
    confusion_table: str
    confusion: list[list[int]]
    initial: dict[str, float]
    final: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class RecordRef:
    """A complete MLflow run.

    Attributes:
        run_id: MLflow run.
        url: its page in the MLflow UI.
        open_with: the command that serves that page, where the store is a file.
        model_uri: the final model, for `mlflow.pyfunc.load_model`.
    """

    run_id: str
    url: str
    open_with: str
    model_uri: str
