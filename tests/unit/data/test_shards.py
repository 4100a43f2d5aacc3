from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fedpipe.data import shards as layout
from fedpipe.data.manifest import Manifest
from fedpipe.data.population import Population
from fedpipe.data.shards import SplitRows, write_split


def rows(sizes: list[int], dtype: type, central: bool) -> SplitRows:
    n = sum(sizes)
    x = np.arange(n * 6).reshape(n, 2, 3) % 251
    return SplitRows(
        client_ids=tuple(f"zoë-{i}" for i in range(len(sizes))),
        owner=np.repeat(np.arange(len(sizes)), sizes).astype(np.int32),
        x=x.astype(dtype) if dtype is np.uint8 else (x / 7).astype(dtype),
        y=(np.arange(n) % 3).astype(np.int32),
        source_row=np.arange(n),
        central=np.arange(n) % 2 == 0 if central else None,
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_many_small_files_and_row_groups_read_back_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type) -> None:
    # Clients that span row groups, fill a file alone, have no test example, and have ids beyond ASCII.
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(layout.file_bounds, "__defaults__", (10,))
    parts = {"train": rows([3, 9, 1, 25, 2], dtype, False), "test": rows([1, 0, 2, 13, 1], dtype, True)}
    files = [file for split, part in parts.items() for file in write_split(tmp_path, split, part)]
    assert [(file.name, file.rows) for file in files if file.split == "train"] == [
        ("train-00000.parquet", 3),
        ("train-00001.parquet", 10),
        ("train-00002.parquet", 25),
        ("train-00003.parquet", 2),
    ]
    assert pq.ParquetFile(tmp_path / "train-00002.parquet").num_row_groups == 7
    counts = {
        split: {client_id: tuple(np.bincount(part.y[part.owner == i], minlength=3).tolist()) for i, client_id in enumerate(part.client_ids)}
        for split, part in parts.items()
    }
    manifest = Manifest(
        schema_version=1,
        source="test",
        source_version="1",
        pixel_convention="ink=1.0",
        inverted=False,
        partition="natural",
        alpha=None,
        seed=1,
        test_fraction=None,
        feature_shape=(2, 3),
        feature_dtype=np.dtype(dtype).name,
        num_classes=3,
        central_test_examples=9,
        label_counts=counts,
        files=tuple(files),
        written_by="test",
    )
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    population = Population.open(tmp_path)
    assert population.manifest == manifest
    assert "zoë-1" in population.client_ids()
    assert "zoë-1" not in population.client_ids("test")
    for split, part in parts.items():
        for client_id in population.client_ids(split):
            mine = part.owner == part.client_ids.index(client_id)
            examples = population.examples(client_id, split)
            assert examples.x.dtype == dtype
            np.testing.assert_array_equal(examples.x, part.x[mine])
            np.testing.assert_array_equal(examples.y, part.y[mine])
    central = population.central_test()
    np.testing.assert_array_equal(central.x, parts["test"].x[::2])
    np.testing.assert_array_equal(central.y, parts["test"].y[::2])


def test_one_client_is_read_by_its_row_groups_alone(shards: Path) -> None:
    # 4 row groups of 1,000; c000's rows lie in the first.
    population = Population.open(shards)
    population.examples("c000")
    assert population._splits["train"]._group.cache_info().misses == 1


def test_the_writer_is_named_in_the_file(shards: Path) -> None:
    metadata = pq.ParquetFile(shards / "train-00000.parquet").metadata
    version = Population.open(shards).manifest.written_by.split()[1]
    assert version in metadata.created_by
    assert metadata.metadata is None
