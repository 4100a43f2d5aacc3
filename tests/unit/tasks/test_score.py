"""The metric that chooses: one rule for the best round, the early stop, the champion and a sweep."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedpipe.config import Config
from fedpipe.config.sweep import SweepConfig
from fedpipe.config.task import TaskConfig
from fedpipe.engine.early_stopping import BestRound, EarlyStopping
from fedpipe.errors import ConfigError
from fedpipe.pipeline.evaluate import summary_keys
from fedpipe.registry.promotion import Holder, decide
from fedpipe.sweep.sweep import judged_by_the_task
from fedpipe.tasks.score import Score, score_of
from fedpipe.tracking.snapshots import SnapshotPolicy, index_body
from fedpipe.types import RoundReport

RMSE = Score("rmse", higher_is_better=False)


def report(number: int, **metrics: float) -> RoundReport:
    named = {key.replace("_", "/", 1): value for key, value in metrics.items()}
    return RoundReport(number, (), (), named, 0, 0.0, {"w": np.zeros(1, np.float32)})


def test_the_best_round_is_that_of_the_lowest_error() -> None:
    best = BestRound(by=RMSE)
    stop = EarlyStopping(best, 2)
    rounds = [{"validation/rmse": value} for value in (3.0, 1.0, math.nan, 1.0, 2.0)]
    stops = []
    for number, metrics in enumerate(rounds):
        best.add(number, metrics)
        stops.append(stop.should_stop(number, dict(enumerate(rounds[: number + 1]))))
    assert (best.round_num, best.score) == (1, 1.0)
    assert stops == [False, False, False, True, True]


def test_a_round_whose_validation_lacks_the_metric_is_not_best_by_its_test_score() -> None:
    best = BestRound(by=Score("auroc"))
    assert not best.add(0, {"validation/loss": 0.5, "test/auroc": 0.9})
    assert best.add(1, {"validation/loss": 0.5, "validation/auroc": 0.6, "test/auroc": 0.1})
    assert best.chosen == 1


def test_a_try_that_is_resumed_keeps_the_lowest_error() -> None:
    best = BestRound(3, 0.5, "validation/rmse", RMSE)
    assert not best.add(4, {"validation/rmse": 0.6})
    assert best.add(5, {"validation/rmse": 0.4})


def test_saved_weights_are_those_of_the_lowest_error() -> None:
    policy = SnapshotPolicy(1, score=RMSE)
    for number, value in enumerate((2.0, 1.0, 3.0)):
        policy.take(report(number, validation_rmse=value, test_rmse=0.0))
    assert policy.best is not None
    assert (policy.best.round_num, policy.best.score) == (1, 1.0)
    assert index_body({}, policy.best, RMSE)["best_by"] == "validation/rmse"


@pytest.mark.parametrize(
    ("score", "alias", "words"),
    [
        (1.0, "champion", "validation/rmse 1.0000, 1.0000 less than the 2.0000 of m/1"),
        (1.8, "challenger", "0.2000 less than the 2.0000 of m/1 (at least 0.5 is asked for)"),
        (3.0, "challenger", "no less than the 2.0000 of m/1"),
        (math.nan, "challenger", "it has no validation/rmse"),
    ],
)
def test_a_lower_error_makes_the_champion(score: float, alias: str, words: str) -> None:
    found = decide(score, (), Holder("m/1", (), 2.0), 0.5, RMSE)
    assert found[0] == alias
    assert words in found[1]


def test_the_summary_follows_the_task() -> None:
    assert summary_keys(TaskConfig()) == ("test/accuracy", "test/loss")
    task = TaskConfig(kind="binary", metrics=["auprc", "own.scores:cost"], choose_by="auroc")
    assert summary_keys(task) == ("test/auroc", "test/loss", "test/auprc", "test/cost")


def sweep(**values: Any) -> SweepConfig:
    space = {"client.learning_rate": {"choices": [0.1, 0.2]}}
    return SweepConfig.model_validate({"search": "grid", "space": space} | values)


def judged(kind: str, **values: Any) -> SweepConfig:
    config = Config.model_validate({"task": {"kind": kind}})
    project: Any = SimpleNamespace(root=Path())
    return judged_by_the_task(sweep(**values), config, "sweep.yaml", project)


def test_a_sweep_is_judged_by_what_the_task_chooses_by() -> None:
    assert judged("classification") == sweep()
    followed = judged("regression")
    assert (followed.metric, followed.better) == ("validation/rmse", "minimize")
    other = judged("regression", metric="validation/r2")
    assert (other.metric, other.better) == ("validation/r2", "maximize")
    with pytest.raises(ConfigError, match=r"validation/rmse.*found 'validation/auroc'"):
        judged("regression", metric="validation/auroc")


def test_losses_of_other_losses_are_not_compared() -> None:
    with pytest.raises(ValueError, match="have another loss"):
        sweep(metric="validation/loss", space={"task.gamma": {"choices": [1.0, 2.0]}})


def test_the_direction_of_a_users_metric_is_the_functions(tmp_path: Path) -> None:
    (tmp_path / "own_score_functions.py").write_text(
        "def cost(outputs, targets):\n    return 1.0\n\ncost.higher_is_better = False\n"
    )
    task = TaskConfig(metrics=["own_score_functions:cost"], choose_by="own_score_functions:cost")
    assert score_of(task, tmp_path) == Score("cost", higher_is_better=False)
