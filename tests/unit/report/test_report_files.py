"""What a run keeps for its report comes back as it was: pictures of mistakes, the population, the confusion."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedpipe.data.label_counts import LabelCounts
from fedpipe.data.skew import PopulationFigures
from fedpipe.figures.png import png
from fedpipe.tables.confusion import confusion_counts_csv, confusion_csv, read_confusion
from fedpipe.tables.mistakes import choose_mistakes, read_mistakes, write_mistakes
from fedpipe.tables.population import population_json, population_table, read_population
from fedpipe.tasks import Predictions
from fedpipe.types import Examples
from tests.unit.report.reports import confusion_of

FIGURES = PopulationFigures(
    2, 0, {"train": 3, "validation": 0, "test": 0}, 1, 1.5, 2, 0.1, 0.2, 1.0, ((1.0, 2.0, 2),)
)


def predictions(labels: list[int], predicted: list[int], confidences: list[float]) -> Predictions:
    found = np.array(confidences, np.float32)
    return Predictions(
        np.arange(len(labels)),
        np.array(labels, np.int32),
        np.array(predicted, np.int32),
        np.zeros_like(found),
        found,
    )


def test_the_worst_pair_comes_first_and_of_it_the_surest_mistake() -> None:
    # 0 is taken for 1 twice (surest: number 3), 1 for 0 once; number 0 is right.
    found = predictions([0, 0, 1, 0], [0, 1, 0, 1], [0.9, 0.4, 0.8, 0.6])
    assert choose_mistakes(found, 2).tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    ("shape", "dtype"), [((5, 4), "uint8"), ((4, 5, 3), "float32"), ((4, 4, 1), "uint8")]
)
def test_pictures_of_mistakes_come_back(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(1).integers(0, 256, (3, *shape)).astype(dtype)
    examples, found = (
        Examples(x, np.array([0, 1, 1], np.int32)),
        predictions([0, 1, 1], [0, 0, 1], [1, 0.75, 1]),
    )
    assert write_mistakes(tmp_path / "new" / "m.parquet", examples, found, ["a", "b"])
    (mistake,) = read_mistakes(tmp_path / "new" / "m.parquet")
    assert (mistake.actual, mistake.predicted, mistake.confidence) == ("b", "a", 0.75)
    np.testing.assert_array_equal(mistake.pixels, x[1])
    assert mistake.pixels.dtype == x.dtype


def test_what_are_no_pictures_or_all_right_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    path.write_text("of an earlier try")
    tokens = Examples(np.ones((2, 9), np.int32), np.array([0, 1], np.int32))
    assert not write_mistakes(path, tokens, predictions([0, 1], [1, 0], [1, 1]), ["a", "b"])
    assert not path.exists()
    pictures = Examples(np.ones((2, 3, 3), np.uint8), np.array([0, 1], np.int32))
    assert not write_mistakes(path, pictures, predictions([0, 1], [0, 1], [1, 1]), ["a", "b"])


def opened(body: bytes) -> np.ndarray:
    assert body.startswith(b"\x89PNG")
    return np.array(Image.open(io.BytesIO(body)))


def test_png_holds_the_pixels() -> None:
    rng = np.random.default_rng(2)
    grey, colours = (
        rng.integers(0, 256, (7, 5), np.uint8),
        rng.integers(0, 256, (3, 9, 3), np.uint8),
    )
    for pixels in (grey, colours):
        np.testing.assert_array_equal(opened(png(pixels)), pixels)
    floats = np.array([[-1.0, 0.0], [1.0, np.nan]], np.float32)
    assert opened(png(floats)).tolist() == [[0, 128], [255, 128]]


def test_the_population_comes_back_with_its_most_frequent_labels(tmp_path: Path) -> None:
    counts = np.zeros((300, 70), np.int32)
    counts[:, :60], counts[:, 65] = 1, 9
    counts[7] = 0
    (tmp_path / "p.json").write_text(
        population_json(
            population_table(FIGURES, LabelCounts.of_dense(counts), [f"l{i}" for i in range(70)])
        )
    )
    table = read_population(tmp_path / "p.json")
    assert (table.all_clients, table.all_labels, table.counts.shape) == (299, 70, (100, 60))
    assert table.labels[-1] == "l65"
    assert table.counts.sum() == 100 * (59 + 9)
    assert table.figures["size_median"] == 1.5


@pytest.mark.parametrize(
    "changed", [{"figures": {}}, {"labels": ["a"]}, {"counts": [1]}, {"counts": [["x", "y"]]}]
)
def test_a_damaged_population_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    body = json.loads(
        population_json(
            population_table(
                FIGURES, LabelCounts.of_dense(np.array([[1, 2]], np.int32)), ["a", "b"]
            )
        )
    )
    (tmp_path / "p.json").write_text(json.dumps(body | changed))
    with pytest.raises((ValueError, KeyError)):
        read_population(tmp_path / "p.json")


def test_the_confusion_comes_back_whatever_the_names(tmp_path: Path) -> None:
    names = ["actual", "predicted", 'a,"b"\nc']
    matrix = np.random.default_rng(3).integers(0, 9, (3, 3))
    counts = confusion_of(matrix)
    for number, write in enumerate(
        (confusion_csv, confusion_counts_csv)
    ):  # the first is what earlier versions kept
        path = tmp_path / f"{number}.csv"
        path.write_bytes(write(counts, names).encode())
        np.testing.assert_array_equal(read_confusion(path, names).among(np.arange(3)), matrix)
