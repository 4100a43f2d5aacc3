import json
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config import DataConfig
from fedpipe.data.manifest import MANIFEST_NAME, read_manifest
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import SourceSummary
from fedpipe.errors import DataError
from fedpipe.pipeline.describe import understood_lines


def change(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written_is_read_and_written_again_alike(shards: Path) -> None:
    manifest = read_manifest(shards)
    assert manifest.to_json() == (shards / MANIFEST_NAME).read_text()
    assert (manifest.source, manifest.partition, manifest.alpha, manifest.seed) == (
        "mnist5k",
        "dirichlet",
        1.0,
        1,
    )
    assert (manifest.feature_shape, manifest.feature_dtype, manifest.num_classes) == (
        (28, 28),
        "uint8",
        10,
    )
    assert (manifest.pixel_convention, manifest.inverted) == ("ink=1.0", False)
    assert sum(manifest.examples.values()) == 5000
    assert manifest.central_test_examples == 1000


def test_no_shards_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=rf"^{tmp_path}: expected shards, found no manifest\.json\. Run `fedpipe prepare`\.$",
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0", '{"schema_version": 1}'])
def test_text_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(
        DataError,
        match=r"manifest\.json: expected a manifest of schema version 2, found .* Run `fedpipe prepare`",
    ) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_schema_version_is_refused(own_shards: Path) -> None:
    change(own_shards, schema_version=1)
    with pytest.raises(
        DataError, match=r"expected a manifest of schema version 2, found schema_version"
    ):
        read_manifest(own_shards)


def test_unknown_keys_are_refused(own_shards: Path) -> None:
    change(own_shards, colour="blue")
    with pytest.raises(DataError, match=r"found colour: Extra inputs"):
        read_manifest(own_shards)


def test_a_file_outside_the_folder_is_refused(own_shards: Path) -> None:
    files = json.loads((own_shards / MANIFEST_NAME).read_text())["files"]
    change(own_shards, files=[files[0] | {"name": "../train-00000.parquet"}, *files[1:]])
    with pytest.raises(DataError, match=r"found files\.0\.name"):
        read_manifest(own_shards)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"central_test_examples": 999}, "999 examples of split central, its files have 1000 rows"),
        (
            {"examples": {"train": 7, "validation": 0, "test": 1036}},
            "7 examples of split train, its files have 3964 rows",
        ),
        (
            {"examples": {"train": 3964, "test": 1036}},
            "None examples of split validation, its files have 0 rows",
        ),
        ({"clients": 99}, "99 clients, their index has 100 rows"),
        ({"vocabulary": ["zero"]}, "10 classes, the vocabulary has 1 names"),
    ],
)
def test_figures_that_do_not_add_up_are_refused(
    own_shards: Path, changes: dict[str, Any], message: str
) -> None:
    change(own_shards, **changes)
    with pytest.raises(DataError, match=message):
        read_manifest(own_shards)


def test_what_the_source_understood_is_recorded_and_said(tmp_path: Path) -> None:
    (tmp_path / "spoken.py").write_text(
        "import numpy as np\n"
        "from fedpipe.data.sources import Batch, Source, SourceSummary\n"
        "def readings(config, project):\n"
        "    read = []\n"
        "    def batches():\n"
        "        read.append(1)\n"
        "        yield Batch(np.ones((8, 2), np.float32), np.arange(8) % 2, ['a', 'b'] * 4)\n"
        "    summary = lambda: SourceSummary('readings', '2 sensors', (f'{len(read)} broken',), ('guessed',))\n"
        "    return Source(batches, summary=summary)\n"
    )
    config = DataConfig(source="spoken:readings", clients=None)
    manifest = prepare_shards(config, tmp_path / "shards", tmp_path)
    assert manifest.understood == SourceSummary(
        "readings", "2 sensors", ("1 broken",), ("guessed",)
    )
    assert read_manifest(tmp_path / "shards") == manifest
    assert understood_lines(manifest) == [
        "readings",
        "features: 2 sensors (2, float32)",
        "8 examples, 2 clients (natural), 2 classes: 0, 1",
        "left out: 1 broken",
        "note: guessed",
    ]
    module = (tmp_path / "spoken.py").read_text()
    (tmp_path / "mute.py").write_text(
        module.replace("SourceSummary('readings'", "print('readings'")
    )
    with pytest.raises(DataError, match=r"data\.source=mute:readings.*found NoneType"):
        prepare_shards(
            DataConfig(source="mute:readings", clients=None), tmp_path / "other", tmp_path
        )
