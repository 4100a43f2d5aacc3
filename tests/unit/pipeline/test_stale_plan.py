"""A plan that was drawn before someone left is refused, by name, before anything is trained."""

from pathlib import Path

import pytest

from fedpipe.config import Config, DataConfig
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import PlanError
from fedpipe.pipeline.sample_clients import read_plan, sample_clients
from fedpipe.pipeline.train import _refuse_strangers
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.step_results import DataRef


def test_a_plan_that_names_a_forgotten_client_is_refused(tmp_path: Path) -> None:
    data, config = (
        DataConfig(clients=20),
        Config.model_validate(
            {"cohort": {"size": 20, "strategy": "uniform"}, "data": {"clients": 20}}
        ),
    )
    prepare_shards(data, tmp_path / "shards", tmp_path)
    run = RunContext(Project(tmp_path), config, tmp_path / "run")
    plan = read_plan(sample_clients(run, DataRef(str(tmp_path / "shards"), "m", "h", 0.0)))
    population = Population.open(tmp_path / "shards")
    _refuse_strangers(plan, population, population.participating())
    prepare_shards(data, tmp_path / "shards", tmp_path, {"c003", "c007"})
    population = Population.open(tmp_path / "shards")
    with pytest.raises(
        PlanError,
        match=r"expected clients that may train, found forgotten ones: c003, c007\. Start a new run\.",
    ):
        _refuse_strangers(plan, population, population.participating())
