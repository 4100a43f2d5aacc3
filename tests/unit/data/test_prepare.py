import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import Batch, Source
from fedpipe.data.sources.mnist5k import open_mnist5k
from fedpipe.errors import DataError
from fedpipe.seeding import generator


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def table(folder: Path, split: str) -> Any:
    return pq.read_table(folder / f"{split}-00000.parquet")


def test_the_same_settings_give_the_same_bytes(shards: Path, tmp_path: Path) -> None:
    prepare_shards(DataConfig(), tmp_path / "elsewhere", tmp_path)
    assert files(tmp_path / "elsewhere") == files(shards)
    assert sorted(files(shards)) == [
        "central-00000.parquet",
        "clients.parquet",
        "manifest.json",
        "test-00000.parquet",
        "train-00000.parquet",
    ]


@pytest.mark.parametrize(
    "changed",
    [{"seed": 2}, {"alpha": 0.5}, {"clients": 99}, {"invert": True}, {"test_fraction": 0.3}],
)
def test_other_settings_give_other_shards(
    shards: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    prepare_shards(DataConfig.model_validate(changed), tmp_path / "shards", tmp_path)
    assert files(tmp_path / "shards")["train-00000.parquet"] != files(shards)["train-00000.parquet"]


def test_every_example_of_the_source_is_in_one_split_unchanged(
    shards: Path, tmp_path: Path
) -> None:
    (source,) = open_mnist5k(DataConfig(), tmp_path).batches()
    rows = [table(shards, split)["source_row"].to_numpy() for split in ("train", "test")]
    assert sorted(np.concatenate(rows).tolist()) == list(range(5000))
    for split, source_rows in zip(("train", "test"), rows, strict=True):
        stored = table(shards, split)
        assert stored["x"].to_pylist() == [source.x[row].tobytes() for row in source_rows]
        assert stored["y"].to_pylist() == source.y[source_rows].tolist()


def test_manifest_and_index_count_what_the_files_hold(shards: Path) -> None:
    population = Population.open(shards)
    for split in ("train", "test"):
        stored = table(shards, split).to_pydict()
        assert stored["client_id"] == sorted(stored["client_id"])
        counts = {client_id: [0] * 10 for client_id in population.index.client_ids}
        for client_id, label in zip(stored["client_id"], stored["y"], strict=True):
            counts[client_id][label] += 1
        assert list(counts.values()) == population.index.label_counts[split].dense().tolist()
    assert population.manifest.examples == {
        split: int(counts.sizes().sum()) for split, counts in population.index.label_counts.items()
    }
    assert (population.manifest.clients, len(population.index.client_ids)) == (100, 100)
    test, central = (
        table(shards, split)["source_row"].to_pylist() for split in ("test", "central")
    )
    assert len(central) == 1000
    assert set(central) < set(test)


def test_validation_comes_from_the_training_split(shards: Path, tmp_path: Path) -> None:
    manifest = prepare_shards(DataConfig(validation_fraction=0.25), tmp_path / "shards", tmp_path)
    rows = {
        split: set(table(tmp_path / "shards", split)["source_row"].to_pylist())
        for split in ("train", "validation", "test")
    }
    assert rows["test"] == set(table(shards, "test")["source_row"].to_pylist())
    assert rows["train"] | rows["validation"] == set(
        table(shards, "train")["source_row"].to_pylist()
    )
    assert not rows["train"] & rows["validation"]
    population = Population.open(tmp_path / "shards")
    for client_id in population.client_ids():
        train, validation = (
            population.num_examples(client_id),
            population.index.counts("validation")[population.index.position(client_id)],
        )
        assert validation == -(-(train + validation) // 4)
    assert manifest.examples["validation"] == len(rows["validation"])


def test_held_out_clients_keep_their_data_and_do_not_take_part(
    shards: Path, tmp_path: Path
) -> None:
    manifest = prepare_shards(DataConfig(held_out_fraction=0.2), tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    assert manifest.held_out_clients == 20
    assert len(population.participating()) == 80
    assert set(population.participating()) < set(population.client_ids())
    assert files(tmp_path / "shards")["train-00000.parquet"] == files(shards)["train-00000.parquet"]


def test_forgotten_clients_are_gone_and_the_others_as_before(shards: Path, tmp_path: Path) -> None:
    manifest = prepare_shards(
        DataConfig(), tmp_path / "shards", tmp_path, ["c003", "c077", "stranger"]
    )
    before, after = Population.open(shards), Population.open(tmp_path / "shards")
    assert manifest.forgotten == ("c003", "c077", "stranger")
    assert set(before.client_ids()) - set(after.client_ids()) == {"c003", "c077"}
    assert after.index.position("c003") is None
    for client_id in after.client_ids():
        np.testing.assert_array_equal(after.examples(client_id).x, before.examples(client_id).x)
    gone = {row for split in ("train", "test") for row in rows_of(shards, split, {"c003", "c077"})}
    assert not gone & {
        row for split in ("train", "test", "central") for row in rows_of(tmp_path / "shards", split)
    }


def rows_of(folder: Path, split: str, clients: set[str] | None = None) -> list[int]:
    stored = table(folder, split).to_pydict()
    return [
        row
        for row, client in zip(stored["source_row"], stored["client_id"], strict=True)
        if clients is None or client in clients
    ]


def clients_source(config: DataConfig, project: Path, kind: str) -> Source:  # noqa: ARG001 - the contract of a source
    """400 clients of 10 examples with names for labels; `data.seed` 2 adds one in the middle and one at the end."""

    def batches() -> Iterator[Batch]:
        names = [f"k{number:03}" for number in range(400)] + (
            ["k200b", "k999"] if config.seed == 2 else []
        )
        for name in names:
            rng = np.random.default_rng(list(name.encode()))
            yield Batch(
                rng.integers(0, 256, (10, 4)).astype(np.uint8),
                rng.choice(["no", "yes"], 10).tolist(),
                [name] * 10,
            )

    return Source(batches)


def test_a_new_client_changes_the_files_around_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedpipe.data.prepare.open_source", clients_source)
    # The seed stays out of the split here: a source may grow, its clients' own draws may not change.
    one = DataConfig(shard_rows=200, clients=None, source="any:thing", seed=1)
    monkeypatch.setattr("fedpipe.data.splits.generator", lambda _, *names: generator(1, *names))
    prepare_shards(one, tmp_path / "one", tmp_path)
    prepare_shards(one.model_copy(update={"seed": 2}), tmp_path / "two", tmp_path)
    before, after = (
        {content for name, content in files(tmp_path / folder).items() if name.startswith("train")}
        for folder in ("one", "two")
    )
    assert len(before) > 15
    assert len(after - before) <= 4


@pytest.mark.parametrize("has_test_split", [False, True])
def test_the_seed_reaches_every_draw(
    has_test_split: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clients are the source's own, and so is its test split if it has one: a draw that differs, differs by its own seed."""

    def source(config: DataConfig, project: Path, kind: str) -> Source:  # noqa: ARG001 - the contract of a source
        owners = [f"k{number:02}" for number in range(40) for _ in range(10)]
        is_test = np.arange(400) % 5 == 0 if has_test_split else None
        return Source(
            lambda: iter([Batch(np.zeros((400, 4), np.uint8), np.arange(400) % 2, owners, is_test)])
        )

    monkeypatch.setattr("fedpipe.data.prepare.open_source", source)
    held_out, rows = [], []
    for seed in (1, 2):
        settings = {
            "validation_fraction": 0.25,
            "held_out_fraction": 0.25,
            "central_test_examples": 30,
            "seed": seed,
        }
        shards = tmp_path / str(seed)
        prepare_shards(DataConfig(source="any:thing", clients=None, **settings), shards, tmp_path)
        population = Population.open(shards)
        held_out.append(set(population.client_ids()) - set(population.participating()))
        rows.append(
            {split: sorted(rows_of(shards, split)) for split in ("validation", "test", "central")}
        )
    assert [len(clients) for clients in held_out] == [10, 10]
    assert held_out[0] != held_out[1]
    same = [split for split in rows[0] if rows[0][split] == rows[1][split]]
    assert same == (["test"] if has_test_split else [])


def test_names_of_labels_become_a_sorted_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedpipe.data.prepare.open_source", clients_source)
    manifest = prepare_shards(
        DataConfig(clients=5, source="any:thing"), tmp_path / "shards", tmp_path
    )
    assert (manifest.vocabulary, manifest.num_classes, manifest.feature_shape) == (
        ("no", "yes"),
        2,
        (4,),
    )
    assert manifest.clients == 5
    expected = np.random.default_rng(list(b"k002")).integers(0, 256, (10, 4)).astype(np.uint8)
    stored = np.concatenate(
        [
            Population.open(tmp_path / "shards").examples("k002", split).x
            for split in ("train", "test")
        ]
    )
    assert sorted(map(bytes, stored)) == sorted(map(bytes, expected))


def test_more_examples_than_the_memory_limit_allows_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedpipe.data.pool.ROW_BYTES", 100_000)
    with pytest.raises(
        DataError,
        match=r"expected at most 640 examples under data\.memory_limit_mb=64, found more\. Raise",
    ):
        prepare_shards(DataConfig(memory_limit_mb=64), tmp_path / "shards", tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_client_trains_on_shuffled_labels(shards: Path) -> None:
    # The source is sorted by label; batches in that order would hold one label each.
    population = Population.open(shards)
    assert any(np.diff(population.examples("c000").y) < 0)


def test_invert_flips_pixels_and_says_so(shards: Path, tmp_path: Path) -> None:
    manifest = prepare_shards(DataConfig(invert=True), tmp_path / "shards", tmp_path)
    assert (manifest.pixel_convention, manifest.inverted) == ("background=1.0", True)
    plain, inverted = Population.open(shards), Population.open(tmp_path / "shards")
    np.testing.assert_array_equal(inverted.central_test().x, 255 - plain.central_test().x)
    np.testing.assert_array_equal(inverted.examples("c007").y, plain.examples("c007").y)


def test_more_central_examples_than_test_examples_takes_all(tmp_path: Path) -> None:
    manifest = prepare_shards(
        DataConfig(central_test_examples=5000, clients=7), tmp_path / "shards", tmp_path
    )
    assert manifest.central_test_examples == manifest.examples["test"]


def test_the_smallest_clients_have_one_example_in_each_split(tmp_path: Path) -> None:
    prepare_shards(DataConfig(clients=2500), tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    assert {population.num_examples(client_id) for client_id in population.client_ids()} == {1}
    assert {
        population.num_examples(client_id, "test") for client_id in population.client_ids("test")
    } == {1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"clients": 2501}, r"^data\.clients=2501: expected at least 2 examples a client"),
        ({"clients": None}, r"^data\.clients=null: expected a number"),
    ],
)
def test_settings_that_do_not_fit_leave_the_old_shards(
    own_shards: Path, changed: dict[str, Any], message: str
) -> None:
    before = files(own_shards)
    with pytest.raises(DataError, match=message):
        prepare_shards(DataConfig.model_validate(changed), own_shards, own_shards.parent)
    assert files(own_shards) == before
    assert os.listdir(own_shards.parent) == ["shards"]


def test_old_shards_are_replaced_even_if_damaged(own_shards: Path, shards: Path) -> None:
    (own_shards / "manifest.json").unlink()
    (own_shards / "train-00007.parquet").write_bytes(b"left over")
    prepare_shards(DataConfig(), own_shards, own_shards.parent)
    assert files(own_shards) == files(shards)


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        DataError, match=r"expected shards or nothing, found thesis\.tex, which would be lost"
    ):
        prepare_shards(DataConfig(), tmp_path, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("out", ["file", "file/shards", "locked/shards"])
def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "locked").mkdir(mode=0o500)
    if out.startswith("locked") and os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(
        DataError,
        match=rf"^{tmp_path / out}: expected .* found .*(Not a directory|Permission denied)",
    ) as caught:
        prepare_shards(DataConfig(), tmp_path / out, tmp_path)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "locked"]


def test_embedded_digits_need_no_heavy_import(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from fedpipe.config import DataConfig; from fedpipe.data.prepare import prepare_shards\n"
        "from fedpipe.data.population import Population\n"
        "out = pathlib.Path(sys.argv[1]) / 'shards'; prepare_shards(DataConfig(), out, out)\n"
        "population = Population.open(out); population.examples('c000'); population.central_test()\n"
        "print([name for name in ('tensorflow', 'tensorflow_federated', 'pandas', 'mlxtend', 'dvc', 'mlflow') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "[]\n"
