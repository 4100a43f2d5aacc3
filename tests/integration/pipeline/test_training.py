"""How `train` and `evaluate` are wired: early stopping, private settings, missing parts, folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config import Config
from fedpipe.data.prepare import prepare_shards
from fedpipe.pipeline import train as train_module
from fedpipe.pipeline.evaluate import evaluate
from fedpipe.pipeline.sample_clients import sample_clients
from fedpipe.pipeline.train import train
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.optional_parts import LINEAGE_PART
from fedpipe.runs.step_results import DataRef, TrainRef

Train = Callable[[str, dict[str, Any]], tuple[RunContext, DataRef, TrainRef]]


@pytest.fixture
def train_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text("")
    project = Project(tmp_path)

    def run(name: str, settings: dict[str, Any]) -> tuple[RunContext, DataRef, TrainRef]:
        config = Config.model_validate({"runtime": {"debug": True}, **settings})
        prepare_shards(config.data, project.shards, tmp_path)
        data = DataRef(str(project.shards), "0" * 32 + ".dir", "made", 0.0)
        context = RunContext(project, config, project.run_dir(name), name)
        return context, data, train(context, data, sample_clients(context, data))

    return run


def test_a_training_stops_after_patience_and_says_what_is_missing(
    train_run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        raise OSError("no lineage")

    monkeypatch.setattr(train_module, "write_lineage", fail)
    settings = {
        "rounds": 6,
        "data": {"validation_fraction": 0.2, "clients": 20},
        "server": {"learning_rate": 1e-9},  # round 1 breaks the ties of zero weights, no more
        "eval": {"patience": 2},
    }
    context, data, trained = train_run("stops", settings)
    assert (trained.best_round, trained.rounds) == (1, 3)
    assert list(trained.missing) == [LINEAGE_PART]
    assert "no lineage" in trained.missing[LINEAGE_PART]
    before = sorted(context.folder.iterdir())
    other = context.project.private / "evaluations" / "again"
    evaluated = evaluate(context, data, trained, other)
    assert Path(evaluated.metrics).parent == other
    assert Path(evaluated.metrics).exists()
    assert sorted(context.folder.iterdir()) == before


def test_a_training_with_epsilon_has_the_noise_that_the_accountant_found(train_run: Train) -> None:
    settings = {
        "rounds": 1,
        "cohort": {"size": 5, "strategy": "uniform"},
        "data": {"clients": 20},
        "privacy": {"mechanism": "gaussian", "clip_norm": 0.5, "epsilon": 5.0, "delta": 1e-5},
    }
    settings["runtime"] = {"debug": False}
    _, _, trained = train_run("private", settings)
    assert trained.privacy is not None
    assert 4.5 < trained.privacy["epsilon"] <= 5.0
