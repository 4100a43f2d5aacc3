"""A private training as its step runs it: epsilon on the run, round by round, and an end before the budget is passed."""

import json
import logging
from pathlib import Path

import pytest

from fedpipe.algorithms.accountant import account
from fedpipe.config import Config
from fedpipe.data.prepare import prepare_shards
from fedpipe.steps.project import find_project
from fedpipe.steps.refs import DataRef
from fedpipe.steps.sample import read_plan, sample_clients
from fedpipe.steps.train import train
from fedpipe.tracking.store import open_store


def private(**privacy: float) -> Config:
    chosen = {"mechanism": "gaussian", "clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-5, **privacy}
    return Config.model_validate({"rounds": 5, "cohort": {"size": 5, "strategy": "uniform"}, "privacy": chosen})


def test_the_run_shows_epsilon_and_ends_before_its_budget_is_passed(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = find_project(project)
    free = private()
    prepare_shards(free.data, project / "data" / "shards", project)
    data = DataRef(str(project / "data" / "shards"), "0" * 32, "made", 0.0)
    plan = sample_clients(free, data, found.run_dir("private"))
    accountant = account(free, 100, read_plan(plan))
    config = private(max_epsilon=accountant.epsilon(2))
    with caplog.at_level(logging.WARNING, "fedpipe.privacy"):
        trained = train(config, data, plan, found, "private")
    assert "training ends after round 2 of 5" in caplog.text
    assert trained.rounds == 2
    assert trained.privacy is not None
    assert trained.privacy["epsilon"] == accountant.epsilon(2)
    assert json.loads((Path(trained.run_dir) / "run.json").read_text())["privacy"]["neighbours"] == "replace one client by another"
    client = open_store(project, config.tracking.experiment).client
    epsilons = client.get_metric_history(trained.run_id, "privacy/epsilon")
    assert [(metric.step, metric.value) for metric in epsilons] == [(number, accountant.epsilon(number)) for number in (1, 2)]
    tags = client.get_run(trained.run_id).data.tags
    assert tags["privacy.epsilon"] == repr(accountant.epsilon(2))
    assert tags["privacy.delta"] == "1e-05"
    assert tags["privacy.sampling"].startswith("uniform: 5 of 100 clients")
    assert tags["algorithm.aggregator"] == "private mean, fixed clip"
