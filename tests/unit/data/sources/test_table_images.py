"""Images in Parquet tables."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fedpipe.config import DataConfig
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.sources import open_source
from fedpipe.errors import DataError
from tests.unit.data.sources.tables import opened


def encoded(value: int, size: tuple[int, int] = (5, 4), kind: str = "PNG") -> bytes:
    from PIL import Image

    body = io.BytesIO()
    Image.new("L", size, value).save(body, kind)
    return body.getvalue()


@pytest.mark.parametrize("wrapped", [True, False])
def test_images_in_parquet_are_images(tmp_path: Path, wrapped: bool) -> None:
    images: list[Any] = [encoded(i * 4) for i in range(6)]
    kind: Any = pa.binary()
    if wrapped:
        images, kind = (
            [{"bytes": image, "path": None} for image in images],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    columns = {
        "image": pa.array(images, kind),
        "writer": ["f1", "f2"] * 3,
        "hsf_id": [0] * 6,
        "character": [0, 1, 2] * 2,
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    config = DataConfig(
        source="parquet",
        path="t.parquet",
        client_column="writer",
        label_column="character",
        clients=None,
    )
    manifest = prepare_shards(config, tmp_path / "shards", tmp_path)
    assert (manifest.feature_shape, manifest.feature_dtype, manifest.num_classes) == (
        (4, 5),
        "uint8",
        3,
    )
    rows, summary = opened(
        tmp_path / "t.parquet", "parquet", client_column="writer", label_column="character"
    )
    assert [np.unique(x).tolist() for _, _, x in rows] == [[i * 4] for i in range(6)]
    assert summary.left_out == ("columns beside the images in image: hsf_id",)
    images[4] = {"bytes": b"no image", "path": None} if wrapped else b"no image"
    pq.write_table(pa.table({**columns, "image": pa.array(images, kind)}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet, row 5, column image: expected an image"):
        opened(tmp_path / "t.parquet", "parquet", client_column="writer", label_column="character")


def test_a_path_in_the_place_of_an_image_and_images_of_two_sizes_are_refused(
    tmp_path: Path,
) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for image, said in (
        ({"bytes": None, "path": "a.png"}, "found only the path 'a.png'"),
        ({"bytes": encoded(1, (9, 9)), "path": None}, "like the first"),
    ):
        rows = pa.array([{"bytes": encoded(1), "path": None}, image], kind)
        pq.write_table(
            pa.table({"image": rows, "client": ["a", "a"], "label": [0, 1]}), tmp_path / "t.parquet"
        )
        with pytest.raises(DataError, match=f"row 2, column image: .*{said}"):
            opened(tmp_path / "t.parquet", "parquet")


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_colour_images_may_begin_with_one_that_looks_grey(tmp_path: Path) -> None:
    black, red = np.zeros((2, 2, 3)), np.full((2, 2, 3), (255, 0, 0))
    columns = {"client": ["a"] * 2, "label": [0, 1]}
    for second, shape in ((red, (2, 2, 3)), (black, (2, 2)), (black[..., 0], (2, 2))):
        image = pa.array([png(black), png(second)]).dictionary_encode()
        pq.write_table(pa.table({**columns, "image": image}), tmp_path / "t.parquet")
        rows, _ = opened(tmp_path / "t.parquet", "parquet")
        assert [np.shape(x) for _, _, x in rows] == [shape, shape]
    pq.write_table(pa.table({**columns, "image": ["a/1.png", "a/2.JPG"]}), tmp_path / "t.parquet")
    assert "the texts in image look like names of image files" in " ".join(
        opened(tmp_path / "t.parquet", "parquet")[1].notes
    )


def test_labels_stay_with_their_images_over_batches(tmp_path: Path) -> None:
    # 20 images of a million bytes: 8 MB at once under the lowest limit
    table = {"image": [encoded(i, (1000, 1000)) for i in range(20)], "label": list(range(20))}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    config = DataConfig(
        source="parquet", path="t.parquet", client_column=None, clients=2, memory_limit_mb=64
    )
    batches = list(open_source(config, tmp_path).batches())
    assert len(batches) == 3
    for batch in batches:
        assert [image[0, 0] for image in np.asarray(batch.x)] == list(batch.y)
    assert [y for batch in batches for y in batch.y] == list(range(20))
