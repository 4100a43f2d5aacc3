import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fedpipe.data import shards as layout
from fedpipe.data.client_ids import ClientIds
from fedpipe.data.index import ClientIndex, read_index, write_index
from fedpipe.data.label_counts import LabelCounts
from fedpipe.data.manifest import SPLITS
from fedpipe.data.population import Population
from fedpipe.data.shards import SplitRows, file_bounds, write_split

NAMES = tuple(f"zoë-{number:04}" for number in range(2000))


def rows(sizes: list[int], dtype: type) -> SplitRows:
    n = sum(sizes)
    x = np.arange(n * 6).reshape(n, 2, 3) % 251
    x = x.astype(dtype) if dtype is np.uint8 else (x / 7).astype(dtype)
    return SplitRows(
        client_ids=tuple(f"zoë-{i}" for i in range(len(sizes))),
        owner=np.repeat(np.arange(len(sizes)), sizes).astype(np.int32),
        y=(np.arange(n) % 3).astype(np.int32),
        source_row=np.arange(n)[::-1].copy(),
        features=lambda source_rows: x[n - 1 - source_rows],
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_files_hold_the_rows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    # Clients that span row groups, fill a file alone, have no example, and have ids beyond ASCII.
    monkeypatch.setattr(layout, "group_rows", lambda _: 4)
    monkeypatch.setattr(layout, "_begins_file", lambda *_: False)
    part = rows([3, 9, 1, 0, 25, 2], dtype)
    files = write_split(tmp_path, "train", part, most=10)
    assert [(file.name, file.rows) for file in files] == [
        ("train-00000.parquet", 3),
        ("train-00001.parquet", 10),
        ("train-00002.parquet", 25),
        ("train-00003.parquet", 2),
    ]
    assert pq.ParquetFile(tmp_path / "train-00002.parquet").num_row_groups == 7
    stored = [row for file in files for row in pq.read_table(tmp_path / file.name).to_pylist()]
    assert [row["client_id"] for row in stored] == [part.client_ids[i] for i in part.owner]
    assert [row["x"] for row in stored] == [x.tobytes() for x in part.features(part.source_row)]
    assert [row["y"] for row in stored] == part.y.tolist()
    assert [row["source_row"] for row in stored] == part.source_row.tolist()


def test_files_are_whole_clients_and_at_most_full() -> None:
    counts = np.random.default_rng(1).integers(0, 30, len(NAMES))
    counts[77] = 500
    bounds = list(file_bounds(NAMES, counts, most=200))
    ends = np.cumsum(counts).tolist()
    assert bounds[0][0] == 0
    assert bounds[-1][1] == ends[-1]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(bounds))
    assert all(end in ends for _, end in bounds)
    sizes = [end - start for start, end in bounds]
    assert [size for size in sizes if size > 200] == [500]
    assert 80 < np.mean(sizes) <= 200


def test_files_far_from_a_client_that_leaves_keep_their_bounds() -> None:
    counts = np.full(len(NAMES), 20)
    before = [NAMES[start // 20] for start, _ in file_bounds(NAMES, counts, most=400)]
    for gone in (5, 600, 1999):
        names = NAMES[:gone] + NAMES[gone + 1 :]
        after = [names[start // 20] for start, _ in file_bounds(names, counts[:-1], most=400)]
        assert len(set(before) ^ set(after)) <= 0.1 * len(before)


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    ids = tuple(sorted(["a/b", " ", "..", "zoë", "x" * 1000, "a\nb", *map(str, range(1000))]))
    counts = {split: rng.integers(0, 9, (len(ids), 3)).astype(np.int32) for split in SPLITS}
    index = ClientIndex(
        ClientIds.of(ids),
        rng.random(len(ids)) < 0.5,
        {split: LabelCounts.of_dense(table) for split, table in counts.items()},
    )
    write_index(tmp_path / "clients.parquet", index)
    found = read_index(tmp_path / "clients.parquet", 3)
    assert found.client_ids == ids
    np.testing.assert_array_equal(found.held_out, index.held_out)
    for split, expected in counts.items():
        np.testing.assert_array_equal(found.label_counts[split].dense(), expected)
    assert [found.position(one) for one in ids] == list(range(len(ids)))
    assert found.position("nobody") is None


def test_one_client_is_read_by_its_row_groups_alone(shards: Path) -> None:
    # 40 row groups of about 100; c000's rows lie in the first.
    population = Population.open(shards)
    assert population.num_examples("c000") < 100
    population.examples("c000")
    assert population._splits["train"]._group.cache_info().misses == 1


def test_the_writer_is_named_in_the_file(shards: Path) -> None:
    metadata = pq.ParquetFile(shards / "train-00000.parquet").metadata
    version = Population.open(shards).manifest.written_by.split()[1]
    assert version in metadata.created_by
    assert metadata.metadata is None
