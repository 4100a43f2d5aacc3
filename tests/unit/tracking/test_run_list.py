"""Conditions on runs, and the metric that chooses."""

import pytest

from fedpipe.errors import ConfigError
from fedpipe.tracking.run_list import ListedRun, _test, chosen_metric

RUN = ListedRun(
    run_id="24092a7a0e2b",
    name="Base line",
    status="finished",
    start_ms=1_764_414_318_000,
    seconds=7.0,
    params={
        "client.learning_rate": "0.1",
        "client.max_steps": "None",
        "tracking.register": "True",
        "algorithm.name": "fedavg",
        "model.name": "softmax",
        "rounds": "15",
        "model.options.width": "8",
    },
    metrics={"test/accuracy": 0.2, "final/test/accuracy": 0.3, "best/test/accuracy": 0.4},
    tags={"dvc.data_md5": "3ea5ca95.dir", "git.commit": "a2a6584"},
)


@pytest.mark.parametrize(
    "condition",
    [
        "client.learning_rate=0.1",
        "client.learning_rate = 1e-1",
        "client.learning_rate!=0.2",
        "client.learning_rate<=0.1",
        "client.max_steps=null",
        "tracking.register=true",
        "rounds>=15",
        "rounds<20",
        "status=finished",
        "name~base",
        "name=base line",
        "id=2409",
        "data=3ea5",
        "commit=a2a6",
        "started>=2025-11-29",
        "algorithm=fedavg",
        "model=softmax",
        "model.options.width=8",
        "test/accuracy>0.39",
        "final/test/accuracy<0.35",
    ],
)
def test_it_meets(condition: str) -> None:
    assert _test(condition)(RUN)


@pytest.mark.parametrize(
    "condition",
    [
        "client.learning_rate=0.10001",
        "client.learning_rate!=0.1",
        "client.learning_rate>0.1",
        "rounds<15",
        "status=failed",
        "name~other",
        "id=4092",
        "id!=2409",
        "started>=2026",
        "test/accuracy<0.39",
        "validation/accuracy>0",
        "cohort.size=10",
        "algorithm.name>a",
    ],
)
def test_it_does_not_meet(condition: str) -> None:
    assert not _test(condition)(RUN)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("rounds", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("client.learning_rat=1", "Did you mean 'client.learning_rate'"),
        ("accuracy>1", "a metric such as test/accuracy"),
    ],
)
def test_a_condition_that_cannot_be_read_is_refused(condition: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _test(condition)


def test_the_metric_that_chooses() -> None:
    both = {"best/validation/accuracy": 0.5, "final/test/accuracy": 0.4}
    assert chosen_metric({}, both) == ("validation/accuracy", 0.5)
    assert chosen_metric({"task.choose_by": "loss"}, {"final/test/loss": 1.0, **both}) == (
        "test/loss",
        1.0,
    )
    assert chosen_metric({"task.kind": "regression"}, {"final/test/rmse": 55.0}) == (
        "test/rmse",
        55.0,
    )
    assert chosen_metric({}, {"test/accuracy": 0.1}) == ("test/accuracy", 0.1)
    assert chosen_metric({}, {}) is None


def test_the_rows_of_a_list() -> None:
    row = RUN.as_row()
    assert row["started"] == "2025-11-29T11:05:18+00:00"
    assert (row["data_md5"], row["rounds"], row["metric"]) == ("3ea5ca95", 15, "test/accuracy")
