import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedpipe.data.population import Population
from fedpipe.errors import DataError


def accept(folder: Path, name: str, **changes: Any) -> None:
    """Make the manifest say of the file `name` what it is now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / name).read_bytes()
    entry = next(file for file in [*manifest["files"], manifest["index"]] if file["name"] == name)
    entry.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), **changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_each_client_reads_the_rows_that_carry_its_id(shards: Path) -> None:
    population = Population.open(shards)
    for split in ("train", "test"):
        stored = pq.read_table(shards / f"{split}-00000.parquet").to_pydict()
        assert population.client_ids(split) == tuple(sorted(set(stored["client_id"])))
        for client_id in population.client_ids(split):
            rows = [i for i, owner in enumerate(stored["client_id"]) if owner == client_id]
            examples = population.examples(client_id, split)
            assert population.num_examples(client_id, split) == len(examples) == len(rows)
            assert examples.x.dtype == np.uint8
            assert examples.y.dtype == np.int32
            assert [image.tobytes() for image in examples.x] == [stored["x"][i] for i in rows]
            assert examples.y.tolist() == [stored["y"][i] for i in rows]


def test_the_order_of_reading_does_not_matter(shards: Path) -> None:
    one, other = Population.open(shards), Population.open(shards)
    for client_id in reversed(one.client_ids()):
        one.examples(client_id)
    for client_id in other.client_ids():
        np.testing.assert_array_equal(one.examples(client_id).x, other.examples(client_id).x)


def test_the_central_test_set_is_its_file(shards: Path) -> None:
    stored = pq.read_table(shards / "central-00000.parquet").to_pydict()
    central = Population.open(shards).central_test()
    assert central.x.shape == (1000, 28, 28)
    assert [image.tobytes() for image in central.x] == stored["x"]
    assert central.y.tolist() == stored["y"]


def test_an_index_of_other_clients_is_refused(own_shards: Path) -> None:
    path = own_shards / "clients.parquet"
    pq.write_table(pq.read_table(path).slice(1), path, store_schema=False)
    with pytest.raises(DataError, match=rf"^{path}: expected \d+ bytes with sha256"):
        Population.open(own_shards)
    accept(own_shards, path.name)
    with pytest.raises(
        DataError, match=r"clients\.parquet: expected 3964 train examples, found \d+"
    ):
        Population.open(own_shards)


def test_a_changed_byte_of_the_index_is_found_even_without_verifying_the_shards(
    own_shards: Path,
) -> None:
    path = own_shards / "clients.parquet"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError,
        match=rf"^{path}: expected sha256 \w+, found {hashlib.sha256(content).hexdigest()}\.",
    ):
        Population.open(own_shards, verify=False)


def test_an_index_that_is_no_index_is_refused(own_shards: Path) -> None:
    path = own_shards / "clients.parquet"
    for table in (
        pq.read_table(path).drop_columns(["held_out"]),
        pq.read_table(path).drop_columns(["validation"]),
    ):
        pq.write_table(table, path, store_schema=False)
        accept(own_shards, path.name)
        with pytest.raises(
            DataError, match=r"clients\.parquet: expected the index of the clients, found "
        ):
            Population.open(own_shards)
    path.write_bytes(b"no parquet")
    accept(own_shards, path.name)
    with pytest.raises(
        DataError, match=r"clients\.parquet: expected the index of the clients, found "
    ):
        Population.open(own_shards)


def test_threads_may_share_a_population(shards: Path) -> None:
    population, alone = Population.open(shards), Population.open(shards)
    wrong: list[str] = []

    def read(step: int) -> None:
        for client_id in population.client_ids()[::step]:
            if not np.array_equal(population.examples(client_id).x, alone.examples(client_id).x):
                wrong.append(client_id)

    threads = [threading.Thread(target=read, args=(step,)) for step in (1, -1, 3, -7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_is_read_is_the_callers_own(shards: Path) -> None:
    population = Population.open(shards)
    before = population.examples("c003").x.copy()
    population.examples("c003").x[:] = 7
    np.testing.assert_array_equal(population.examples("c003").x, before)


@pytest.mark.parametrize("client_id", ["c100", "", "zzz", "C000"])
def test_an_unknown_client_is_named(shards: Path, client_id: str) -> None:
    population = Population.open(shards)
    for read in (population.examples, population.num_examples):
        with pytest.raises(
            DataError,
            match=rf"^client '{client_id}': expected one of the 100 clients of the train split",
        ):
            read(client_id)


def test_a_changed_byte_is_found_with_both_checksums(own_shards: Path) -> None:
    path = own_shards / "train-00000.parquet"
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(
        DataError,
        match=rf"^{path}: expected sha256 {expected}, found {found}\. Run `fedpipe prepare`\.$",
    ):
        Population.open(own_shards)


def test_a_file_cut_short_is_found_without_reading_it(own_shards: Path) -> None:
    path = own_shards / "test-00000.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        DataError, match=rf"^{path}: expected \d+ bytes with sha256 \w+, found 100 bytes"
    ):
        Population.open(own_shards, verify=False)


def test_a_missing_file_is_named(own_shards: Path) -> None:
    (own_shards / "test-00000.parquet").unlink()
    with pytest.raises(
        DataError,
        match=r"test-00000\.parquet: expected the shard of the manifest, found No such file",
    ):
        Population.open(own_shards)


def test_no_shards_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected shards, found no manifest\.json"):
        Population.open(tmp_path / "nowhere")


def test_a_file_that_is_no_parquet_is_one_clear_error(own_shards: Path) -> None:
    (own_shards / "train-00000.parquet").write_bytes(b"no parquet at all")
    accept(own_shards, "train-00000.parquet")
    population = Population.open(own_shards)
    with pytest.raises(
        DataError,
        match=r"train-00000\.parquet: expected a Parquet file, found .*Run `fedpipe prepare`",
    ) as caught:
        population.examples("c000")
    assert "\n" not in str(caught.value)


def test_damage_inside_a_parquet_file_is_one_clear_error(own_shards: Path) -> None:
    path = own_shards / "train-00000.parquet"
    content = bytearray(path.read_bytes())
    content[200:50_000] = bytes(49_800)
    path.write_bytes(content)
    population = Population.open(own_shards, verify=False)
    with pytest.raises(
        DataError, match=r"train-00000\.parquet: expected row group 0, found "
    ) as caught:
        population.examples("c000")
    assert "\n" not in str(caught.value)


def test_other_columns_are_refused(own_shards: Path) -> None:
    path = own_shards / "train-00000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["source_row"]), path)
    accept(own_shards, path.name)
    with pytest.raises(
        DataError,
        match=r"expected columns client_id string, x fixed_size_binary\[784\], .* source_row int64, found client_id",
    ):
        Population.open(own_shards).examples("c000")


def test_rows_of_other_clients_are_refused(own_shards: Path) -> None:
    path = own_shards / "train-00000.parquet"
    table = pq.read_table(path)
    renamed = pa.array([name.replace("c00", "d00") for name in table["client_id"].to_pylist()])
    field = table.schema.field("client_id")
    pq.write_table(table.set_column(0, field, renamed), path, store_schema=False)
    accept(own_shards, path.name)
    with pytest.raises(DataError, match=r"expected rows of c000 from 0 to \d+, found rows of d000"):
        Population.open(own_shards).examples("c000")


def test_another_number_of_rows_is_refused(own_shards: Path) -> None:
    path = own_shards / "train-00000.parquet"
    pq.write_table(pq.read_table(path).slice(1), path, store_schema=False)
    accept(own_shards, path.name)
    with pytest.raises(DataError, match=r"train-00000\.parquet: expected \d+ rows, found \d+"):
        Population.open(own_shards).examples("c000")


def test_labels_that_are_no_class_are_refused(own_shards: Path) -> None:
    path = own_shards / "train-00000.parquet"
    table = pq.read_table(path)
    labels = table["y"].to_numpy().copy()
    labels[0] = 10
    position = table.schema.get_field_index("y")
    pq.write_table(
        table.set_column(position, table.schema.field("y"), pa.array(labels)),
        path,
        store_schema=False,
    )
    accept(own_shards, path.name)
    with pytest.raises(
        DataError,
        match=r"^client 'c000': expected labels 0\.\.9, found \d\.\.10 in .*Run `fedpipe prepare`",
    ):
        Population.open(own_shards).examples("c000")
