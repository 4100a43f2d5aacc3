"""Local-only training around an algorithm that does nothing: what is measured, when, and the weights."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.base import RoundResult
from fedpipe.algorithms.local_only import LocalOnly
from fedpipe.config import Config
from fedpipe.tasks import Predictions, plain_task
from fedpipe.types import PerClient

MODELS = PerClient(
    [np.zeros(1, np.float32)],
    {"a": [np.float32([1])], "b": [np.float32([2])], "c": [np.float32([9])]},
)
STATE = {"mean": [np.float32([4])], "clients": MODELS}
SPLITS = {"a": "test of a", "b": "", "c": "test of c"}


class Nothing:
    info = {"algorithm.aggregator": "mean"}  # noqa: RUF012 - the protocol's property

    def next(self, state: Any, _round_num: int, cohort: tuple[str, ...]) -> RoundResult:
        return RoundResult(state, {"train/loss": 1.0}, examples=len(cohort), failed=("c",))


class Scorer:
    """Scores model w on examples: a loss of w, ten times that on the central test set; all right for a."""

    task = plain_task(2)

    def predict(self, weights: Any, examples: str) -> Predictions:
        w = float(weights["w"][0])
        losses = np.array([10 * w if examples == "central" else w], np.float32)
        labels = np.array([1], np.int32)
        predicted = np.array([w == 1], np.int32)
        return Predictions(np.zeros(1, np.int64), labels, predicted, losses, losses)


@pytest.fixture
def algorithm() -> LocalOnly:
    parts: dict[str, Any] = {
        "config": Config.model_validate({"rounds": 5, "eval": {"every": 2}}),
        "model": SimpleNamespace(tensor_names=("w",)),
        "population": SimpleNamespace(examples=lambda client_id, _split: SPLITS[client_id]),
        "predictor": Scorer(),
        "central_test": "central",
    }
    return LocalOnly(Nothing(), **parts)  # type: ignore[arg-type]


def test_the_models_of_clients_that_reported_are_measured_on_both_tests(
    algorithm: LocalOnly,
) -> None:
    # c failed; b has no test split: local/test is a's alone, local/central the mean of a and b.
    metrics = algorithm.next(STATE, 2, ("a", "b", "c")).metrics
    assert metrics == {
        "train/loss": 1.0,
        "local/central_loss": 15.0,
        "local/central_accuracy": 0.5,
        "local/test_loss": 1.0,
        "local/test_accuracy": 1.0,
    }


@pytest.mark.parametrize(("round_num", "measured"), [(1, False), (2, True), (3, False), (5, True)])
def test_measured_where_the_run_is_evaluated(
    algorithm: LocalOnly, round_num: int, measured: bool
) -> None:
    metrics = algorithm.next(STATE, round_num, ("a",)).metrics
    assert ("local/central_loss" in metrics) is measured


def test_weights_are_the_mean_of_all_clients(algorithm: LocalOnly) -> None:
    assert algorithm.weights(STATE) == {"w": np.float32([4])}
    assert algorithm.info == {"algorithm.aggregator": "mean"}
