"""Clients with test examples alone, clients that partitions leave without training examples, and clients too small to be split."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.config import Config, DataConfig
from fedpipe.data.cohort_plan import plan_cohorts
from fedpipe.data.manifest import Manifest
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import Batch, Source
from fedpipe.errors import DataError
from fedpipe.models.federated import choose_clients, training_clients, validation_examples


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that prepares rows of (owner, label, in the test split)."""

    def run(
        owners: list[str] | None, labels: Any, tests: Any = None, **changes: Any
    ) -> tuple[Manifest, Population]:
        count = len(labels)
        batch = Batch(
            np.arange(2 * count, dtype=np.float32).reshape(count, 2), labels, owners, tests
        )
        monkeypatch.setattr(
            "fedpipe.data.sources.custom.import_own",
            lambda *_: lambda *_: Source(lambda: iter([batch])),
        )
        settings = {"source": "of_a_test:rows", "clients": None} | changes
        manifest = prepare_shards(DataConfig(**settings), tmp_path / "shards", tmp_path)
        return manifest, Population.open(tmp_path / "shards")

    return run


TRAIN_THEN_TEST = ["a"] * 6 + ["b"] * 6 + ["server"] * 4
LABELS = [0, 1] * 8
TESTS = [False] * 12 + [True] * 4


def test_clients_with_test_examples_alone_take_part_in_evaluation_alone(prepare: Any) -> None:
    manifest, population = prepare(TRAIN_THEN_TEST, LABELS, TESTS)
    assert population.participating() == ("a", "b")
    assert population.client_ids("train") == ("a", "b")
    assert population.client_ids("test") == ("server",)
    assert population.index.client_ids == ("a", "b", "server")
    assert population.index.held_out.tolist() == [False, False, True]
    assert (manifest.clients, manifest.held_out_clients, manifest.examples) == (
        3,
        1,
        {"train": 12, "validation": 0, "test": 4},
    )
    assert population.central_test().x[:, 0].tolist() == [24.0, 26.0, 28.0, 30.0]
    assert manifest.notes == (
        "1 of 3 clients have test examples alone: they never train and take part in evaluation",
        "2 of 3 clients have no test examples: they train and take no part in the evaluation of clients",
    )
    assert choose_clients(population.index, "test", held_out=True, most=10, seed=1) == ("server",)
    assert choose_clients(population.index, "test", held_out=False, most=10, seed=1) == ()
    config = Config.model_validate({"cohort": {"size": 2}})
    assert set(
        plan_cohorts(training_clients(config, population), config.cohort, 20, 1).cohorts
    ) == {("a", "b")}
    with pytest.raises(
        DataError,
        match=r"^client 'server': expected one of the 2 clients of the train split, a, b, found no such",
    ):
        population.examples("server")


def test_every_example_of_such_data_is_kept(prepare: Any) -> None:
    manifest, population = prepare(TRAIN_THEN_TEST, LABELS, TESTS, validation_fraction=0.5)
    parts = [
        population.examples(c, split)
        for split in ("train", "validation", "test")
        for c in population.client_ids(split)
    ]
    assert sorted(np.concatenate([part.x[:, 0] for part in parts]).tolist()) == list(
        range(0, 32, 2)
    )
    assert manifest.examples == {"train": 6, "validation": 6, "test": 4}


def test_the_number_of_clients_counts_those_that_train_and_those_that_test_apart(
    prepare: Any,
) -> None:
    clients = ["a"] * 2 + ["b"] * 2 + ["x1"] * 2 + ["x2"] * 2 + ["c"] * 2
    tests = [True] * 4 + [False] * 6
    manifest, population = prepare(clients, [0, 1] * 5, tests, clients=2)
    assert population.participating() == ("c", "x1")
    assert population.client_ids("test") == ("a", "b")
    assert manifest.notes[0] == "1 of 5 clients were left out by data.clients=2; null takes all"
    manifest, _ = prepare(clients, [0, 1] * 5, tests, clients=3)
    assert not any("left out" in note for note in manifest.notes)


def test_a_client_with_test_examples_alone_validates_no_private_run(prepare: Any) -> None:
    _, population = prepare(TRAIN_THEN_TEST, LABELS, TESTS, validation_fraction=0.5)
    private = {
        "data": {"validation_fraction": 0.5},
        "cohort": {"size": 1},
        "privacy": {
            "mechanism": "gaussian",
            "clip_norm": 1.0,
            "noise_multiplier": 1.0,
            "delta": 1e-5,
        },
    }
    config = Config.model_validate(private)
    assert len(training_clients(config, population)) == 1
    examples = validation_examples(config, population)
    assert examples is not None
    assert len(examples) == 6  # all training and validation examples of the other


@pytest.mark.parametrize("partition", ["dirichlet", "iid", "quantity", "pathological"])
def test_a_partition_of_data_with_their_own_test_split_gives_everybody_training_examples(
    prepare: Any, partition: str
) -> None:
    labels, tests = np.arange(60) % 2, np.arange(60) >= 48
    moved = 0
    for seed in range(12):
        manifest, population = prepare(
            None, labels, tests, clients=24, partition=partition, alpha=0.02, sigma=2, seed=seed
        )
        assert len(population.participating()) == 24
        assert min(population.num_examples(client) for client in population.participating()) >= 1
        assert manifest.examples == {"train": 48, "validation": 0, "test": 12}
        central = population.central_test()
        assert sorted(central.x[:, 0].tolist()) == list(
            range(96, 120, 2)
        )  # the source's test split stays the test split
        moved += any("got test examples alone" in note for note in manifest.notes)
    assert moved


def test_a_partition_with_fewer_training_examples_than_clients_is_refused(prepare: Any) -> None:
    with pytest.raises(
        DataError,
        match=r"data\.clients=20: .* found 10 outside of the source's test split\. Set data\.clients to 10 or less",
    ):
        prepare(None, [0, 1] * 20, [False] * 10 + [True] * 30, clients=20, partition="iid")


@pytest.mark.parametrize("alpha", [1e-4, 0.01, 1e9])
@pytest.mark.parametrize("classes", [1, 2, 7])
def test_no_dirichlet_partition_stops_the_run(prepare: Any, alpha: float, classes: int) -> None:
    for seed in range(5):
        _, population = prepare(None, np.arange(60) % classes, clients=30, alpha=alpha, seed=seed)
        assert len(population.participating()) == 30
        assert len(population.client_ids("test")) == 30


def test_clients_of_one_example_train_and_are_not_evaluated(prepare: Any) -> None:
    manifest, population = prepare(["a"] * 5 + ["b"] + ["c"], [0, 1, 0, 1, 0, 1, 0])
    assert population.participating() == ("a", "b", "c")
    assert population.client_ids("test") == ("a",)
    assert manifest.notes == (
        "2 of 3 clients have no test examples: they train and take no part in the evaluation of clients",
    )
    with pytest.raises(
        DataError,
        match=r"found 3 clients and 0 test examples\. A client with one example trains with it",
    ):
        prepare(["a", "b", "c"], [0, 1, 0])


def test_validation_that_no_client_is_large_enough_for_is_refused(prepare: Any) -> None:
    with pytest.raises(
        DataError,
        match=r"^data\.validation_fraction=0\.5: expected clients with two training examples or more",
    ):
        prepare(["a", "a", "b", "b"], [0, 1, 0, 1], validation_fraction=0.5)
    manifest, _ = prepare(["a"] * 5 + ["b"] * 2, [0, 1] * 3 + [0], validation_fraction=0.5)
    assert manifest.examples == {"train": 3, "validation": 2, "test": 2}


def test_data_in_which_nobody_may_train_are_refused(prepare: Any) -> None:
    with pytest.raises(
        DataError,
        match=r"training examples in the source's training split, found none of 2 clients",
    ):
        prepare(["a", "b"] * 4, [0, 1] * 4, [True] * 8)
    ids = ["a"] * 4 + [f"x{number}" for number in range(9)]
    with pytest.raises(
        DataError,
        match=r"that are not held out by data\.held_out_fraction, found none of 10 clients",
    ):
        prepare(ids, [0, 1] * 6 + [0], [False] * 4 + [True] * 9, held_out_fraction=0.9, seed=1)


def test_a_rare_label_is_named_as_the_user_wrote_it(prepare: Any) -> None:
    with pytest.raises(
        DataError, match=r"at least 2 examples of each label, found 1 of label 20230116\."
    ):
        prepare(
            None,
            [20230115] * 30 + [20230116],
            clients=5,
            partition="pathological",
            labels_per_client=1,
        )


def test_leaf_with_other_users_in_its_test_folder(tmp_path: Path) -> None:
    def users(names: list[str]) -> str:
        data = {name: {"x": [[1.0], [2.0], [3.0]], "y": [0, 1, 0]} for name in names}
        return json.dumps({"users": names, "num_samples": [3] * len(names), "user_data": data})

    for split, names in (("train", ["u1", "u2"]), ("test", ["u8", "u9"])):
        (tmp_path / "leaf" / split).mkdir(parents=True)
        (tmp_path / "leaf" / split / "all.json").write_text(users(names))
    prepare_shards(
        DataConfig(source="leaf", path="leaf", clients=None), tmp_path / "shards", tmp_path
    )
    population = Population.open(tmp_path / "shards")
    assert population.participating() == ("u1", "u2")
    assert population.client_ids("test") == ("u8", "u9")
