import json
from pathlib import Path
from typing import Any

import pytest

from fedpipe.data.manifest import MANIFEST_NAME, read_manifest
from fedpipe.errors import DataError


def change(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written_is_read_and_written_again_alike(shards: Path) -> None:
    manifest = read_manifest(shards)
    assert manifest.to_json() == (shards / MANIFEST_NAME).read_text()
    assert (manifest.source, manifest.partition, manifest.alpha, manifest.seed) == ("mnist5k", "dirichlet", 1.0, 1)
    assert (manifest.feature_shape, manifest.feature_dtype, manifest.num_classes) == ((28, 28), "uint8", 10)
    assert (manifest.pixel_convention, manifest.inverted) == ("ink=1.0", False)
    assert manifest.examples("train") + manifest.examples("test") == 5000
    assert manifest.central_test_examples == 1000


def test_no_shards_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^{tmp_path}: expected shards, found no manifest\.json\. Run `fedpipe prepare`\.$"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0", '{"schema_version": 1}'])
def test_text_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(
        DataError, match=r"manifest\.json: expected a manifest of schema version 1, found .* Run `fedpipe prepare`"
    ) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_schema_version_is_refused(own_shards: Path) -> None:
    change(own_shards, schema_version=2)
    with pytest.raises(DataError, match=r"expected a manifest of schema version 1, found schema_version"):
        read_manifest(own_shards)


def test_unknown_keys_are_refused(own_shards: Path) -> None:
    change(own_shards, colour="blue")
    with pytest.raises(DataError, match=r"found colour: Extra inputs"):
        read_manifest(own_shards)


def test_a_file_outside_the_folder_is_refused(own_shards: Path) -> None:
    files = json.loads((own_shards / MANIFEST_NAME).read_text())["files"]
    change(own_shards, files=[files[0] | {"name": "../train-00000.parquet"}, files[1]])
    with pytest.raises(DataError, match=r"found files\.0\.name"):
        read_manifest(own_shards)


def test_counts_that_do_not_add_up_are_refused(own_shards: Path) -> None:
    counts = json.loads((own_shards / MANIFEST_NAME).read_text())["label_counts"]
    counts["train"]["c000"][0] += 1
    change(own_shards, label_counts=counts)
    with pytest.raises(DataError, match=r"label_counts\.train add up to \d+ examples, the files of that split to \d+ rows"):
        read_manifest(own_shards)


def test_counts_of_another_number_of_labels_are_refused(own_shards: Path) -> None:
    change(own_shards, num_classes=11)
    with pytest.raises(DataError, match=r"label_counts\.train\.c000 has 10 labels, num_classes is 11"):
        read_manifest(own_shards)


def test_a_central_test_set_larger_than_the_test_split_is_refused(own_shards: Path) -> None:
    change(own_shards, central_test_examples=5000)
    with pytest.raises(DataError, match=r"5000 central test examples of \d+ test examples"):
        read_manifest(own_shards)
