"""A private training as its step runs it: epsilon on the run, round by round, and an end before the budget is passed."""

import base64
import json
import logging
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedpipe.algorithms.privacy_budget import account
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import CheckpointError, ConfigError
from fedpipe.lineage.privacy_total import privacy_total
from fedpipe.lineage.queries import total_of
from fedpipe.models import build_model
from fedpipe.models.federated import training_clients, validating_clients, validation_examples
from fedpipe.pipeline.privacy import KEY_NAME, noise_key_of
from fedpipe.pipeline.sample_clients import read_plan, sample_clients
from fedpipe.pipeline.train import train
from fedpipe.project.paths import Project, find_project
from fedpipe.registry.register import register
from fedpipe.runs.context import RunContext
from fedpipe.runs.step_results import DataRef, TrainRef
from fedpipe.tracking.run import TrackedRun
from fedpipe.tracking.store import open_store
from fedpipe.types import RoundReport


def private(**privacy: float) -> Config:
    chosen = {
        "mechanism": "gaussian",
        "clip_norm": 0.5,
        "noise_multiplier": 1.0,
        "delta": 1e-5,
        **privacy,
    }
    return Config.model_validate(
        {"rounds": 5, "cohort": {"size": 5, "strategy": "uniform"}, "privacy": chosen}
    )


def test_the_run_shows_epsilon_and_ends_before_its_budget_is_passed(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = find_project(project)
    free = private()
    prepare_shards(free.data, project / "data" / "shards", project)
    data = DataRef(str(project / "data" / "shards"), "0" * 32, "made", 0.0)
    run = RunContext(found, free, found.run_dir("private"), "private")
    plan = sample_clients(run, data)
    accountant = account(free, 100, read_plan(plan))
    config = private(max_epsilon=accountant.epsilon(2))
    with caplog.at_level(logging.WARNING, "fedpipe.privacy"):
        trained = train(replace(run, config=config), data, plan)
    assert "training ends after round 2 of 5" in caplog.text
    assert trained.rounds == 2
    assert trained.privacy is not None
    assert trained.privacy["epsilon"] == accountant.epsilon(2)
    assert (
        json.loads((Path(trained.run_dir) / "run.json").read_text())["privacy"]["neighbours"]
        == "replace one client by another"
    )
    client = open_store(project, config.tracking.experiment).client
    epsilons = client.get_metric_history(trained.run_id, "privacy/epsilon")
    assert [(metric.step, metric.value) for metric in epsilons] == [
        (number, accountant.epsilon(number)) for number in (1, 2)
    ]
    tags = client.get_run(trained.run_id).data.tags
    assert tags["privacy.epsilon"] == repr(accountant.epsilon(2))
    assert tags["privacy.delta"] == "1e-05"
    assert tags["privacy.sampling"].startswith("uniform: 5 of 100 clients")
    assert tags["algorithm.aggregator"] == "private mean, fixed clip"


class Interrupted(Exception):
    """What ends the training in the tests."""


class EndsAfter:
    """A `RoundSink` that ends the training after a round."""

    def __init__(self, round_num: int) -> None:
        self.round_num = round_num

    def round_done(self, report: RoundReport) -> None:
        if report.round_num == self.round_num:
            raise Interrupted


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, clone: Any) -> tuple[Project, DataRef]:
    root = clone(tmp_path_factory.mktemp("private") / "project")
    prepare_shards(private().data, root / "data" / "shards", root)
    return find_project(root), DataRef(str(root / "data" / "shards"), "0" * 32, "made", 0.0)


def run(
    place: tuple[Project, DataRef], name: str, key: bytes | None = None, sinks: tuple[Any, ...] = ()
) -> TrainRef:
    project, data = place
    folder = project.run_dir(name)
    if key is not None:
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / KEY_NAME).write_bytes(key)
    context = RunContext(project, private(), folder, name, sinks=sinks)
    return train(context, data, sample_clients(context, data))


def test_a_resumed_run_has_the_same_noise_and_another_run_its_own(
    place: tuple[Project, DataRef],
) -> None:
    first = run(place, "first")
    folder = Path(first.run_dir) / "checkpoints"
    key = (folder / KEY_NAME).read_bytes()
    assert len(key) == 32
    assert stat.S_IMODE((folder / KEY_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with pytest.raises(Interrupted):
        run(place, "second", key, (EndsAfter(3),))
    resumed = run(place, "second")
    assert resumed.weights_sha256 == first.weights_sha256
    other = run(place, "third")
    assert (Path(other.run_dir) / "checkpoints" / KEY_NAME).read_bytes() != key
    assert other.weights_sha256 != first.weights_sha256
    forms = (
        key,
        key.hex().encode(),
        base64.b64encode(key),
        base64.urlsafe_b64encode(key),
        repr(key).encode(),
        repr(list(key)).encode(),
    )
    copies = [
        path
        for path in place[0].root.rglob("*")
        if path.is_file()
        and path.name != KEY_NAME
        and any(form in path.read_bytes() for form in forms)
    ]
    assert copies == []


def test_a_run_whose_key_is_gone_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "round_000001.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="has checkpoints but the key of its noise is gone"):
        noise_key_of(private(), tmp_path)
    (tmp_path / KEY_NAME).write_bytes(b"short")
    with pytest.raises(CheckpointError, match="has 5 bytes instead of 32"):
        noise_key_of(private(), tmp_path)
    assert noise_key_of(private(repeatable=True), tmp_path) is None
    assert noise_key_of(Config(), tmp_path / "new") is None
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("values", [{"held_out_fraction": 0.2}, {"validation_fraction": 0.15}])
def test_clients_that_never_train_choose(tmp_path: Path, values: dict[str, float]) -> None:
    """Of 20 clients 4 are held out, or ceil(0.15 * 20) = 3 are drawn; all their training and validation examples choose."""
    config = Config.model_validate({**private().model_dump(), "data": {**values, "clients": 20}})
    prepare_shards(config.data, tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    validating = validating_clients(config, population)
    assert len(validating) == (4 if "held_out_fraction" in values else 3)
    context = RunContext(Project(tmp_path), config, tmp_path / "run")
    plan = sample_clients(context, DataRef(str(tmp_path / "shards"), "0" * 32, "made", 0.0))
    training = {client for cohort in read_plan(plan).cohorts for client in cohort}
    assert not training & set(validating)
    examples = validation_examples(config, population)
    assert examples is not None
    index = population.index
    rows = [index.client_ids.index(client) for client in validating]
    assert (
        len(examples) == index.counts("train")[rows].sum() + index.counts("validation")[rows].sum()
    )


def test_declared_public_validation_examples_choose(tmp_path: Path) -> None:
    values = {**private().model_dump(), "data": {"validation_fraction": 0.2, "clients": 20}}
    values["privacy"]["public_validation"] = True
    config = Config.model_validate(values)
    prepare_shards(config.data, tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    examples = validation_examples(config, population)
    assert examples is not None
    assert len(examples) == population.index.counts("validation").sum()
    assert training_clients(config, population) == population.participating()
    not_private = Config.model_validate({"data": values["data"]})
    assert validating_clients(not_private, population) == ()


def test_what_runs_cost_together_and_a_budget_that_is_kept(place: tuple[Project, DataRef]) -> None:
    """Runs that finished count once each; a population of its own and an unfinished run do not."""
    project, data = place
    store = open_store(project.root, "fedpipe")
    config = private()
    population = Population.open(Path(data.path))
    plan = sample_clients(RunContext(project, config, project.run_dir("costs")), data)
    accountant = account(config, len(population.participating()), read_plan(plan))
    tags = accountant.spent(5)
    for number, key in enumerate(("costs", "costs", "elsewhere")):
        run_id = store.client.create_run(
            store.experiment_id, tags={**tags, "data.population": key}, run_name=f"run {number}"
        ).info.run_id
        store.client.set_terminated(run_id, "FINISHED")
    running = store.client.create_run(
        store.experiment_id, tags={**tags, "data.population": "costs", "privacy.delta": "1e-05"}
    )
    one, two = privacy_total(store, "elsewhere", 1e-5), privacy_total(store, "costs", 1e-5)
    assert one.private_runs == 1
    assert one.epsilon == pytest.approx(accountant.epsilon(5), rel=1e-6)
    assert two.private_runs == 2
    assert one.epsilon is not None
    assert two.epsilon is not None
    assert one.epsilon < two.epsilon < 2 * one.epsilon
    own = total_of(store, running)
    assert own is not None
    assert own.private_runs == 3, "its own report counts a run that is about to end"
    assert own.epsilon > two.epsilon
    plain = store.client.create_run(
        store.experiment_id, tags={"data.population": "costs"}
    ).info.run_id
    store.client.set_terminated(plain, "FINISHED")
    assert privacy_total(store, "costs", 1e-5).open_runs == 1
    values = {
        **config.model_dump(),
        "data": {"held_out_fraction": 0.2},
        "tracking": {"register": True},
    }
    values["privacy"]["total_epsilon"] = accountant.epsilon(5) - 1e-3
    budgeted = Config.model_validate(values)
    over = RunContext(project, budgeted, project.run_dir("over"), "over")
    plan = sample_clients(over, data)
    with pytest.raises(
        ConfigError,
        match=r"privacy\.total_epsilon=.*: with this run 1 private runs on these clients cost epsilon",
    ):
        train(over, data, plan)
    values["privacy"]["total_epsilon"] = two.epsilon  # what the others cost without this run
    last = TrackedRun.attach(store, running.info.run_id)
    model = build_model(config, (784,), 10)
    assert (
        register(
            last,
            "m-1",
            {},
            config=Config.model_validate(values),
            population=population,
            model=model,
            run_dir=project.run_dir("costs"),
            project=project,
        )
        is None
    )
    reason = store.client.get_run(last.run_id).data.tags["fedpipe.not_registered"]
    assert reason.startswith(
        f"privacy.total_epsilon={two.epsilon}: 3 private runs on these clients cost epsilon "
    )
    assert not store.client.search_registered_models()
