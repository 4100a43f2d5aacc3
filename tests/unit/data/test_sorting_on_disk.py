"""Examples are sorted by client on disk: the same bytes as in memory, and memory that does not grow with the examples."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.config import DataConfig
from fedpipe.data import disk_columns, index, prepare
from fedpipe.data.client_ids import ClientIds
from fedpipe.data.disk_columns import DiskColumn, Scratch, rows_by_client
from fedpipe.data.label_counts import LabelCounts, LabelCountsOnDisk, joined
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import Batch, Source
from fedpipe.errors import DataError


def vectors(config: DataConfig, project: Path) -> Source:  # noqa: ARG001 - the contract of a source
    """3,500 examples of about 300 clients in no order, with a test split; ids are not ASCII alone."""

    def batches() -> Iterator[Batch]:
        for part in range(7):
            draw = np.random.default_rng(part)
            clients = [f"k{number}é" for number in draw.integers(0, 300, 500)]
            yield Batch(
                draw.random((500, 3)),
                draw.choice(["a", "b", "c"], 500),
                clients,
                draw.random(500) < 0.3,
            )

    return Source(batches)


def sequences(config: DataConfig, project: Path) -> Source:  # noqa: ARG001 - the contract of a source
    """1,000 sequences of 60 clients in no order, without a test split."""

    def batches() -> Iterator[Batch]:
        for part in range(5):
            draw = np.random.default_rng(part)
            x = [draw.integers(1, 50, length) for length in draw.integers(1, 12, 200)]
            yield Batch(
                x, draw.integers(0, 3, 200), [f"k{number}" for number in draw.integers(0, 60, 200)]
            )

    return Source(batches)


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = {"of_a_test:vectors": vectors, "of_a_test:sequences": sequences}
    monkeypatch.setattr(
        "fedpipe.data.sources.custom.import_own", lambda where, *_: functions[where]
    )


@pytest.mark.parametrize(
    "settings",
    [{"source": "vectors"}, {"source": "sequences"}, {"source": "vectors", "clients": 40}, {}],
)
def test_parts_on_disk_give_the_bytes_of_one_part_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    changes = (
        {"clients": None} | settings | {"source": f"of_a_test:{settings['source']}"}
        if settings
        else {}
    )
    config = DataConfig(shard_rows=300, validation_fraction=0.2, held_out_fraction=0.1, **changes)
    prepare_shards(config, tmp_path / "one", tmp_path, ["k7é", "c003"])
    parts = []

    def counted(*arguments: Any) -> Iterator[Any]:
        for part in rows_by_client(*arguments):
            parts.append((part.first, part.end))
            yield part

    monkeypatch.setattr(prepare, "rows_by_client", counted)
    monkeypatch.setattr(
        prepare, "_SORTING_SHARE", 1024 * 1_000_000 // 40_000
    )  # 40 kB instead of 256 MB
    monkeypatch.setattr(disk_columns, "CHUNK_ROWS", 333)
    prepare_shards(config, tmp_path / "many", tmp_path, ["k7é", "c003"])
    assert len(parts) > 1
    assert [first for first, _ in parts[1:]] == [end for _, end in parts[:-1]]
    one, many_files = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "many")
    )
    assert one == many_files
    assert len(one) > 6


def test_rows_come_client_by_client_in_the_sources_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_columns, "CHUNK_ROWS", 4)
    owner = np.array([2, 0, -1, 1, 2, 2, 0, 1, 0, 3], np.int32)
    y = np.arange(10, dtype=np.int32)
    with Scratch(tmp_path) as scratch:
        parts = list(
            rows_by_client(
                lambda a, b: (owner[a:b], y[a:b], y[a:b] % 2 == 0),
                10,
                np.array([3, 2, 3, 1]),
                1000,
                scratch,
            )
        )
        assert [(part.first, part.end, part.row.tolist()) for part in parts] == [
            (0, 1, [1, 6, 8]),
            (1, 2, [3, 7]),
            (2, 3, [0, 4, 5]),
            (3, 4, [9]),
        ]
        assert all(
            (part.y == part.row).all() and (part.is_test == (part.row % 2 == 0)).all()
            for part in parts
        )
    assert list(tmp_path.iterdir()) == []


def test_more_examples_than_memory_has_room_for_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedpipe.data.pool.ROW_BYTES", 100_000)
    config = DataConfig(source="of_a_test:vectors", clients=None, memory_limit_mb=64)
    assert sum(prepare_shards(config, tmp_path / "shards", tmp_path).examples.values()) == 3500
    with pytest.raises(
        DataError,
        match=r"expected at most 640 examples under data\.memory_limit_mb=64, found more.*makes the clients",
    ):
        prepare_shards(
            config.model_copy(update={"partition": "iid", "clients": 10}),
            tmp_path / "made",
            tmp_path,
        )


def test_too_many_clients_for_the_memory_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedpipe.data.pool.NAME_BYTES", 200_000)
    config = DataConfig(source="of_a_test:vectors", clients=None, memory_limit_mb=64)
    with pytest.raises(
        DataError, match=r"expected at most 160 clients under data\.memory_limit_mb=64, found more"
    ):
        prepare_shards(config, tmp_path / "shards", tmp_path)


def test_a_column_reads_what_was_appended(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        column = DiskColumn(scratch, np.int64)
        column.append(np.arange(5))
        assert column.read(1, 3).tolist() == [1, 2]
        column.append(np.arange(5, 7))
        assert (len(column), column.read(4, 7).tolist(), column.read(2, 2).tolist()) == (
            7,
            [4, 5, 6],
            [],
        )
        with pytest.raises(OSError, match="scratch file ended after 8 of 16 bytes"):
            column.read(6, 8)


def test_label_counts_are_those_of_the_table(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    table = draw.integers(0, 3, (40, 11)) * (draw.random((40, 11)) < 0.3)
    counts = LabelCounts.of_dense(table)
    np.testing.assert_array_equal(counts.dense(), table)
    np.testing.assert_array_equal(counts.sizes(), table.sum(axis=1))
    np.testing.assert_array_equal(counts.totals(), table.sum(axis=0))
    np.testing.assert_array_equal(counts.distinct(), (table > 0).sum(axis=1))
    np.testing.assert_array_equal(counts.rows(np.array([7, 3, 3])).dense(), table[[7, 3, 3]])
    np.testing.assert_array_equal(counts.dense(np.array([10, 2])), table[:, [10, 2]])
    np.testing.assert_array_equal(
        joined([counts.rows(np.arange(5)), counts.rows(np.arange(5, 40))]).dense(), table
    )
    assert counts.most_frequent(2).tolist() == sorted(
        np.argsort(-table.sum(axis=0), kind="stable")[:2].tolist()
    )
    owner, y = np.repeat(np.nonzero(table), table[np.nonzero(table)], axis=1)
    np.testing.assert_array_equal(
        LabelCounts.count(owner, y.astype(np.int32), 40, 11).dense(), table
    )
    with Scratch(tmp_path) as scratch:
        on_disk = LabelCountsOnDisk(scratch, 11)
        for first in (0, 10, 20):
            on_disk.add(counts.rows(np.arange(first, first + 10)))
        np.testing.assert_array_equal(on_disk.read(5, 25).dense(), table[5:25])


def test_an_index_of_the_earlier_layout_is_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = {
        split: np.arange(12).reshape(4, 3) * (number + 1)
        for number, split in enumerate(("train", "validation", "test"))
    }
    flat = {
        split: pa.FixedSizeListArray.from_arrays(pa.array(table.ravel(), pa.int32()), 3)
        for split, table in tables.items()
    }
    columns = {"client_id": ["a", "b", "c", "zoë"], "held_out": [False, True, False, False], **flat}
    pq.write_table(
        pa.table(columns), tmp_path / "clients.parquet", store_schema=False, row_group_size=3
    )
    found = index.read_index(tmp_path / "clients.parquet", 3)
    assert found.client_ids == ("a", "b", "c", "zoë")
    assert found.held_out.tolist() == [False, True, False, False]
    for split, table in tables.items():
        np.testing.assert_array_equal(found.label_counts[split].dense(), table)
        assert found.counts(split).tolist() == table.sum(axis=1).tolist()


def test_an_index_of_several_groups_is_read_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_GROUP_CLIENTS", 7)
    draw = np.random.default_rng(1)
    tables = {split: draw.integers(0, 3, (40, 5)) for split in ("train", "validation", "test")}
    ids = [f"c{number:02}" for number in range(40)]
    counts = {split: LabelCounts.of_dense(table) for split, table in tables.items()}
    index.write_index(
        tmp_path / "clients.parquet",
        index.ClientIndex(ClientIds.of(ids), draw.random(40) < 0.5, counts),
    )
    found = index.read_index(tmp_path / "clients.parquet", 5)
    assert found.client_ids == ids
    for split, table in tables.items():
        np.testing.assert_array_equal(found.label_counts[split].dense(), table)
        assert found.counts(split).tolist() == table.sum(axis=1).tolist()


def test_client_ids_are_a_sequence_of_texts() -> None:
    ids = [f"zoë {number:05}" for number in range(10_000)]
    packed = ClientIds.of(ids)
    assert (len(packed), packed[0], packed[-1], packed[3:5]) == (
        10_000,
        ids[0],
        ids[-1],
        tuple(ids[3:5]),
    )
    assert list(packed) == ids
    assert packed == tuple(ids)
    assert packed != ids[:-1]
    assert (
        packed.find(ids[77]),
        packed.find("zoë"),
        ids[5] in packed,
        "nobody" in packed,
        5 in packed,
    ) == (77, None, True, False, False)
    with pytest.raises(IndexError):
        packed[10_000]
    odd = packed.where(np.arange(10_000) % 2 == 1).where(np.arange(5_000) % 2 == 0)
    assert list(odd) == ids[1::4]
    assert (odd.find(ids[5]), odd.find(ids[6]), list(ClientIds.of([]))) == (1, None, [])


def test_ten_thousand_classes_and_many_clients_take_the_memory_of_their_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of 500 clients and 10,000 classes would take 60 MB for the three splits, and its shares 40 MB more."""
    from fedpipe.data.skew import describe
    from fedpipe.pipeline.describe import label_names, write_tables
    from fedpipe.tables.population import population_json, population_table

    def wide(*_: Any) -> Source:
        y = np.arange(10_000) * 7 % 10_000
        return Source(
            lambda: iter(
                [
                    Batch(
                        np.zeros((10_000, 1), np.uint8),
                        y,
                        [f"c{number % 500:05}" for number in range(10_000)],
                    )
                ]
            )
        )

    monkeypatch.setattr("fedpipe.data.sources.custom.import_own", lambda *_: wide)
    tracemalloc.start()
    try:
        manifest = prepare_shards(
            DataConfig(source="of_a_test:wide", clients=None), tmp_path / "shards", tmp_path
        )
        population = Population.open(tmp_path / "shards")
        figures = describe(population.index)
        write_tables(population, tmp_path / "tables")
        population_json(
            population_table(
                figures, population.index.label_counts["train"], label_names(population)
            )
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (manifest.num_classes, manifest.clients) == (10_000, 500)
    assert figures.labels_per_client_mean == 16.0  # 20 examples of 20 labels, of which 16 train
    assert figures.label_tv_mean == pytest.approx(1 - 16 / 8000)
    assert peak < 30e6
    assert len((tmp_path / "tables" / "labels.csv").read_text().splitlines()) < 20_000
